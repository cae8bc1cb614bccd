"""English: times of day."""

from __future__ import annotations

import re
from typing import Final

from core.text.wording.en_numbers import cardinal
from core.text.wording.nearby import stop
from core.text.wording.rewrite import at_figure

_HALF_DAY: Final = r"(?: ?([AaPp])(?:\.? ?[Mm]\b\.?)(?![A-Za-z]))"
_HOUR: Final = r"(?:[01]?[0-9]|2[0-4])"


def _clock(hour: str, minute: str | None, half_day: str | None) -> str:
    """`17:30` as "five thirty PM"; on the hour "o'clock" where nothing says which half."""
    at = int(hour)
    if half_day is None and minute is not None and (at > 12 or at == 0):
        half_day = "p" if 12 <= at < 24 else "a"
        at = at % 12 or 12
    elif half_day and at > 12:
        at -= 12
    elif half_day and at == 0:
        at = 12
    said = cardinal(at)
    if minute and int(minute):
        said += f" {'oh ' if int(minute) < 10 else ''}{cardinal(int(minute))}"
    elif minute and half_day is None:
        said += " o'clock"
    return f"{said} {half_day.upper()}M" if half_day else said


def _time(match: re.Match[str]) -> str:
    return _clock(*match.groups()) + stop(match)


def _times(match: re.Match[str]) -> str:
    hour, minute, half, last, last_minute, last_half = match.groups()
    if half is None and minute is None:
        said = cardinal(int(hour)) if int(hour) <= 12 else _clock(hour, "00", None)
    elif half is None and last_half is not None and int(hour) <= 12:
        said = _clock(hour, minute, "a")[: -len(" AM")]
    else:
        said = _clock(hour, minute, half)
    return f"{said} to {_clock(last, last_minute, last_half)}{stop(match)}"


CLOCK: Final = (
    at_figure(
        rf"(?<![0-9:.,A-Za-z])({_HOUR})(?::([0-5][0-9]))?{_HALF_DAY}?"
        rf" ?(?:[-–—]|\bto\b) ?({_HOUR})(?::([0-5][0-9]))?{_HALF_DAY}",
        _times,
    ),
    at_figure(
        rf"(?<![0-9:.,A-Za-z])({_HOUR})(?:[:.]([0-5][0-9]))?(?::[0-5][0-9])?{_HALF_DAY}", _time
    ),
    at_figure(
        rf"(?<![0-9:.,A-Za-z])({_HOUR}):([0-5][0-9])(?::[0-5][0-9])?()(?![0-9A-Za-z]|[:.][0-9])",
        lambda match: _clock(match.group(1), match.group(2), None),
    ),
)
