"""Amounts in Mandarin: shares, temperatures, floors, fractions, ranges and plain numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from core.text.wording.rewrite import DIGITS, Rule
from core.text.wording.zh_numbers import DASH, HAN, NUMBER, TO, cardinal, digits, number, to
from core.text.wording.zh_units import said

_SHARE: Final = re.compile(
    rf"(?<![0-9A-Za-z.,])(?P<sign>(?<!{HAN}|[0-9%)]|\]|）)[-−])?(?P<number>{NUMBER})"
    rf"(?: ?(?P<each>[%‰])?{TO}(?P<last>{NUMBER}))? ?(?P<mark>[%‰])(?P<to>{DASH}(?=[0-9]))?"
)


def _share(match: re.Match[str]) -> str:
    whole = "百分之" if match["mark"] == "%" else "千分之"

    def part(written: str) -> str:
        return "百" if written == "100" and whole == "百分之" else number(written, liang=False)

    words = ("负" if match["sign"] else "") + whole + part(match["number"])
    if match["last"]:
        words += to(match) + (whole if match["each"] else "") + part(match["last"])
    return words + ("到" if match["to"] else "")


_DEGREES: Final = re.compile(
    rf"(?<![0-9A-Za-z.,])(?P<sign>[-−])?(?P<number>{NUMBER})"
    rf"(?: ?(?:℃|°C)?{TO}(?P<last_sign>[-−])?(?P<last>{NUMBER}))?"
    rf" ?(?P<unit>℃|° ?C|°F|℉|摄氏度|度)(?: (?={HAN}))?"
)


def _degrees(match: re.Match[str]) -> str | None:
    unit = match["unit"]
    if unit == "度" and not match["sign"]:
        return None
    words = ("零下" if match["sign"] else "") + number(match["number"])
    if match["last"]:
        words += to(match) + ("零下" if match["last_sign"] else "") + number(match["last"])
    if unit in ("°F", "℉"):
        return f"华氏{words}度"
    return words + ("度" if unit == "度" else "摄氏度")


_FLOOR: Final = re.compile(
    r"(?<![0-9A-Za-z./-])第?(?P<floor>[0-9]{1,3}) ?/ ?共?(?P<floors>[0-9]{1,3}) ?"
    r"(?P<unit>[层層楼樓F])(?![A-Za-z])"
)
_FRACTION: Final = re.compile(
    r"(?<![0-9A-Za-z./-])(?P<part>[0-9]{1,3})[/⁄](?P<whole>[0-9]{1,3})(?![0-9A-Za-z/]|\.[0-9]| ?号)"
)
_LEVEL: Final = re.compile(
    r"(?:(?<=[楼樓][层層])|(?<=[楼樓][层層][:：])|(?<=[楼樓][层層] )|(?<=[楼樓][层層]: ))"
    r"(?P<floor>[0-9]{1,3}) ?/ ?共?(?P<floors>[0-9]{1,3})(?P<unit>[层層楼樓F]?)(?![0-9A-Za-z/])"
)
"""`楼层：8/11`: where the word stands before them the figures need no unit."""
_HALVES: Final = {
    "½": "二分之一",
    "⅓": "三分之一",
    "⅔": "三分之二",
    "¼": "四分之一",
    "¾": "四分之三",
}


def _floor(match: re.Match[str]) -> str:
    unit = match["unit"] if match["unit"] not in ("", "F") else "层"
    floors = number(match["floors"], counted=True)
    return f"第{cardinal(match['floor'], liang=False)}{unit}，共{floors}{unit}"


def _fraction(match: re.Match[str]) -> str | None:
    part, whole = int(match["part"]), int(match["whole"])
    if not 0 < part < whole:
        return None
    return f"{cardinal(str(whole), liang=False)}分之{cardinal(str(part), liang=False)}"


_RANGE: Final = re.compile(
    rf"(?<![0-9A-Za-z./:,-])(?P<number>{NUMBER}){DASH}(?P<last>{NUMBER})(?![0-9-]|[/:.][0-9])"
)


def _range(match: re.Match[str]) -> str | None:
    first, last = (match[group].replace(",", "") for group in ("number", "last"))
    if len(first) > 12 or len(last) > 12 or float(first) >= float(last):
        return None
    return f"{said(match)}到{said(match, 'last')}"


_DISCOUNT: Final = re.compile(r"(?<![0-9.])(?P<number>[1-9]\.?[1-9])(?= ?折)")
_VERSION: Final = re.compile(r"(?<![0-9.])[0-9]{1,5}(?:\.[0-9]{1,5}){2,8}(?!\.?[0-9])")
_LETTERED: Final = re.compile(
    r"(?:(?<=[A-Za-z])|(?<=[A-Za-z]-))(?P<number>[0-9]{3,}+)(?!,?[0-9]|\.[0-9])"
    r"|(?<![0-9A-Za-z.,])(?P<room>[0-9]{3,5})(?=-?[A-F](?![A-Za-z0-9]))"
)
_PLAIN: Final = re.compile(rf"(?P<number>{NUMBER})")

LEVELS: Final[Sequence[Rule]] = (Rule(_LEVEL, _floor, frozenset("/")),)
"""To be tried before dates."""

AMOUNTS: Final[Sequence[Rule]] = (
    Rule(_DEGREES, _degrees, frozenset("℃°℉度")),
    Rule(_SHARE, _share, frozenset("%‰")),
    Rule(_FLOOR, _floor, frozenset("/")),
    Rule(_FRACTION, _fraction, frozenset("/⁄")),
    Rule(re.compile("[½⅓⅔¼¾]"), lambda match: _HALVES[match.group()], frozenset(_HALVES)),
    Rule(_RANGE, _range, DIGITS),
    Rule(_DISCOUNT, lambda match: digits(match["number"].replace(".", "")), frozenset("折")),
    Rule(
        _VERSION,
        lambda match: "点".join(cardinal(part) for part in match.group().split(".")),
        frozenset("."),
    ),
    Rule(_LETTERED, lambda match: digits(match.group()), DIGITS),
)
"""In order of preference."""

PLAIN: Final = Rule(_PLAIN, said, DIGITS)
"""Any number that nothing else has read."""
