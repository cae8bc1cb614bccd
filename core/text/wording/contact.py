"""What people read out sign by sign: e-mail addresses, web addresses, phone numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from core.text.wording.nearby import before
from core.text.wording.rewrite import DIGITS, Rule, at_figure

_GROUP_SIZES: Final = {
    6: (3, 3),
    7: (3, 4),
    9: (3, 3, 3),
    10: (3, 3, 4),
}


class ContactWords(NamedTuple):
    """What a language calls the signs."""

    signs: Mapping[str, str]
    """What is said for each of `@ . - _ / + : ? = & # % ~`."""
    digits: Callable[[str], str]
    """Digits one by one, parted by blanks."""
    identifier: Callable[[str], str]
    """Digits one by one with pauses between groups."""
    plus: str
    """Before the code of a country."""
    extension: str


def grouped(written: str) -> list[str]:
    """Digits as people group them when they read them out: threes and fours; five stay together."""
    if len(written) <= 5:
        return [written]
    sizes = _GROUP_SIZES.get(len(written)) or (4,) * -(-len(written) // 4)
    groups, at = [], 0
    for size in sizes:
        groups.append(written[at : at + size])
        at += size
    return groups


_DOMAINS: Final = (
    "com|org|net|edu|gov|info|biz|io|ai|app|dev|co|us|uk|ca|mx|es|ar|cl|pe|eu|cn|tv|me|homes|house"
    "|realty|properties|casa|online|site"
)
_LABEL: Final = r"[A-Za-z0-9-]{1,63}+"
_EMAIL: Final = re.compile(
    rf"(?<![A-Za-z0-9._%+@-])[A-Za-z0-9._%+-]{{1,64}}+@(?:{_LABEL}\.){{1,4}}[A-Za-z]{{2,24}}\b"
)
_PATH: Final = r"(?:[/?#][A-Za-z0-9._~/?#=&%+:-]{0,300}(?<=[A-Za-z0-9/=]))?"
_URL: Final = re.compile(
    r"(?<![A-Za-z0-9@._/-])"
    rf"(?:(?i:https?://(?:www\.)?|www\.)((?:{_LABEL}\.){{0,4}}{_LABEL}(?::[0-9]{{1,5}})?{_PATH})"
    rf"|((?:{_LABEL}\.){{1,3}}(?:{_DOMAINS})(?![A-Za-z0-9@-])(?!\.[A-Za-z0-9]){_PATH}))"
)
_PART: Final = re.compile(r"[0-9]++|[^\W\d_]++|.")

_EXTENSION: Final = r"(?:,? ?(?:[Ee]xt(?:ension|ensión)?\.?|x) ?([0-9]{1,6}))?(?![0-9])"
_FREE: Final = r"(?<![0-9A-Za-z])(?<![0-9][.,/-])(?<![$€£#])"
_SIGNED_PHONES: Final = (
    # +1 (555) 123-4567, +34 612 345 678, +34612345678
    r"(?<![0-9+])((?:\+[0-9]{1,3}|\(\+[0-9]{1,3}\))(?:[ .-]?\(?[0-9]{1,4}\)?(?![0-9])){2,6}"
    r"|\+[0-9]{8,15})" + _EXTENSION,
    # (555) 123-4567
    _FREE + r"(\([0-9]{2,3}\) ?[0-9]{3,4}[ .-]?[0-9]{4})(?![.,-]?[0-9])" + _EXTENSION,
)
_PHONES: Final = tuple(
    _FREE + pattern + _EXTENSION
    for pattern in (
        # 1-555-123-4567, 555.123.4567
        r"((?:1[ .-]|1(?=\())?(?:[0-9]{3}([ .-])[0-9]{3}\2|\([0-9]{3}\) ?[0-9]{3}[ .-]?)[0-9]{4})"
        r"(?![.,-]?[0-9])",
        # 612 34 56 78, 612 345 678, 91 123 45 67, 55 1234 5678
        r"([6-9][0-9]{2} [0-9]{2} [0-9]{2} [0-9]{2}|[67][0-9]{2} [0-9]{3} [0-9]{3}"
        r"|[89][0-9]{2} [0-9]{3} (?!000)[0-9]{3}(?! ?(?:[€$%]|de |euros|pesos|d[oó]lares|m[²2]))"
        r"|9[0-9] [0-9]{3} [0-9]{2} [0-9]{2}|[0-9]{2} [0-9]{4} [0-9]{4})(?![0-9]| [0-9])",
        # 0800-555-1234, 33-1234-5678
        r"(0[0-9]{3}-[0-9]{3}-[0-9]{4}|[0-9]{2}-[0-9]{4}-[0-9]{4})(?![0-9A-Za-z]|[.,/-][0-9])",
        # 555-1234, 5551234567
        r"([0-9]{3}-[0-9]{4}|[2-9][0-9]{9}|[6-9][0-9]{8})(?![0-9]|[.,/-][0-9])",
    )
)
_LABELLED_PHONE: Final = _FREE + r"([0-9]{4}[ -][0-9]{4})(?![0-9A-Za-z]|[ .,/-][0-9])" + _EXTENSION
"""Eight digits, as in Buenos Aires; without a word before them they may be two years."""
_PHONE_LABEL: Final = re.compile(
    r"(?:\b(?:ll[aá]m\w{1,6}|marc\w{1,4}|marque|tel|tels|tel[eé]fonos?|cel|celular|m[oó]vil|whats[aA]pp"
    r"|call|phone|dial|fax))\.?(?: (?:al|a|es|es el|el|at|is|us at|número|number))?:? $",
    re.IGNORECASE,
)
_FEWEST_DIGITS: Final = 7
_PHONE_GROUP: Final = re.compile(r"[0-9]+")


def contact_rules(words: ContactWords) -> tuple[Rule, ...]:
    """The rules of addresses and phone numbers with a language's words."""

    def spelled(written: str) -> str:
        parts = (
            words.digits(part) if part.isdecimal() else words.signs.get(part, part)
            for part in _PART.findall(written)
        )
        return " ".join(parts)

    def email(match: re.Match[str]) -> str:
        return spelled(match.group())

    def url(match: re.Match[str]) -> str:
        return spelled((match.group(1) or match.group(2)).removesuffix("/"))

    def phone(match: re.Match[str]) -> str | None:
        written = match.group(1)
        groups = _PHONE_GROUP.findall(written)
        if sum(map(len, groups)) < _FEWEST_DIGITS:
            return None
        if len(groups) == 1:
            groups = [words.identifier(groups[0])]
        else:
            groups = [words.digits(group) for group in groups]
        said = ", ".join(groups)
        if "+" in written:
            said = f"{words.plus} {said}"
        extension = match.group(match.re.groups)
        if extension:
            said += f", {words.extension} {words.digits(extension)}"
        return said

    def labelled_phone(match: re.Match[str]) -> str | None:
        return phone(match) if _PHONE_LABEL.search(before(match)) else None

    return (
        Rule(_EMAIL, email, frozenset("@")),
        Rule(_URL, url, frozenset("./")),
        *(Rule(re.compile(pattern), phone, DIGITS) for pattern in _SIGNED_PHONES),
        *(at_figure(pattern, phone) for pattern in _PHONES),
        at_figure(_LABELLED_PHONE, labelled_phone),
    )
