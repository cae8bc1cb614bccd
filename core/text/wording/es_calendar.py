"""Spanish: dates and times of day."""

from __future__ import annotations

import re
from typing import Final

from core.text.wording.es_numbers import cardinal, ordinal
from core.text.wording.nearby import behind, stop, word_before
from core.text.wording.rewrite import at_figure

_MONTHS: Final = (
    *("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre"),
    *("octubre", "noviembre", "diciembre"),
)
_SHORT_MONTH: Final = r"(?:ene|feb|mar|abr|may|jun|jul|ago|sept?|oct|nov|dic)"


def _on(day: str, month: str, year: str | None = None) -> str:
    first = "primero" if int(day) == 1 else cardinal(int(day))
    said = f"{first} de {_MONTHS[int(month) - 1]}"
    return f"{said} de {cardinal(int(year))}" if year else said


def _valid(day: str, month: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def _numeric(match: re.Match[str]) -> str | None:
    first, _, second, written = match.groups()
    day, month = (first, second) if int(second) <= 12 else (second, first)
    if not _valid(day, month):
        return None
    full = written if len(written) == 4 else ("19" if int(written) > 69 else "20") + written
    return _on(day, month, full)


def _iso(match: re.Match[str]) -> str | None:
    year, _, month, day = match.groups()
    if not _valid(day, month):
        return None
    return _on(day, month, year) + (" " if match.group().endswith("T") else "")


_DATED_WORDS: Final = frozenset(
    (
        "el",
        "del",
        "al",
        "día",
        "lunes",
        "martes",
        "miércoles",
        "jueves",
        "viernes",
        "sábado",
        "domingo",
        "desde",
        "hasta",
        "antes",
        "fecha",
    )
)


def _short(match: re.Match[str]) -> str | None:
    day, month = match.groups()
    dated = word_before(match).lower().strip(",.(") in _DATED_WORDS
    if not _valid(day, month) or not (dated or (int(day) > int(month) and int(day) > 12)):
        return None
    return _on(day, month)


def _with_short_month(match: re.Match[str]) -> str:
    day, short, year = match.groups()
    month = next(at for at, name in enumerate(_MONTHS, 1) if name.startswith(short[:3].lower()))
    return _on(day, str(month), year) + ("" if year else stop(match))


def _first(match: re.Match[str]) -> str:
    return ordinal(1)


_HALF_DAY: Final = r"(?: ?([AaPp])\.? ?[Mm]\b\.?)"
_HOUR: Final = r"(?:[01]?[0-9]|2[0-4])"
_HOURS: Final = r"(?: ?(h(?:rs?|s|oras?)?)\b\.?)"


def _clock(hour: str, minute: str | None, half_day: str | None, *, plain: bool) -> str:
    """Of twelve hours with "y media", of twenty-four hours or with `plain` as the clock shows."""
    at = int(hour)
    if half_day:
        at = at % 12 or 12
    said = cardinal(at, "f")
    if minute and int(minute):
        said += f" {_minutes(int(minute), plain=plain or at > 12 or at == 0)}"
    if half_day:
        said += f" {_part_of_day(at, half_day.lower())}"
    return said


def _minutes(minute: int, *, plain: bool) -> str:
    if plain:
        return f"cero {cardinal(minute)}" if minute < 10 else cardinal(minute)
    if minute in (15, 30):
        return "y cuarto" if minute == 15 else "y media"
    return f"y {cardinal(minute)}" if minute < 30 else cardinal(minute)


def _part_of_day(hour: int, half_day: str) -> str:
    if half_day == "a":
        return "de la noche" if hour == 12 else "de la mañana"
    if hour == 12:
        return "del mediodía"
    return "de la tarde" if hour < 8 else "de la noche"


def _on_the_hour(hour: str, minute: str | None, *, named: bool) -> bool:
    """Whether "horas" is said: on the full hour from thirteen on, or where it is written."""
    return not (minute and int(minute)) and (named or not 0 < int(hour) <= 12)


def _time(match: re.Match[str]) -> str | None:
    hour, minute, half_day, hours = match.groups()
    if half_day is None and minute is None and hours is None:
        return None
    if re.match(r" horas?\b", behind(match)):
        return _clock(hour, minute, half_day, plain=True)
    said = _clock(hour, minute, half_day, plain=hours is not None)
    if half_day is None and _on_the_hour(hour, minute, named=hours is not None):
        said += " hora" if int(hour) == 1 else " horas"
    return said + stop(match)


def _times(match: re.Match[str]) -> str | None:
    hour, minute, half_day, last, last_minute, last_half_day, hours = match.groups()
    if not (minute or last_minute or half_day or last_half_day):
        return None
    plain = hours is not None or int(last) > 12
    first = _clock(hour, minute, half_day, plain=plain)
    said = f"{first} a {_clock(last, last_minute, last_half_day, plain=plain)}"
    if not last_half_day and _on_the_hour(last, last_minute, named=hours is not None):
        said += " horas"
    return said + stop(match)


CALENDAR: Final = (
    at_figure(
        r"(?<![0-9/.-])([0-9]{1,2})([/.-])([0-9]{1,2})\2([0-9]{4}|(?<=/)[0-9]{2})"
        r"(?![0-9]|[/.-][0-9])",
        _numeric,
    ),
    at_figure(
        r"(?<![0-9/-])([12][0-9]{3})([-/])([01][0-9])\2([0-3][0-9])"
        r"(?:T(?=[0-9])|(?![0-9]|[-/][0-9]))",
        _iso,
    ),
    at_figure(
        r"(?<![0-9/.,A-Za-z-])(?!24/7\b)([0-9]{1,2})/([0-9]{1,2})(?![0-9/A-Za-z]|[.,-][0-9])",
        _short,
    ),
    at_figure(
        r"(?<![0-9/.,A-Za-z-])(0?[1-9]|1[0-2])/((?:19|20)[0-9]{2})(?![0-9/A-Za-z]|[.,-][0-9])",
        lambda match: f"{_MONTHS[int(match.group(1)) - 1]} de {cardinal(int(match.group(2)))}",
    ),
    at_figure(
        rf"(?<![0-9A-Za-z])([12][0-9]|3[01]|0?[1-9])[ -](?:de )?({_SHORT_MONTH})\b\.?"
        r"(?:[ -](?:de )?((?:19|20)[0-9]{2})(?![0-9]))?",
        _with_short_month,
    ),
    at_figure(rf"(?<![0-9A-Za-z])0?1(?:\.?º|\.?er|ro)?(?= de (?:{'|'.join(_MONTHS)})\b)", _first),
    at_figure(
        rf"(?<![0-9:.,A-Za-z])({_HOUR})(?:[:.]([0-5][0-9]))?{_HALF_DAY}?(?: ?h\b)? ?[-–—] ?"
        rf"({_HOUR})(?:[:.]([0-5][0-9]))?(?![0-9])(?:{_HALF_DAY}|{_HOURS})?(?![0-9A-Za-z%]|[:.,][0-9])",
        _times,
    ),
    at_figure(
        rf"(?<![0-9:.,A-Za-z])({_HOUR})(?::([0-5][0-9])(?::[0-5][0-9])?)?(?:{_HALF_DAY}|{_HOURS})?"
        r"(?![0-9A-Za-z]|[:.,][0-9])",
        _time,
    ),
    at_figure(
        rf"(?<![0-9:.,A-Za-z])({_HOUR})\.([0-5][0-9])(?:{_HALF_DAY}|{_HOURS})(?![0-9A-Za-z])",
        _time,
    ),
)
