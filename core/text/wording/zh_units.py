"""Measure words of Mandarin: signs for units, 两 or 二, and prices per unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from core.text.wording.rewrite import Rule
from core.text.wording.zh_numbers import DASH, HAN, number

UNITS: Final = {
    "㎡": "平方米",
    "m²": "平方米",
    "M²": "平方米",
    "m2": "平方米",
    "M2": "平方米",
    "sqm": "平方米",
    "km²": "平方公里",
    "km2": "平方公里",
    "ft²": "平方英尺",
    "sqft": "平方英尺",
    "㎥": "立方米",
    "m³": "立方米",
    "m3": "立方米",
    "㎞": "公里",
    "km": "公里",
    "KM": "公里",
    "㎝": "厘米",
    "cm": "厘米",
    "㎜": "毫米",
    "mm": "毫米",
    "m": "米",
    "㎏": "公斤",
    "kg": "公斤",
    "kWh": "千瓦时",
    "kW": "千瓦",
    "min": "分钟",
    "h": "小时",
    "F": "楼",
    "°": "度",
    "w": "万",
}
UNIT: Final = "|".join(sorted(UNITS, key=len, reverse=True))

_COUNTED_WORDS: Final = (
    "[万亿千百套间間室房居厅廳卫衛厨廚卧臥梯位名人家所辆輛张張把台臺条條件次遍趟天晚夜秒刻点點元块塊平米站面]"
    "|[种種份处處片只本倍成步道扇根岁歲亩畝吨口边邊侧側项項]|[个個](?!性)|[户戶](?!型)|年(?!级)|部(?!分)|周(?!边)"
    "|小时|小時|分钟|分鐘|[公千]里|公[尺斤顷]|千克|[厘毫]米|立方|美[元金]|港[元币]|欧元|英镑|人民币"
    "|车位|阳台|陽臺|洗手间|书房|学校"
)
_COUNTED: Final = re.compile(
    rf" ?(?:(?:{DASH}|[、或和与到至]) ?[0-9][0-9.]{{0,8}} ?)?"
    rf"(?:{_COUNTED_WORDS}|(?:{UNIT})(?![A-Za-z0-9]))"
)
"""What follows a 2 that is 两. A floor, a building, a month or a number in a row stays 二."""
_COUNTED_THINGS: Final = re.compile(r" ?[层層栋棟幢座期排级类段组批代]")
_ORDINAL_BEFORE: Final = frozenset("第初周")
_COUNT_BEFORE: Final = frozenset("共总總有各这那")


def said(match: re.Match[str], group: str = "number") -> str:
    """The number of a group, with 两 where what stands around the match asks for it."""
    text, start, end = match.string, match.start(group), match.end()
    before = text[max(0, start - 2) : start].rstrip(" ")[-1:]
    if before in _ORDINAL_BEFORE:
        return number(match[group], liang=False)
    counted = _COUNTED.match(text, end) or (
        before in _COUNT_BEFORE and _COUNTED_THINGS.match(text, end)
    )
    written = match[group]
    if "." in written and text.startswith(("元", "块"), end):
        written = written.rstrip("0").removesuffix(".")
    return number(written, counted=bool(counted))


_PER: Final = re.compile(
    r"(?:(?<=[0-9%元块塊币金镑万亿千百圆角㎡²])|(?<=平米)|(?<=方米)) ?/ ?(?:每)?"
    r"(?P<unit>㎡|m²|M²|m2|平方米|平方|平米|平|月|年|天|日|晚|夜|周|季度?|小时|h"
    r"|套|间|人|户|次|车位|位|栋|层|度|吨|个|家)"
    r"(?:[/·・.*](?P<also>月|年|天|日|套|间|人|户))?(?![A-Za-z0-9/]|付)"
)
_PRICE_BEFORE: Final = re.compile(r"(?:[0-9%元块塊币金镑万亿千百圆角]|[㎡²]|平米|方米) ?$")


def _per(match: re.Match[str]) -> str | None:
    if not _PRICE_BEFORE.search(match.string[max(0, match.start() - 4) : match.start()]):
        return None
    also = f"每{match['also']}" if match["also"] else ""
    return f"每{UNITS.get(match['unit'], match['unit'])}{also}"


_MEASURE: Final = re.compile(
    rf"(?:(?<=[0-9]) ?(?P<unit>{UNIT})(?![A-Za-z0-9²³])|(?P<alone>㎡|m²|㎥|m³))"
    rf"(?:(?P<to>{DASH}(?=[0-9]))| (?={HAN}))?"
)


def _measure(match: re.Match[str]) -> str:
    return UNITS[match["unit"] or match["alone"]] + ("到" if match["to"] else "")


UNIT_RULES: Final[Sequence[Rule]] = (
    Rule(_PER, _per, frozenset("/")),
    Rule(_MEASURE, _measure),
)
