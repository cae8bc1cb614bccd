"""What Mandarin spells out: telephone numbers, rooms, codes, mail and web addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from core.text.wording.rewrite import DIGITS, Rule
from core.text.wording.zh_numbers import TO, cardinal, digits, phone_digits, to

_LABELLED_TAIL: Final = r"(?:号码?)?(?:尾号)?(?:[是为]|就是)? ?[:：]? ?$"
_PHONE_LABEL: Final = re.compile(
    r"(?:电话|電話|手机|手機|座机|热线|致电|拨打|拨|打给|传真|分机|总机|转|呼叫|联系方式|微信同号)"
    + _LABELLED_TAIL
)
_CODE_LABEL: Final = re.compile(
    r"(?:验证码|密码|编号|编码|代码|序列号|邮编|邮政编码|工号|单号|订单|合同|房源|账号|账户|卡号|证号"
    r"|尾号|证件|身份证|许可证|车牌|学号|门禁|口令|暗号|微信|QQ|ID|id|No\.?)" + _LABELLED_TAIL
)
_LABEL_CHARS: Final = 14

_SYMBOLS: Final = {
    ".": "点",
    "@": "at",
    "/": "斜杠",
    "-": "杠",
    "_": "下划线",
    "?": "问号",
    "=": "等于",
    "&": "和",
    "#": "井号",
    "%": "百分号",
    "+": "加",
    ":": "冒号",
    "~": "波浪号",
}
_ADDRESS_TOKEN: Final = re.compile(r"[A-Za-z]++|[0-9]++|[^A-Za-z0-9]")


def _address(match: re.Match[str]) -> str | None:
    written = match["address"].rstrip("/?&#:-")
    return " ".join(
        digits(token) if token[0] in DIGITS else _SYMBOLS.get(token, token)
        for token in _ADDRESS_TOKEN.findall(written)
    )


_LINK: Final = re.compile(
    r"(?<![A-Za-z0-9@._-])(?:https?://(?P<scheme>))?(?P<address>"
    r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,6}\.(?:com|cn|net|org|io|app|info|dev|co|me|top|vip"
    r"|xyz|homes|house|estate|es|mx|hk|tw|us|uk|eu|gov|edu|example|test)(?![A-Za-z0-9-])"
    r"(?::[0-9]{1,5})?(?:[/?#][A-Za-z0-9._~/?#=&%:+-]{0,200}(?<![.:]))?)"
)
_ANY_LINK: Final = re.compile(
    r"(?<![A-Za-z0-9])https?://(?P<address>[A-Za-z0-9][A-Za-z0-9._~/?#=&%:+-]{0,200}(?<![.:?]))"
)
_MAIL: Final = re.compile(
    r"(?<![A-Za-z0-9._%+-])(?P<address>[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}"
    r"@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,6})"
)


_NAME: Final = re.compile(
    r"(?<![0-9A-Za-z_.@/-])(?P<address>[A-Za-z0-9]{1,30}(?:_[A-Za-z0-9]{1,30}){1,6})(?![0-9A-Za-z_])"
)
"""What people call themselves: house_2024."""


def _in_groups(written: str) -> str:
    """A run of eight or more is heard in groups, as people say it."""
    groups = re.findall(r"[0-9]+", written)
    if len(groups) == 1:
        run = groups[0]
        if len(run) == 11 and run[0] == "1":
            groups = [run[:3], run[3:7], run[7:]]
        elif len(run) == 10 and run[1:3] == "00":
            groups = [run[:3], run[3:6], run[6:]]
    parts = []
    for group in groups:
        parts += [group[:-4], group[-4:]] if 7 <= len(group) <= 8 else [group]
    return "，".join(phone_digits(part) for part in parts)


def _phone(match: re.Match[str]) -> str:
    country = match["country"]
    number = _in_groups(match["number"])
    return f"加{phone_digits(country)}，{number}" if country else number


_PHONE: Final = re.compile(
    r"(?<![0-9A-Za-z.,])(?:[(（]?(?:\+|00)(?P<country>[1-9][0-9]{0,2})[)）]?[ -]?)?(?P<number>"
    r"1[3-9][0-9](?P<gap>[ -]?)[0-9]{4}(?P=gap)[0-9]{4}"
    r"|[48]00(?P<toll>[ -]?)(?:[0-9]{3}(?P=toll)[0-9]{4}|[0-9]{4}(?P=toll)[0-9]{3})"
    r"|[(（]?0[1-9][0-9]{1,2}(?:[)）] ?|[ -]?)[0-9]{3,4}[ -]?[0-9]{4}"
    r")(?![0-9A-Za-z%]|[.,][0-9])"
)
_FOREIGN_PHONE: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:\+|00)(?P<country>[1-9][0-9]{0,2})[ -](?P<number>"
    r"[(（]?[0-9]{1,4}[)）]?(?:[ -]?[0-9]{2,4}){1,4})(?![0-9])"
)


def _labelled(match: re.Match[str]) -> str | None:
    """What a label before or behind it calls a telephone number or a code."""
    start = match.start()
    before = match.string[max(0, start - _LABEL_CHARS) : start]
    written = match["run"]
    if _PHONE_LABEL.search(before) or match.string.startswith(("热线", "客服"), match.end()):
        return match["letters"] + _in_groups(written)
    if _CODE_LABEL.search(before):
        return match["letters"] + "，".join(map(digits, re.findall(r"[0-9]+", written)))
    return None


_LABELLED: Final = re.compile(
    r"(?<![0-9A-Za-z.,-])(?P<letters>[A-Za-z]{0,6})-?"
    r"(?P<run>[0-9]{3,24}+(?:[ -][0-9]{2,8}+){0,4})(?![0-9A-Za-z%]|[.,:/][0-9]"
    r"| ?(?:[万亿千百元块套㎡米平个年人户天月秒次倍件份笔单条间层位名家台]|分(?!机)))"
)
_LONG: Final = re.compile(
    r"(?<![0-9A-Za-z.,])[0-9]{9,}+(?![.,][0-9]| ?[万亿千百元块套㎡米平个年人户])"
)
_CHAIN: Final = re.compile(r"(?<![0-9A-Za-z.,/-])[0-9]{1,8}(?:-[0-9]{1,8}){2,8}(?![0-9A-Za-z.,/-])")

_ROOM: Final = re.compile(
    rf"(?<![0-9A-Za-z.,])(?P<first>[0-9]{{3,5}})(?:{TO}(?P<last>[0-9]{{3,5}}))?"
    r"(?= ?(?:[、和及与或/,，] ?[0-9]{3,5} ?)?(?:室|号?房(?![屋源间产价东贷型款]))"
    r"|号(?<=[0-9]{4}号)(?![线楼])|弄(?<=[0-9]{4}弄))"
)
_UNIT_ROOM: Final = re.compile(
    r"(?:(?<=单元)|(?<=號樓)|(?<=号楼)|(?<=[栋棟座幢])) ?-?(?P<first>[0-9]{3,5})"
    r"(?P<last>(?!.).)?(?P<by>(?!.).)?"
    r"(?! ?[0-9.,%万亿元套户㎡米平个人年])"
)


def _room(match: re.Match[str]) -> str:
    first, last = match["first"], match["last"]
    return digits(first) if last is None else f"{digits(first)}{to(match)}{digits(last)}"


_HASH_HOUSE: Final = re.compile(r"(?<![0-9A-Za-z.])(?P<number>[0-9]{1,4}) ?#(?![0-9A-Za-z])")
_HASH: Final = re.compile(r"(?:# ?|(?<![A-Za-z])[Nn][Oo]\. ?)(?P<number>[0-9]{1,8})(?![0-9])")


def _house(match: re.Match[str]) -> str:
    """3# and #3 are house number three; `3#楼` says 号 once."""
    written = match["number"]
    return (digits(written) if len(written) > 2 else cardinal(written)) + "号"


_NEEDS_DOT: Final = frozenset(".")
_NEEDS_AT: Final = frozenset("@")

CODES: Final[Sequence[Rule]] = (
    Rule(_MAIL, _address, _NEEDS_AT),
    Rule(_LINK, _address, _NEEDS_DOT),
    Rule(_ANY_LINK, _address, _NEEDS_DOT | frozenset("/")),
    Rule(_NAME, _address, frozenset("_")),
    Rule(_PHONE, _phone, DIGITS),
    Rule(_FOREIGN_PHONE, _phone, DIGITS),
    Rule(_LABELLED, _labelled, DIGITS),
    Rule(_UNIT_ROOM, _room, DIGITS),
    Rule(_ROOM, _room, DIGITS),
    Rule(_LONG, lambda match: digits(match.group()), DIGITS),
    Rule(_HASH_HOUSE, _house, frozenset("#")),
    Rule(_HASH, _house, DIGITS),
)
"""In order of preference."""

CHAINS: Final[Sequence[Rule]] = (
    Rule(
        _CHAIN,
        lambda match: "杠".join(
            digits(part) if len(part) > 2 else cardinal(part) for part in match.group().split("-")
        ),
        DIGITS,
    ),
)
"""Numbers joined by `-` that are neither a date nor a telephone number."""
