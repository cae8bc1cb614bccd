"""English: prices."""

from __future__ import annotations

import re
from typing import Final

from core.text.wording.en_measures import NUMBER, attributive, unit_names
from core.text.wording.en_numbers import number
from core.text.wording.nearby import behind, stop
from core.text.wording.rewrite import DIGITS, Rule, at_figure

_MONEY: Final = {
    "$": ("dollar", "dollars", "cent"),
    "US$": ("US dollar", "US dollars", "cent"),
    "CA$": ("Canadian dollar", "Canadian dollars", "cent"),
    "C$": ("Canadian dollar", "Canadian dollars", "cent"),
    "A$": ("Australian dollar", "Australian dollars", "cent"),
    "MX$": ("Mexican peso", "Mexican pesos", "centavo"),
    "€": ("euro", "euros", "cent"),
    "£": ("pound", "pounds", "pence"),
    "¥": ("yen", "yen", "sen"),
    "¢": ("cent", "cents", ""),
}
_CODES: Final = {
    "USD": "US$",
    "CAD": "CA$",
    "AUD": "A$",
    "MXN": "MX$",
    "EUR": "€",
    "GBP": "£",
}
_SCALES: Final = {
    "k": "thousand",
    "thousand": "thousand",
    "m": "million",
    "mm": "million",
    "mil": "million",
    "mln": "million",
    "million": "million",
    "b": "billion",
    "bn": "billion",
    "billion": "billion",
    "trillion": "trillion",
}
_SCALE: Final = (
    r"(?:(?:[Kk]|MM?|mm?|[Bb]n?|[Mm]il|mln|Mln)(?![A-Za-z0-9])"
    r"| (?:thousand|[mb]illion|trillion|mil|mln|[KMB])(?![A-Za-z0-9]))"
)
_SIGN: Final = r"(?:US ?\$|USD ?\$?|CA?\$|CAD ?\$|AU?\$|AUD ?\$|MXN? ?\$|EUR ?|GBP ?|[$€£¥])"
_CODE: Final = rf"(?:{'|'.join(_CODES)})\b"


def _price(match: re.Match[str]) -> str:
    sign, first, first_scale, second, second_scale, code = match.groups()
    return _said(match, code or sign, first, first_scale, second, second_scale)


def _price_then_sign(match: re.Match[str]) -> str:
    first, first_scale, second, second_scale, sign = match.groups()
    return _said(match, sign, first, first_scale, second, second_scale)


_NAMED: Final = re.compile(r"-(?:dollar|euro|pound)")


def _said(
    match: re.Match[str],
    name: str,
    first: str,
    first_scale: str | None,
    second: str | None,
    second_scale: str | None,
) -> str:
    low = _Sum(first, first_scale)
    if second is None and _NAMED.match(behind(match)):
        return low.value()
    if second is None:
        return low.words(_kind(name), attributive=attributive(match))
    high = _Sum(second, second_scale or first_scale)
    if low.scale in ("", high.scale):
        return f"{number(first)} to {high.words(_kind(name))}"
    return f"{low.value()} to {high.words(_kind(name))}"


def _kind(name: str) -> tuple[str, str, str]:
    name = name.replace(" ", "")
    name = {"USD$": "US$", "CAD$": "CA$", "AU$": "A$", "AUD$": "A$", "MXN$": "MX$"}.get(name, name)
    return _MONEY[_CODES.get(name, name)]


class _Sum:
    """A number as written and the scale behind it."""

    def __init__(self, written: str, scale: str | None) -> None:
        self._written = written
        self.scale = _SCALES[scale.strip().lower()] if scale else ""

    def value(self) -> str:
        return f"{number(self._written)} {self.scale}".rstrip()

    def words(self, kind: tuple[str, str, str], *, attributive: bool = False) -> str:
        one, several, small = kind
        whole, _, cents = self._written.replace(",", "").partition(".")
        if attributive or (self._written == "1" and not self.scale):
            several = one
        if self.scale or len(cents) != 2 or not small:
            return f"{self.value()} {several}"
        if cents == "00":
            return f"{number(whole)} {one if whole == '1' else several}"
        parts = (
            f"{number(cents.lstrip('0'))} {small if small == 'pence' else _plural(small, cents)}"
        )
        if not whole.strip("0"):
            return parts
        return f"{number(whole)} {one if whole == '1' else several} and {parts}"


def _plural(small: str, cents: str) -> str:
    return small if cents == "01" else f"{small}s"


_EVERY: Final = {
    "mo": "month",
    "yr": "year",
    "wk": "week",
    "hr": "hour",
    "pp": "person",
    "mth": "month",
}


def _per(match: re.Match[str]) -> str:
    said = "".join(f" per {_every(unit)}" for unit in match.groups() if unit)
    return said + stop(match)


def _every(unit: str) -> str:
    return _EVERY.get(unit) or (unit if unit in _WORDS else unit_names(unit)[0])


_WORDS: Final = frozenset(
    ("month", "year", "week", "night", "day", "hour", "acre", "unit", "person", "room", "guest")
)

MONEY: Final = (
    Rule(
        re.compile(
            rf"(?<![A-Za-z])({_SIGN}) ?({NUMBER})({_SCALE})?"
            rf"(?: ?[-–—] ?(?:{_SIGN})? ?({NUMBER})({_SCALE})?)?(?: ?({_CODE}))?"
        ),
        _price,
        DIGITS,
    ),
    at_figure(
        rf"(?<![0-9A-Za-z])({NUMBER})({_SCALE})?(?: ?[-–—] ?({NUMBER})({_SCALE})?)?"
        rf" ?({_CODE}|[€£¢$](?![0-9]))",
        _price_then_sign,
    ),
    # 350K, 1.2M without a currency; 4K is a screen.
    at_figure(
        rf"(?<![0-9A-Za-z])({NUMBER})([KM])(?![A-Za-z0-9])(?<!\b[48]K)",
        lambda match: _Sum(match.group(1), match.group(2)).value(),
    ),
    Rule(
        re.compile(
            r"(?<=[0-9KMk€£%²+])/ ?(mo|mth|month|yr|year|wk|week|night|day|hr|hour|acre|unit|person"
            r"|pp|room|guest|[Ss]q\.? ?(?:ft|m)|sqft|sqm|sf|SF|ft²|ft2|m²|m2)\b"
            r"(?:/ ?(mo|mth|month|yr|year)\b)?"
            r"(?:\.(?![0-9A-Za-z]))?"
        ),
        _per,
        frozenset("/"),
    ),
)
