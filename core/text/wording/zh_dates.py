"""Dates and times of day in Mandarin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from core.text.wording.rewrite import DIGITS, Rule
from core.text.wording.zh_numbers import cardinal, digits, number

_TO: Final = r"(?P<to>(?:[-–—~～]| [-–—~～] )(?=[0-9]))?"
"""A dash behind a date or time that another one follows: 到."""


def _to(match: re.Match[str]) -> str:
    return "到" if match["to"] else ""


_MONTH: Final = r"(?P<month>0?[1-9]|1[0-2])"
_DAY: Final = r"(?P<day>0?[1-9]|[12][0-9]|3[01])"
_YEAR: Final = r"(?P<year>(?:1[89]|20|21)[0-9]{2})"
_TIME_NEXT: Final = r" (?=[0-2]?[0-9][:：][0-5][0-9])"

_FULL_DATE: Final = re.compile(
    rf"(?<![0-9A-Za-z./]){_YEAR}(?P<mark>[-./]){_MONTH}(?P=mark){_DAY}(?![0-9]|[./][0-9])"
    rf"(?:{_TIME_NEXT}|{_TO})"
)
_YEAR_MONTH: Final = re.compile(
    rf"(?<![0-9A-Za-z./-]){_YEAR}[-/](?P<month>0[1-9]|1[0-2])(?P<day>(?!.).)?(?![0-9/.-]){_TO}"
)
_SHORT_DATE: Final = re.compile(
    rf"(?<![0-9A-Za-z./])(?P<year>(?!.).)?{_MONTH}/{_DAY}(?![0-9/.%]| ?[层層楼樓F号])"
    rf"(?:{_TIME_NEXT}|{_TO})"
)
_YEARS: Final = re.compile(
    r"(?<![0-9A-Za-z.,/-])"
    r"(?:(?P<first>(?:1[89]|20|21)[0-9]{2})(?P<again> ?年)? ?[-–—~～] ?)?(?P<last>[12][0-9]{3})"
    r"(?:(?= ?年(?!历史|以上|前|后|的历史))"
    r"|(?<=[-–—~～ ](?:19|20)[0-9]{2})(?![0-9A-Za-z.,/%-]| ?[万元块㎡米平套个]))"
)
_SHORT_YEAR: Final = re.compile(
    r"(?<![0-9A-Za-z.,/])(?P<year>[0-9]{2})"
    r"(?=年(?:[01]?[0-9]月|底|初|款|春|夏|秋|冬)|(?<=[05-9][05])[后後](?:[，。的、业客]|$))"
)
_YEAR_ALONE: Final = re.compile(
    r"(?:(?<=[于於至自])|(?<=截止)|(?<=截至)) ?(?P<year>(?:19|20)[0-9]{2})"
    r"(?![0-9.,/:-]| ?[万元㎡米平套个户])"
)

_DATE_BEFORE: Final = re.compile(
    r"(?:[在于於从自到至期日定约]|时间|截止|开盘|预计)(?:[:：是为]|在)? ?$"
)
_DATE_AFTER: Final = re.compile(
    r" ?(?:[(（]?(?:周|星期|礼拜)|上午|下午|早|晚|中午|前|后|之|开|起|入|交|见|看|签"
    r"|[-–—~～至到] ?[0-9]{1,2}/)"
)


def _date(match: re.Match[str]) -> str | None:
    year, day = match["year"], match["day"]
    words = f"{digits(year)}年" if year else ""
    words += f"{cardinal(match['month'].lstrip('0'))}月"
    if day:
        words += f"{cardinal(day.lstrip('0'))}日"
    return words + _to(match)


def _short_date(match: re.Match[str]) -> str | None:
    """`3/15` is a date; `3/4` is one only where the words around it say so, else a fraction."""
    month, day = int(match["month"]), int(match["day"])
    likely_fraction = month < day <= 10 or month == 1
    before = match.string[max(0, match.start() - 5) : match.start()]
    if likely_fraction and not (
        _DATE_BEFORE.search(before)
        or _DATE_AFTER.match(match.string, match.end())
        or match["to"]
        or match.group().endswith(" ")
    ):
        return None
    return _date(match)


def _years(match: re.Match[str]) -> str | None:
    first = match["first"]
    if first is None:
        return digits(match["last"])
    return f"{digits(first)}{'年' if match['again'] else ''}到{digits(match['last'])}"


_TIME: Final = re.compile(
    r"(?<![0-9A-Za-z.,])(?<![0-9][:：])(?P<hour>[01]?[0-9]|2[0-4])[:：](?P<minute>[0-5][0-9])"
    r"(?:[:：](?P<second>[0-5][0-9]))?(?![0-9:：]|\.[0-9])"
    rf"(?: ?(?P<half>[AaPp]\.?[Mm]\.?)(?![A-Za-z]))?{_TO}"
)
_HOUR_ALONE: Final = re.compile(
    rf"(?<![0-9A-Za-z.,])(?<![0-9][:：])(?P<hour>1[0-2]|0?[1-9])(?P<minute>(?!.).)?(?P<second>(?!.).)?"
    rf" ?(?P<half>[AaPp][Mm])(?![A-Za-z]){_TO}"
)
_RATIO_BEFORE: Final = re.compile(r"(?:比|配比|比例|比值|比率|赔率)(?:[为是约]|大约)?[:：]? ?$")


def _time(match: re.Match[str]) -> str | None:
    before = match.string[max(0, match.start() - 6) : match.start()]
    if _RATIO_BEFORE.search(before):
        return None
    hour, minute, second = match["hour"], match["minute"], match["second"]
    half = match["half"]
    words = ""
    if half:
        words = "上午" if half[0] in "Aa" else "中午" if int(hour) == 12 else "下午"
    words += number(str(int(hour)), counted=True) + "点"
    if minute == "30" and not second:
        words += "半"
    elif minute and (minute != "00" or second):
        words += (digits(minute) if minute[0] == "0" else cardinal(minute)) + "分"
    if second:
        words += (digits(second) if second[0] == "0" else cardinal(second)) + "秒"
    return words + _to(match)


_QUARTER: Final = re.compile(r"(?<=年)Q(?P<quarter>[1-4])(?![0-9A-Za-z])")

DATES: Final[Sequence[Rule]] = (
    Rule(_FULL_DATE, _date, DIGITS),
    Rule(_YEAR_MONTH, _date, DIGITS),
    Rule(_SHORT_DATE, _short_date, frozenset("/")),
    Rule(_YEARS, _years, DIGITS),
    Rule(_SHORT_YEAR, lambda match: digits(match["year"]), frozenset("年后後")),
    Rule(_YEAR_ALONE, lambda match: digits(match["year"]), DIGITS),
    Rule(_QUARTER, lambda match: f"第{cardinal(match['quarter'])}季度", frozenset("Q")),
    Rule(_TIME, _time, frozenset(":：")),
    Rule(_HOUR_ALONE, _time, DIGITS),
)
"""In order of preference. Half past is 半 at any hour, other minutes are 分 (never 刻)."""
