"""English: addresses, flats, postal codes, reference numbers."""

from __future__ import annotations

import re
from typing import Final

from core.text.wording.en_numbers import digits, house, identifier
from core.text.wording.nearby import before, behind, stop, word_before
from core.text.wording.rewrite import DIGITS, Rule, at_capital, at_figure

_STREETS: Final = {
    "St": "Street",
    "Str": "Street",
    "Ave": "Avenue",
    "Av": "Avenue",
    "Blvd": "Boulevard",
    "Rd": "Road",
    "Dr": "Drive",
    "Ln": "Lane",
    "Ct": "Court",
    "Pl": "Place",
    "Pkwy": "Parkway",
    "Hwy": "Highway",
    "Ter": "Terrace",
    "Terr": "Terrace",
    "Cir": "Circle",
    "Sq": "Square",
    "Trl": "Trail",
    "Expy": "Expressway",
    "Fwy": "Freeway",
    "Plz": "Plaza",
}
_FULL: Final = frozenset(_STREETS.values()) | {"Way", "Alley", "Loop", "Row", "Broadway", "Drive"}
_TYPE: Final = "|".join(_STREETS)
_NAMES: Final = r"(?:[A-Z0-9][A-Za-z0-9'’]{0,20}+\.? ){1,4}?"
_ENDS_IN_TYPE: Final = rf"{_NAMES}(?:{_TYPE}|{'|'.join(sorted(_FULL))})\b"
_DIRECTIONS: Final = {
    "N": "North",
    "S": "South",
    "E": "East",
    "W": "West",
    "NE": "Northeast",
    "NW": "Northwest",
    "SE": "Southeast",
    "SW": "Southwest",
}
_DIRECTION: Final = r"(?:N[EW]?|S[EW]?|E|W)"
_ROOMS: Final = {
    "apt": "Apartment",
    "ste": "Suite",
    "bldg": "Building",
    "rm": "Room",
    "fl": "Floor",
    "hwy": "Highway",
}
_STATES: Final = {
    "AL": "Alabama",
    "AK": "Alaska",
    "AZ": "Arizona",
    "AR": "Arkansas",
    "CA": "California",
    "CO": "Colorado",
    "CT": "Connecticut",
    "DC": "D.C.",
    "DE": "Delaware",
    "FL": "Florida",
    "GA": "Georgia",
    "HI": "Hawaii",
    "IA": "Iowa",
    "ID": "Idaho",
    "IL": "Illinois",
    "IN": "Indiana",
    "KS": "Kansas",
    "KY": "Kentucky",
    "LA": "Louisiana",
    "MA": "Massachusetts",
    "MD": "Maryland",
    "ME": "Maine",
    "MI": "Michigan",
    "MN": "Minnesota",
    "MO": "Missouri",
    "MS": "Mississippi",
    "MT": "Montana",
    "NC": "North Carolina",
    "ND": "North Dakota",
    "NE": "Nebraska",
    "NH": "New Hampshire",
    "NJ": "New Jersey",
    "NM": "New Mexico",
    "NV": "Nevada",
    "NY": "New York",
    "OH": "Ohio",
    "OK": "Oklahoma",
    "OR": "Oregon",
    "PA": "Pennsylvania",
    "RI": "Rhode Island",
    "SC": "South Carolina",
    "SD": "South Dakota",
    "TN": "Tennessee",
    "TX": "Texas",
    "UT": "Utah",
    "VA": "Virginia",
    "VT": "Vermont",
    "WA": "Washington",
    "WI": "Wisconsin",
    "WV": "West Virginia",
    "WY": "Wyoming",
}
_ALSO_WORDS: Final = frozenset({"HI", "IN", "ME", "OH", "OK", "OR"})
_STATE_ENDS: Final = frozenset({name.split()[-1] for name in _STATES.values()} | set(_STATES))
_IDENTIFIED: Final = re.compile(
    r"\b(?:MLS|ID|PIN|pin|ZIP|zip|code|reference|ref|confirmation|permit|license|account|tracking"
    r"|parcel|extension)\.?(?:(?: [a-z]+){0,3} (?:is|number))?[:#]? $"
)


def _street(match: re.Match[str]) -> str | None:
    short, direction = match.group(1, 2)
    previous = word_before(match)
    if not previous or not (previous[0].isupper() or previous[0].isdigit()):
        return None
    following = re.match(r" [A-Z][a-z]", behind(match)) is not None
    if short in ("St", "Dr") and following and not direction and not _numbered(match):
        return None
    if not previous[-1].isalnum() and previous[-1] != ".":
        return None
    if short in ("Ct", "Pl", "Av", "Str", "Ter", "Sq") and not (_numbered(match) or match.group(3)):
        return None
    said = _STREETS[short]
    return f"{said} {_DIRECTIONS[direction]}" if direction else said + stop(match)


def _numbered(match: re.Match[str]) -> bool:
    """Whether a house number stands before the name of the street."""
    return re.search(rf"[0-9][A-Za-z]?(?:st|nd|rd|th)? (?:{_NAMES})?$", before(match)) is not None


def _title(match: re.Match[str]) -> str:
    return {"St": "Saint", "Dr": "Doctor"}[match.group(1)]


def _room(match: re.Match[str]) -> str:
    short, written, letter = match.groups()
    name = _ROOMS.get(short.lower(), short)
    return " ".join(part for part in (name, written and house(written), letter) if part)


def _state(match: re.Match[str]) -> str | None:
    return None if match.group(1) in _ALSO_WORDS and not match.group(2) else _STATES[match.group(1)]


def _hash(match: re.Match[str]) -> str:
    written, letter = match.group(1, 2)
    return f"number {house(written)}{' ' + letter if letter else ''}"


def _reference(match: re.Match[str]) -> str | None:
    """Digits behind "MLS", "code" and the like, postal codes behind a state: never a quantity."""
    written, more = match.group(1, 2)
    named = _IDENTIFIED.search(before(match))
    if not named and not (len(written) == 5 and word_before(match) in _STATE_ENDS):
        return None
    said = identifier(written)
    return f"{said}, {identifier(more)}" if more else said


def _room_or_letter(match: re.Match[str]) -> str:
    short, written, letter, alone = match.groups()
    name = _ROOMS[short.lower()]
    return " ".join(part for part in (name, written and house(written), letter, alone) if part)


PLACES: Final = (
    Rule(re.compile(r"# ?([0-9]++)([A-Za-z]?)(?![A-Za-z])"), _hash, frozenset("#")),
    Rule(re.compile(r"#(?=[A-Za-z]++-?[0-9])"), lambda _: "number ", frozenset("#")),
    Rule(re.compile(r"(?:\b[Nn]os?\.|№|\bNr\.) ?#?(?=[0-9])"), lambda _: "number ", DIGITS),
    at_figure(
        r"(?<=[A-Za-z:,.] )([0-9]{4,})(?:-([0-9]{4}))?(?![0-9A-Za-z-]|[.,:/][0-9])", _reference
    ),
    at_figure(
        r"(?<![0-9A-Za-z.,$€£#-])[0-9]{5}(?= (?:zip|ZIP|Zip)\b)",
        lambda match: identifier(match.group()),
    ),
    at_figure(
        r"(?<![0-9A-Za-z.,$€£#-])([0-9]{1,5})"
        rf"(?=(?:[A-Z]|-[A-Z])? (?:{_DIRECTION}\.? )?{_ENDS_IN_TYPE})",
        lambda match: house(match.group(1)),
    ),
    at_capital(
        rf"(?<![A-Za-z0-9'’.])({_DIRECTION})\b\.?(?= {_ENDS_IN_TYPE})",
        lambda match: _DIRECTIONS[match.group(1)],
    ),
    Rule(
        re.compile(
            r"\b((?i:apt|ste|bldg|rm|hwy)|[Ff]l)\b\.?"
            r"(?: ?#? ?([0-9]{1,5})(?:-?([A-Z]))?\b| ?#? ?([A-Z])\b(?!['’]))"
        ),
        _room_or_letter,
    ),
    Rule(
        re.compile(
            r"\b(Unit|Suite|Apartment|Room|Building|Lot|unit|suite|apartment|room|Highway|Route|Exit)"
            r" #?([0-9]{3,5})([A-Z]?)\b(?![,.][0-9])"
        ),
        _room,
        DIGITS,
    ),
    Rule(
        re.compile(r"(?<=(?:st|nd|rd|th) )(?:Fl|fl)\b\.?(?! ?oz)"),
        lambda match: "floor" + stop(match),
    ),
    at_capital(rf"(?<=[A-Za-z0-9.] )({_TYPE})\b\.?(?: ({_DIRECTION})\b)?((?=,)|)", _street),
    at_capital(r"\b(St|Dr)\.? (?=[A-Z][a-z]|[A-Z]\. )", lambda match: f"{_title(match)} "),
    at_figure(
        r"(?<![0-9])(?:911|411|311)\b(?!-)",
        lambda m: digits(m.group()) if word_before(m).lower() in ("call", "dial") else None,
    ),
    at_capital(
        r"\b(I|US|SR|FM|CR)-([0-9]{1,4})(?![0-9A-Za-z-])",
        lambda match: f"{match.group(1)} {house(match.group(2))}",
    ),
    at_capital(
        rf"(?<=[a-z], )({'|'.join(_STATES)})(?:(?= ([0-9]{{5}})\b)|(?=[.,;:!?)]|$))",
        _state,
    ),
)
