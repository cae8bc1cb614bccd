"""English: dates, years, decades, weekdays."""

from __future__ import annotations

import re
from typing import Final

from core.text.wording.en_numbers import cardinal, ordinal, year
from core.text.wording.nearby import before, behind, stop, word_before
from core.text.wording.rewrite import DIGITS, Rule, at_capital, at_figure

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH: Final = (
    r"(?:Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?\.?|July?\.?"
    r"|Aug(?:ust|\.)?|Sept?(?:ember|\.)?|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)(?![A-Za-z])"
)
_DAY: Final = r"(?:[12][0-9]|3[01]|0?[1-9])"
_YEAR: Final = r"(?:1[0-9]{3}|20[0-9]{2})(?![0-9]|[.,/:-][0-9])"
_NOT_MORE: Final = r"(?![0-9A-Za-z%°]|[.,/:][0-9])"


def _month(written: str) -> str:
    return next(name for name in _MONTHS if name.startswith(written[:3]))


def _on(month: str, day: str, year_written: str | None) -> str:
    said = f"{month} {ordinal(int(day))}"
    return f"{said}, {year(int(year_written))}" if year_written else said


def _month_day(match: re.Match[str]) -> str:
    month, day, last, in_year = match.groups()
    if last:
        said = f"{_month(month)} {ordinal(int(day))} to {ordinal(int(last))}"
        return f"{said}, {year(int(in_year))}" if in_year else said
    return _on(_month(month), day, in_year)


def _day_month(match: re.Match[str]) -> str:
    day, month, in_year = match.groups()
    said = f"{ordinal(int(day))} of {_month(month)}"
    if word_before(match).lower() != "the":
        said = f"the {said}"
    return f"{said}, {year(int(in_year))}" if in_year else said


def _numeric(match: re.Match[str]) -> str | None:
    first, _, second, written = match.groups()
    month, day = (first, second) if int(first) <= 12 else (second, first)
    if not _valid(month, day):
        return None
    full = written if len(written) == 4 else ("19" if int(written) > 69 else "20") + written
    return _on(_MONTHS[int(month) - 1], day, full)


def _iso(match: re.Match[str]) -> str | None:
    full, _, month, day = match.groups()
    if not _valid(month, day):
        return None
    return _on(_MONTHS[int(month) - 1], day, full) + (" " if match.group().endswith("T") else "")


def _valid(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


_DATED_WORDS: Final = frozenset(
    (
        *("on", "by", "from", "until", "till", "through", "before", "after", "since", "starting"),
        *("due", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        *("mon", "tue", "tues", "wed", "thu", "thurs", "fri", "sat", "sun"),
    )
)
_PARTS: Final = frozenset({"2", "3", "4", "5", "8", "10", "16"})
_HALVED: Final = re.compile(r" (?:acre|mile|cup|inch|bath|off|of)")
_HOME: Final = re.compile(
    r" (?:home|house|condo|bungalow|apartment|townho|ranch|duplex|cottage|floor|unit)"
)


def _short(match: re.Match[str]) -> str | None:
    """`3/15` is a day where it can be one, unless it is a fraction."""
    month, day = match.groups()
    if not _valid(month, day):
        return None
    dated = word_before(match).lower().strip(".,(") in _DATED_WORDS
    if not dated and ((int(month) < int(day) and day in _PARTS) or month == day):
        return None
    if not dated and _HALVED.match(behind(match)):
        return None
    if not dated and int(month) >= int(day) and _HOME.match(behind(match)):
        return f"{cardinal(int(month))} {cardinal(int(day))}"
    return _on(_MONTHS[int(month) - 1], day, None)


def _month_year(match: re.Match[str]) -> str:
    return f"{_MONTHS[int(match.group(1)) - 1]} {year(int(match.group(2)))}"


def _decade(match: re.Match[str]) -> str:
    century, tens = match.groups()
    if tens == "00":
        return f"{year(int(century) * 100)}s" if century else "hundreds"
    said = f"{cardinal(int(tens))}".removesuffix("y")
    said = f"{said}ies" if said.endswith("t") else f"{said}s"
    return f"{cardinal(int(century))} {said}" if century else said


_OF_YEARS: Final = frozenset(
    (
        *(
            "in",
            "since",
            "from",
            "until",
            "till",
            "by",
            "to",
            "circa",
            "c.",
            "built",
            "of",
            "before",
        ),
        *(
            "after",
            "around",
            "year",
            "early",
            "mid",
            "late",
            "during",
            "est.",
            "established",
            "and",
        ),
        *("dated", "through", "spring", "summer", "fall", "autumn", "winter", "between"),
    )
)
_COUNTED: Final = re.compile(r"[ -]?(?:people|guests|homes|houses|units|miles|feet|steps)")


def _in_year(match: re.Match[str]) -> str | None:
    written = match.group()
    if written[:2] in ("19", "20") or word_before(match).lower().strip("(,") in _OF_YEARS:
        if _COUNTED.match(behind(match)):
            return None
        return year(int(written))
    return None


_WEEKDAY: Final = r"Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun"
_LISTED: Final = re.compile(
    r"(?:\b(?:to|and|or|through|thru|on|every|this|next|last|until)|[-–&,/]) ?$"
)
_DAY_FOLLOWS: Final = re.compile(
    rf",? ?(?:[-–&/] ?)?(?:[0-9]|(?:{_WEEKDAY})\b|(?:to|and|or|thru|through) (?:{_WEEKDAY})\b"
    rf"|(?:{_MONTH}) [0-9])"
)


def _weekday(match: re.Match[str]) -> str | None:
    short, dot = match.groups()
    certain = dot and behind(match).strip("\"'”’)")
    if not (
        certain
        or short not in ("Sat", "Sun", "Wed")
        or _LISTED.search(before(match))
        or _DAY_FOLLOWS.match(behind(match))
    ):
        return None
    return next(day for day in _WEEKDAYS if day.startswith(short[:3])) + stop(match)


def _weekdays(match: re.Match[str]) -> str:
    return " to ".join(
        next(day for day in _WEEKDAYS if day.startswith(short[:3])) for short in match.groups()
    )


_STREET: Final = re.compile(r" (?:St|Ave|Blvd|Rd|Dr|Ln|Ct|Pl|Street|Avenue|Road|Lane|Drive)\b")


def _ordinal(match: re.Match[str]) -> str:
    said = ordinal(int(match.group(1).replace(",", "")))
    return said.capitalize() if _STREET.match(behind(match)) else said


DATES: Final = (
    at_capital(
        rf"\b({_MONTH}) ({_DAY})(?:st|nd|rd|th)?(?: ?[-–] ?({_DAY})(?:st|nd|rd|th)?)?{_NOT_MORE}"
        rf"(?:,? ({_YEAR}))?",
        _month_day,
    ),
    at_figure(
        rf"(?<![0-9A-Za-z/.,:-])({_DAY})(?:st|nd|rd|th)? (?:of )?({_MONTH})(?:,? ({_YEAR}))?",
        _day_month,
    ),
    at_capital(rf"\b({_MONTH})(?= (?:of )?{_YEAR})", lambda match: _month(match.group(1))),
    at_figure(
        r"(?<![0-9/.-])([0-9]{1,2})([/.-])([0-9]{1,2})\2([0-9]{4}|(?<=/)[0-9]{2})(?![0-9]|[/.-][0-9])",
        _numeric,
    ),
    at_figure(
        r"(?<![0-9/-])([12][0-9]{3})([-/])([01][0-9])\2([0-3][0-9])(?:T(?=[0-9])|(?![0-9]|[-/][0-9]))",
        _iso,
    ),
    at_figure(r"(?<![0-9/.,A-Za-z-])([0-9]{1,2})/([0-9]{1,2})(?![0-9/A-Za-z]|[.,-][0-9])", _short),
    at_figure(
        r"(?<![0-9/.,A-Za-z-])(0?[1-9]|1[0-2])/((?:19|20)[0-9]{2})(?![0-9/A-Za-z]|[.,-][0-9])",
        _month_year,
    ),
    Rule(
        re.compile(r"(?<![0-9A-Za-z.,])['’]?(1[0-9]|20)?([0-9]0)['’]?s\b"),
        _decade,
        DIGITS,
    ),
    at_figure(
        r"(?<![0-9A-Za-z.,/$€£#-])(?:1[1-9]|20)[0-9]{2}"
        r"(?![0-9A-Za-z%°]|[.,:/][0-9]| ?[-–] ?[0-9]|[-+])",
        _in_year,
    ),
    at_figure(
        r"(?<![0-9])([0-9]{1,4}|[0-9]{1,3}(?:,[0-9]{3}){1,3})(?:st|nd|rd|th)\b",
        _ordinal,
    ),
    at_capital(rf"\b({_WEEKDAY})\.? ?[-–] ?({_WEEKDAY})\b", _weekdays),
    at_capital(rf"\b({_WEEKDAY})\b(\.)?(?![\w'’])", _weekday),
    at_capital(
        r"\b(Jan|Feb|Apr|Aug|Sept?|Oct|Nov|Dec)\.(?=,? [a-z])", lambda match: _month(match.group(1))
    ),
)
