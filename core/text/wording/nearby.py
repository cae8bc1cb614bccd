"""What stands beside a match: rules look a few characters around, so their time stays linear."""

from __future__ import annotations

import re
from typing import Final

_REACH: Final = 40
"""Characters: two or three words."""

_LAST_WORD: Final = re.compile(r"([^\s\"“(\[]+)\s?$")
_ENDING: Final = re.compile(r"[\"'”’»)\]]*+(?:\s*+$|\s++(?=[A-ZÁÉÍÓÚÑ¿¡\"“]))")


def before(match: re.Match[str]) -> str:
    """The text just before it."""
    return match.string[max(0, match.start() - _REACH) : match.start()]


def behind(match: re.Match[str]) -> str:
    """The text just behind it."""
    return match.string[match.end() : match.end() + _REACH]


def word_before(match: re.Match[str]) -> str:
    """The last word before it with its punctuation, "" at the start."""
    found = _LAST_WORD.search(before(match))
    return found.group(1) if found else ""


def stop(match: re.Match[str], *, sentence: bool = False) -> str:
    """The full stop that an abbreviation shares with the end of its text, "" where it is the
    abbreviation's alone. With `sentence` a capital behind it counts as an end too."""
    if not match.group().endswith("."):
        return ""
    found = _ENDING.match(behind(match))
    if found and (sentence or match.end() + found.end() >= len(match.string)):
        return "."
    return ""
