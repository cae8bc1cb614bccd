"""Where the items of a list begin. Line breaks are blanks by now, so a list is told by its marks:
numbers or letters that count from the first on, the first after a pause; or bullets."""

from __future__ import annotations

import re
from typing import Final

HAN: Final = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Han characters, as a range in a regular expression."""

_ITEM = re.compile(
    rf"(?:^|(?<=[ ：:；;。！？，,{HAN}]))"
    r"(?:(?P<dot>\d{1,2})(?:\. |[.．、](?=[^\d\s]))|[(（]?(?P<bracket>\d{1,2})[)）] ?"
    r"|[(（]?(?P<letter>[a-h])\) |(?P<circled>[①-⑳]) ?|(?P<bullet>[-–*•·▪‣]) )(?=\S)"
)
_ONLY_BULLETS: Final = "•▪‣"
_AFTER_PAUSE: Final = frozenset('.:;,!?…)"”’。！？；：，、）」')


def items_of(text: str) -> list[int]:
    """Where items begin, in order; the text's own beginning is left out."""
    found: list[int] = []
    counts: dict[str, tuple[int, list[int]]] = {}
    bullet = ""
    for match in _ITEM.finditer(text):
        kind, mark = match.lastgroup or "", match.group(match.lastgroup or 0)
        at = match.start()
        before = text[max(0, at - 2) : at].rstrip()[-1:]
        paused = not before or before in _AFTER_PAUSE
        if kind == "bullet":
            between_figures = before.isdigit() and text[match.end() : match.end() + 1].isdigit()
            if mark in _ONLY_BULLETS or mark == bullet or before in ("", ":", "："):
                bullet = bullet if mark in _ONLY_BULLETS else mark
                if not between_figures:
                    found.append(at)
            continue
        number = _number(kind, mark)
        last, places = counts.get(kind, (0, []))
        if number == 1 and paused:
            counts[kind] = (1, [at])
        elif places and number == last + 1:
            if last == 1:
                found.append(places[0])
            found.append(at)
            counts[kind] = (number, places)
    return sorted(at for at in found if at)


def _number(kind: str, mark: str) -> int:
    if kind == "letter":
        return ord(mark) - ord("a") + 1
    if kind == "circled":
        return ord(mark) - ord("①") + 1
    return int(mark)
