"""What American English says for what is written: the rules in their order, and abbreviations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from core.text.wording.codes import code_rules
from core.text.wording.contact import ContactWords, contact_rules
from core.text.wording.en_clock import CLOCK
from core.text.wording.en_dates import DATES
from core.text.wording.en_figures import FIGURES, SCORES
from core.text.wording.en_measures import MEASURES
from core.text.wording.en_money import MONEY
from core.text.wording.en_numbers import digits, identifier
from core.text.wording.en_places import PLACES
from core.text.wording.nearby import behind, stop, word_before
from core.text.wording.rewrite import Rule

_CONTACT: Final = contact_rules(
    ContactWords(
        signs={
            "@": "at",
            ".": "dot",
            "-": "dash",
            "_": "underscore",
            "/": "slash",
            "+": "plus",
            ":": "colon",
            "?": "question mark",
            "=": "equals",
            "&": "and",
            "#": "hash",
            "%": "percent",
            "~": "tilde",
        },
        digits=digits,
        identifier=identifier,
        plus="plus",
        extension="extension",
    )
)
_DOTTED: Final = {
    "mr": "Mister",
    "mrs": "Missus",
    "prof": "Professor",
    "jr": "Junior",
    "sr": "Senior",
    "inc": "Incorporated",
    "corp": "Corporation",
    "ltd": "Limited",
    "dept": "department",
    "est": "established",
    "approx": "approximately",
    "etc": "et cetera",
    "vs": "versus",
    "e.g": "for example",
    "i.e": "that is",
    "incl": "including",
    "avg": "average",
    "min": "minimum",
    "max": "maximum",
    "ext": "extension",
    "appt": "appointment",
    "mgmt": "management",
    "bsmt": "basement",
    "bdrm": "bedroom",
    "bdrms": "bedrooms",
    "govt": "government",
}
_BARE: Final = {
    "mr": "Mister",
    "mrs": "Missus",
    "approx": "approximately",
    "vs": "versus",
    "etc": "et cetera",
    "sqft": "square feet",
    "bdrm": "bedroom",
    "bdrms": "bedrooms",
    "bldg": "building",
    "blvd": "Boulevard",
    "pkwy": "Parkway",
}
_LOWER_ONLY: Final = frozenset({"est", "min", "max", "inc", "corp"})
_AREA_OF: Final = {"ft": "square feet", "m": "square meters", "mi": "square miles"}
_SHORT: Final = {"w/o": "without", "w/": "with", "b/c": "because", "b/w": "between"}


def _dotted(match: re.Match[str]) -> str | None:
    short = match.group(1)
    if short.lower() in ("min", "max", "est") and not re.match(r" [a-z0-9$]", behind(match)):
        return None
    if short.lower() in ("jr", "sr", "inc", "corp", "ltd") and not word_before(match)[:1].isupper():
        return None
    said = _DOTTED[short.lower()]
    if short[0].isupper() and said[0].islower() and len(short) > 1 and not short.isupper():
        said = said[0].upper() + said[1:]
    return said + stop(match)


def _area(match: re.Match[str]) -> str:
    name = _AREA_OF[match.group(1).lower()]
    if word_before(match).lower() == "per":
        name = name.replace("feet", "foot").removesuffix("s")
    return name + stop(match)


_ABBREVIATIONS: Final = (
    Rule(
        re.compile(
            rf"(?<![\w.@/-])((?i:{'|'.join(re.escape(short) for short in _DOTTED)}))\.(?![\w@])"
        ),
        _dotted,
        frozenset("."),
    ),
    Rule(
        re.compile(
            rf"(?<![\w.@/-])({'|'.join(_BARE)}|Mrs?|Approx|Vs|Blvd|Bldg|Pkwy)(?![\w@/-]|\.\w)"
        ),
        lambda match: _BARE[match.group(1).lower()],
    ),
    Rule(
        re.compile(r"(?<!\w)([wb]/(?:[ocw]\b)?)(?=[\w ])", re.I),
        lambda m: _SHORT.get(m.group(1).lower()),
        frozenset("/"),
    ),
    Rule(re.compile(r"\b[Ss]q\.? ?(ft|m|mi)\b(?:\.(?!\w))?"), _area),
    Rule(re.compile(r"\b(?:&|and) Co\.(?= |$)"), lambda m: "and Company" + stop(m), frozenset(".")),
)

_CODES: Final = code_rules(
    digits,
    re.compile(
        r"\b(?:[Cc]ase|[Rr]ef(?:erence)?|[Ff]ile|[Ii]nvoice|[Oo]rder|[Pp]ermit|[Dd]ocket|[Ll]icense|ID"
        r"|[Cc]onfirmation|[Tt]icket|[Pp]olicy|[Pp]arcel|APN|MLS)\.?"
        r"(?: (?:[Nn]o\.?|number|ID|code))?(?: is)?:? ?#? ?$"
    ),
)

RULES: Final[Sequence[Rule]] = (
    *_CONTACT,
    *DATES,
    *CLOCK,
    *_CODES,
    *MONEY,
    *PLACES,
    *_ABBREVIATIONS,
    *SCORES,
    *MEASURES,
    *FIGURES,
)
