"""Mandarin as it is read aloud: the rules, most particular first.

Han characters stay as the caller wrote them, simplified or traditional. Numerals become mainland
number words; 1 in a telephone number is 幺. Latin words stay Latin.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from core.text.wording.rewrite import DIGITS, Rule
from core.text.wording.zh_amounts import AMOUNTS, LEVELS, PLAIN
from core.text.wording.zh_codes import CHAINS, CODES
from core.text.wording.zh_dates import DATES
from core.text.wording.zh_money import MONEY
from core.text.wording.zh_numbers import DASH, HAN
from core.text.wording.zh_units import UNIT_RULES

_ROMAN: Final = {chr(0x2160 + at): str(at + 1) for at in range(12)}
_WIDE: Final = (
    "０１２３４５６７８９％＋－．／＃＆＠＝＊￥＄￡"
    "ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ"
    "ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫ①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
)
_WIDE_TOKEN: Final = re.compile(
    rf"[0-9A-Za-z.,:/%+-]{{0,16}}+[{_WIDE}][0-9A-Za-z.,:/%+{_WIDE}-]{{0,64}}"
)


def _narrow(match: re.Match[str]) -> str:
    """Full-width forms are the same digits and letters; the next pass reads them."""
    return "".join(_ROMAN.get(c) or unicodedata.normalize("NFKC", c) for c in match.group())


_SPACED: Final = re.compile(rf"(?<=[\u3400-\u9fff〇㎡²³℃]) (?=[0-9¥$€£])|(?<=[0-9%]) (?={HAN})")
"""Typographers put a blank between Han characters and figures; nobody says it."""
_BETWEEN_NUMBERS: Final = re.compile("(?<=[0-9]) (?=[0-9])")

_TO: Final = re.compile(
    rf"(?<=[月日号號元万亿米层層楼樓平点岁年期室房度里钟时个套栋站]){DASH}(?=[0-9])"
    r"|(?<=[一二三四五六日末]) ?[-–—~～] ?(?=周|星期|礼拜)"
    rf"|(?<={HAN})[~～](?={HAN})"
)
_BELOW_GROUND: Final = re.compile(
    r"(?<=[在第是于到达至])[-−](?=[0-9]{1,5}(?:\.[0-9]{1,3})? ?[层層楼樓米])"
)
_MINUS: Final = re.compile(r"(?<![0-9A-Za-z\u3400-\u9fff%㎡²)）\]-])[-−](?=[0-9])")
_HYPHEN: Final = re.compile(r"(?<=[0-9])[-–](?=[0-9A-Za-z])|(?<=[A-Za-z])-(?=[0-9])")
_MORE: Final = re.compile(rf"(?<=[0-9])\+(?= ?{HAN}|[，。；、！？,;)）]|$)")
_TIMES: Final = re.compile(r"(?:(?<=[0-9米])|(?<=[0-9]m)) ?[×xX*✕] ?(?=[0-9])")
_RATIO: Final = re.compile(r"(?<=[0-9])[:：](?=[0-9])")
_AROUND: Final = re.compile(r"[~～≈](?= ?[0-9])")
_COMPARED: Final = re.compile(r"(?P<sign>[<>≤≥＜＞]|[<>]=) ?(?=[0-9])")
_COMPARISONS: Final = {
    "<": "小于",
    "＜": "小于",
    ">": "大于",
    "＞": "大于",
    "≤": "小于等于",
    "<=": "小于等于",
    "≥": "大于等于",
    ">=": "大于等于",
}
_SAID: Final = {
    "&": "和",
    "+": "加",
    "=": "等于",
    "±": "正负",
    "×": "乘",
    "÷": "除以",
    "@": "at",
    "¥": "元",
    "$": "美元",
    "€": "欧元",
    "£": "英镑",
    "℃": "摄氏度",
    "°": "度",
    "≈": "约",
}
_SIGN: Final = re.compile(" ?(?P<sign>[&=×÷@]) ?|(?P<close>[+±¥$€£℃°≈])")
_ENUMERATED: Final = re.compile(r" ?[/\\]++ ?")
_LEFT_OVER: Final = re.compile("[~～_#^]++")


def _sign(match: re.Match[str]) -> str:
    return _SAID[match["sign"] or match["close"]]


def _enumerated(match: re.Match[str]) -> str:
    at_edge = match.start() == 0 or match.end() == len(match.string)
    return "" if at_edge else "、"


def _fixed(pattern: re.Pattern[str], words: str, needs: frozenset[str] = frozenset()) -> Rule:
    return Rule(pattern, lambda _: words, needs)


RULES: Final[Sequence[Rule]] = (
    Rule(_WIDE_TOKEN, _narrow, frozenset(_WIDE)),
    *CODES,
    *LEVELS,
    *DATES,
    *CHAINS,
    *MONEY,
    *UNIT_RULES,
    *AMOUNTS,
    _fixed(_BELOW_GROUND, "负", frozenset("-−")),
    _fixed(_TO, "到", frozenset("-–—~～")),
    _fixed(_MINUS, "负", frozenset("-−")),
    _fixed(_HYPHEN, "杠", frozenset("-–")),
    _fixed(_MORE, "多", frozenset("+")),
    _fixed(_TIMES, "乘", DIGITS),
    _fixed(_RATIO, "比", frozenset(":：")),
    _fixed(_AROUND, "约", frozenset("~～≈")),
    Rule(_COMPARED, lambda match: _COMPARISONS[match["sign"]], frozenset("<>≤≥＜＞")),
    _fixed(_SPACED, "", frozenset(" ")),
    _fixed(_BETWEEN_NUMBERS, "，", frozenset(" ")),
    PLAIN,
    Rule(_SIGN, _sign, frozenset(_SAID)),
    _fixed(_LEFT_OVER, "", frozenset("~～_#^")),
    Rule(_ENUMERATED, _enumerated, frozenset("/\\")),
)
