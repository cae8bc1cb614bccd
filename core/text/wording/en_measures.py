"""English: quantities with their units, dimensions, parts of a unit."""

from __future__ import annotations

import re
from typing import Final

from core.text.wording.en_numbers import number, ordinal
from core.text.wording.nearby import before, behind, stop, word_before
from core.text.wording.rewrite import at_figure

NUMBER: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,8}(?![0-9])(?:\.[0-9]++)?|[0-9]++(?:\.[0-9]++)?)"
_VULGAR: Final = {
    "½": "1/2",
    "¼": "1/4",
    "¾": "3/4",
    "⅓": "1/3",
    "⅔": "2/3",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
    "⅞": "7/8",
}
AMOUNT: Final = (
    rf"(?:[0-9]{{0,4}}+ ?[{''.join(_VULGAR)}]"
    rf"|(?:[0-9]{{1,4}}[ -])?[0-9]{{1,2}}/[0-9]{{1,2}}(?![0-9/])|{NUMBER})"
)
_FREE: Final = r"(?<![0-9A-Za-z])(?<![0-9][.,/:-])"
"""Where a figure may begin: not inside another one or a word."""

_UNITS: Final = {
    "sqft|sqfeet|sqfoot|sf|ft²|ft2": ("square foot", "square feet"),
    "sqm|m²|m2": ("square meter", "square meters"),
    "sqmi|mi²|mi2": ("square mile", "square miles"),
    "sqkm|km²|km2": ("square kilometer", "square kilometers"),
    "sqyd|sqyds": ("square yard", "square yards"),
    "sqin": ("square inch", "square inches"),
    "cuft|ft³|ft3": ("cubic foot", "cubic feet"),
    "m³|m3": ("cubic meter", "cubic meters"),
    "ac": ("acre", "acres"),
    "ha": ("hectare", "hectares"),
    "km|kms": ("kilometer", "kilometers"),
    "mi": ("mile", "miles"),
    "ft": ("foot", "feet"),
    "in": ("inch", "inches"),
    "yd|yds": ("yard", "yards"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "m": ("meter", "meters"),
    "lb|lbs": ("pound", "pounds"),
    "kg": ("kilogram", "kilograms"),
    "mph": ("mile per hour", "miles per hour"),
    "km/h|kph": ("kilometer per hour", "kilometers per hour"),
    "kw": ("kilowatt", "kilowatts"),
    "kwh": ("kilowatt hour", "kilowatt hours"),
    "gal": ("gallon", "gallons"),
    "°f|℉": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°c|℃": ("degree Celsius", "degrees Celsius"),
    "°": ("degree", "degrees"),
    "min|mins": ("minute", "minutes"),
    "hr|hrs": ("hour", "hours"),
    "yr|yrs": ("year", "years"),
    "mo|mos": ("month", "months"),
    "wk|wks": ("week", "weeks"),
    "bd|bed": ("bed", "bed"),
    "bds": ("beds", "beds"),
    "br|bdrm|bdr": ("bedroom", "bedroom"),
    "brs|bdrms": ("bedrooms", "bedrooms"),
    "ba": ("bath", "bath"),
    "bas": ("baths", "baths"),
    "%": ("percent", "percent"),
}
_NAMES: Final = {short: names for key, names in _UNITS.items() for short in key.split("|")}
_AREA: Final = (
    r"(?:[Ss]q|SQ)\.?[ -]?(?:[Ff]t|FT|feet|foot|mi|km|yds?|m|in)\b"
    r"|(?:ft|km|mi|m)(?:²|\^?2\b)|(?:ft|m)(?:³|\^?3\b)|[Cc]u\.? ?ft\b|sqm\b|(?:SF|sf)\b"
)
_UNIT: Final = (
    rf"(?:{_AREA}|km/h\b|° ?[FC]\b|[℃℉°%]"
    r"|(?:ac|ha|kms?|mi|[Ff]t|FT|yds?|cm|mm|m|lbs?|kg|mph|kph|kWh?|gal|mins?|hrs?|yrs?|mos?|wks?)\b"
    r"|(?:[Bb]ds?|BDS?|[Bb]rs?|BRs?|(?i:bdrms?|bdr)|[Bb]as?|BAs?)\b)"
)
_HALVED: Final = frozenset({"bd", "bds", "br", "brs", "bdrm", "bdrms", "ba", "bas", "yr", "yrs"})
HALVED_WORDS: Final = re.compile(r"[ -](?:bath|bed|star|year|hour|month|day|stor(?:y|ies)\b)")
_NO_NOUN: Final = re.compile(
    r"(?: (?:and|or|in|of|for|to|at|on|by|with|from|per|a|an|the|is|are|was|were|will|more|less"
    r"|each|long|wide|tall|deep|away|off|down|up|total|if|as|when|that|than|plus|including|before|after"
    r"|now|only|but|so|i|we|you|he|she|they|it|has|have|had|can|goes|went|you'll|we'll)\b)"
)


_DETERMINERS: Final = frozenset(
    ("a", "an", "the", "this", "that", "our", "your", "my", "its", "their", "his", "her", "another")
)


_JOURNEY: Final = re.compile(r" (?:walk|drive|ride|commute|stroll|lease|fixed|loan|ceiling)")


def attributive(match: re.Match[str]) -> bool:
    """Whether a measure qualifies the noun behind it: "a $500 fee", "a 1,850 sq ft home"."""
    following = behind(match)
    if _JOURNEY.match(following):
        return True
    return (
        word_before(match).lower() in _DETERMINERS
        and re.match(r" [a-z]{2}", following) is not None
        and _NO_NOUN.match(following) is None
    )


def unit_names(written: str) -> tuple[str, str]:
    """One of it and several of it."""
    return _NAMES[re.sub(r"[ .^-]", "", written).lower()]


def amount(written: str, *, halved: bool = False) -> str:
    """A number, a fraction or both: `2 1/2` as "two and a half"; `2.5` too if `halved`."""
    if written[-1] in _VULGAR:
        written = f"{written[:-1].rstrip()} {_VULGAR[written[-1]]}".lstrip()
    if "/" not in written:
        if halved and written.endswith(".5") and len(written) > 2:
            return "half" if written == "0.5" else f"{number(written[:-2])} and a half"
        return number(written)
    whole, _, part = written.replace("-", " ").rpartition(" ")
    top, bottom = (int(value) for value in part.split("/"))
    one = "a" if whole else "one"
    if bottom == 2:
        name = "half" if top == 1 else "halves"
    else:
        name = ("quarter" if bottom == 4 else ordinal(bottom)) + ("" if top == 1 else "s")
    said = f"{one if top == 1 else number(str(top))} {name}"
    return f"{number(whole)} and {said}" if whole else said


def _quantity(match: re.Match[str]) -> str:
    first, second, hyphen, unit, slash = match.group(1, 2, 3, 4, 5)
    one, several = unit_names(unit)
    halved = unit.lower() in _HALVED
    single = (second or first) == "1" or hyphen == "-" or attributive(match)
    if first in ("1/2", "½") and not second and one.split()[0] in _PARTED:
        return f"half {_PARTED[one.split()[0]]} {one}{stop(match, sentence=True)}"
    said = amount(first, halved=halved)
    if second:
        said += f" to {amount(second, halved=halved)}"
    joined = "-" if hyphen == "-" and " " not in said else " "
    return (
        f"{said}{joined}{one if single else several}{', ' if slash else stop(match, sentence=True)}"
    )


_PARTED: Final = {
    "acre": "an",
    "hour": "an",
    "mile": "a",
    "block": "a",
    "year": "a",
    "month": "a",
    "hectare": "a",
}


def _part_of(match: re.Match[str]) -> str | None:
    """`1/2 acre` as "half an acre"."""
    written, noun = match.group(1, 2)
    if attributive(match) or re.match(r" (?:lot|walk|drive|parcel|plot)", behind(match)):
        return f"half {noun}" if written in ("1/2", "½") else f"{amount(written)} {noun}"
    if written in ("1/2", "½"):
        return f"half {_PARTED[noun]} {noun}"
    return f"{amount(written)} of {_PARTED[noun]} {noun}"


_FEET: Final = "'’′"
_INCHES: Final = '"”″'
_LENGTH: Final = (
    rf"(?:[0-9]++(?:\.[0-9]++)?(?:[{_FEET}](?: ?[0-9]{{1,2}}[{_INCHES}])?|[{_INCHES}]"
    rf"| ?(?:ft|in|m|cm)\b\.?)?)"
)


def _dimensions(match: re.Match[str]) -> str:
    sides = " by ".join(_length(side) for side in re.split(r" ?[x×X] ?", match.group(1)))
    unit = match.group(2)
    return f"{sides} {unit_names(unit)[1]}{stop(match)}" if unit else sides + stop(match)


def _length(written: str) -> str:
    found = re.fullmatch(
        rf"([0-9.]+?)(?:([{_FEET}])(?: ?([0-9]+)[{_INCHES}])?|([{_INCHES}])| ?(ft|in|m|cm)\.?)?",
        written,
    )
    if found is None:
        return number(written)
    value, feet, inches, inch, unit = found.groups()
    name = "ft" if feet else "in" if inch else unit
    said = number(value)
    if name:
        said += " " + unit_names(name)[value != "1"]
    if inches:
        said += f" {number(inches)} {unit_names('in')[inches != '1']}"
    return said


def _feet(match: re.Match[str]) -> str:
    feet, inches = match.group(1, 2)
    if inches:
        return _length(match.group())
    return f"{number(feet)} foot" if "ceiling" in behind(match) else _length(match.group())


def _inch(match: re.Match[str]) -> str | None:
    """`12" tiles` as "twelve-inch tiles", unless the sign closes a quotation."""
    written = match.group(1)
    earlier = before(match)
    if earlier.count('"') % 2 or earlier.count("“") > earlier.count("”"):
        return None
    if _NO_NOUN.match(behind(match)):
        return f"{number(written)} {unit_names('in')[written != '1']}"
    return f"{number(written)}-inch"


MEASURES: Final = (
    at_figure(
        rf"{_FREE}({_LENGTH}(?: ?[x×X] ?{_LENGTH}){{1,2}})(?![0-9A-Za-z])(?: ?({_UNIT})\.?)?",
        _dimensions,
    ),
    at_figure(
        rf"{_FREE}([0-9]{{1,5}}+)[{_FEET}](?: ?([0-9]{{1,2}})[{_INCHES}]"
        r"|(?= (?:ceiling|wide|tall|deep|high|long|by)))",
        _feet,
    ),
    at_figure(rf"{_FREE}([0-9]{{1,3}})[{_INCHES}](?= [A-Za-z]{{2}})", _inch),
    at_figure(
        rf"(?<![0-9])({AMOUNT})(?:[%°]? ?[-–—] ?({AMOUNT}))?([ -])?({_UNIT})(?![0-9A-Za-z²³])"
        r"(?:(/)(?=[0-9])|\.(?![0-9A-Za-z]))?",
        _quantity,
    ),
    at_figure(
        r"(?<![0-9])([0-9]{1,4}) ?(in)\b"
        r"(?:(?=[,;)])|\.?(?= (?:wide|tall|deep|high|long|thick|by)\b))",
        lambda match: f"{number(match.group(1))} {unit_names('in')[match.group(1) != '1']}",
    ),
    at_figure(rf"(?<![0-9/])([1-3]/[2-8]|[½¼¾⅓⅔])[ -](?:an? )?({'|'.join(_PARTED)})\b", _part_of),
)
