"""Mandarin number words, as they are read aloud on the mainland.

cn2an has them too, but importing it takes 160 ms and 6.7 MB (median of 3), cuts decimals at 16
places and never says 两; the words are regular, and the tests compare the two.
"""

from __future__ import annotations

import re
from typing import Final

NUMBER: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,6}(?!,?[0-9])(?:\.[0-9]++)?|[0-9]++(?:\.[0-9]++)?)"
"""A pattern: how a number is written."""
DASH: Final = "(?:[-–—~～]| [-–—~～] )"
"""A pattern: between two numbers 到; a blank before it alone makes it a minus."""
TO: Final = f"(?P<by>{DASH}| ?[至到] ?)"
"""A pattern: between the two numbers of a range, see `to`."""
HAN: Final = "[\u3400-\u9fff〇]"

_DIGITS: Final = "零一二三四五六七八九"
_PLACES: Final = ("千", "百", "十", "")
_GROUPS: Final = ("", "万", "亿", "万亿")
_MOST_DIGITS: Final = 4 * len(_GROUPS)

_SPELLED: Final = str.maketrans("0123456789", _DIGITS)
_CALLED: Final = str.maketrans("0123456789", "零幺二三四五六七八九")


def to(match: re.Match[str]) -> str:
    """What is said for `TO`: 到, or 至 where that is written."""
    return "至" if "至" in (match["by"] or "") else "到"


def digits(written: str) -> str:
    """Digit by digit: years, rooms, codes."""
    return written.translate(_SPELLED)


def phone_digits(written: str) -> str:
    """Digit by digit with 幺 for 1, as telephone numbers are read: 一 is taken for 七 or lost.

    The local voice says both; of five numbers read both ways Whisper base heard four right with 幺
    and two with 一.
    """
    return written.translate(_CALLED)


def number(written: str, *, counted: bool = False, liang: bool = True) -> str:
    """A number as it is written, with or without `,` between thousands and with decimals.

    `counted`: a measure word follows, so that a lone 2 is 两. `liang`: a leading 2 before 百, 千,
    万 and 亿 is 两 too (after a higher place it stays 二, as in 三万二千).
    """
    whole, point, decimals = written.replace(",", "").partition(".")
    if not point and whole == "2" and counted:
        return "两"
    words = cardinal(whole, liang=liang)
    return f"{words}点{digits(decimals)}" if decimals else words


def cardinal(whole: str, *, liang: bool = True) -> str:
    """Decimal digits as one number; digit by digit where they begin with 0 or are too many to have
    a name that anybody would use."""
    if len(whole) > _MOST_DIGITS or (len(whole) > 1 and whole[0] == "0"):
        return digits(whole)
    if whole == "0":
        return "零"
    words = ""
    padded = whole.zfill(_MOST_DIGITS)
    groups = [padded[at : at + 4] for at in range(0, _MOST_DIGITS, 4)]
    for index, group in enumerate(groups):
        if group == "0000":
            continue
        zero = words and (group[0] == "0" or groups[index - 1] == "0000")
        words += ("零" if zero else "") + _group(group)
        words += _unit_of(groups, index)
    if words.startswith("一十"):
        words = words[1:]
    if liang and words[0] == "二" and words[1:2] and words[1] in "百千万亿":
        words = "两" + words[1:]
    return words


def _unit_of(groups: list[str], index: int) -> str:
    """万亿 is said once where nothing stands between it and 亿: 一万亿, but 一万零三亿."""
    place = len(groups) - 1 - index
    if place == 3 and groups[index + 1] != "0000":
        return "万"
    return _GROUPS[place]


def _group(group: str) -> str:
    """Up to four digits; zeros between others are said once, those at the end not at all."""
    words = ""
    gap = False
    for digit, place in zip(group, _PLACES, strict=True):
        if digit == "0":
            gap = bool(words)
            continue
        words += ("零" if gap else "") + _DIGITS[int(digit)] + place
        gap = False
    return words
