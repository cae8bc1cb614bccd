"""Spanish: quantities with their units, dimensions, ranges, fractions, plain numbers, signs."""

from __future__ import annotations

import re
from typing import Final

from core.text.wording.es_gender import counted, gender_of
from core.text.wording.es_numbers import Gender, cardinal, identifier, number, ordinal
from core.text.wording.nearby import behind, stop
from core.text.wording.rewrite import Rule, at_figure

NUMBER: Final = (
    r"(?:[1-9][0-9]{0,2}(?:(?:\.[0-9]{3}){1,6}(?![0-9])(?:,[0-9]++)?"
    r"|(?:,[0-9]{3}){1,6}(?![0-9])(?:\.[0-9]++)?"
    r"|(?: [0-9]{3}){1,6}(?! ?[0-9])(?:,[0-9]++)?)|[0-9]++(?:[.,'’][0-9]++)?)"
)
FREE: Final = r"(?<![0-9A-Za-z])(?<![0-9][.,/:-])"
_VULGAR: Final = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}
_AMOUNT: Final = (
    rf"(?:[0-9]{{0,4}}+ ?[{''.join(_VULGAR)}]"
    rf"|(?:[0-9]{{1,4}} )?[0-9]{{1,2}}/[0-9]{{1,2}}(?![0-9/])|{NUMBER})"
)
_UNITS: Final = {
    "m²|m2|mt²|mt2|mts2|mts²|mtrs²|mtrs2": ("metro cuadrado", "metros cuadrados"),
    "km²|km2": ("kilómetro cuadrado", "kilómetros cuadrados"),
    "ft²|ft2|pies²|pies2|sqft": ("pie cuadrado", "pies cuadrados"),
    "m³|m3": ("metro cúbico", "metros cúbicos"),
    "ha|has": ("hectárea", "hectáreas"),
    "km|kms": ("kilómetro", "kilómetros"),
    "m|mt|mts": ("metro", "metros"),
    "cm|cms": ("centímetro", "centímetros"),
    "mm": ("milímetro", "milímetros"),
    "ft": ("pie", "pies"),
    "kg|kgs": ("kilo", "kilos"),
    "km/h": ("kilómetro por hora", "kilómetros por hora"),
    "kw": ("kilovatio", "kilovatios"),
    "kwh": ("kilovatio hora", "kilovatios hora"),
    "°c|ºc|℃": ("grado Celsius", "grados Celsius"),
    "°f|ºf|℉": ("grado Fahrenheit", "grados Fahrenheit"),
    "°": ("grado", "grados"),
    "min|mins": ("minuto", "minutos"),
    "h|hs|hrs": ("hora", "horas"),
    "hab|habs": ("habitación", "habitaciones"),
    "dorm|dorms": ("dormitorio", "dormitorios"),
    "rec": ("recámara", "recámaras"),
    "pers": ("persona", "personas"),
    "%": ("por ciento", "por ciento"),
}
_NAMES: Final = {short: names for key, names in _UNITS.items() for short in key.split("|")}
_UNIT: Final = (
    r"(?:(?:km|mts?|mtrs|m|ft|pies)(?:²|2\b)|m(?:³|3\b)|sq ?ft\b|km/h\b|[°º] ?[CF]\b|[℃℉°%]"
    r"|(?:has?|kms?|KM|mts?|cms?|mm|m|ft|kgs?|kWh?|mins?|hs|hrs|h|habs?|dorms?|rec|pers)\b)"
)


def unit_names(written: str) -> tuple[str, str]:
    """One of it and several of it."""
    return _NAMES[written.replace(" ", "").lower()]


def amount(written: str, gender: Gender = "") -> str:
    """A number, a fraction or both: `2 1/2` as "dos y medio"."""
    if written[-1] in _VULGAR:
        written = f"{written[:-1].rstrip()} {_VULGAR[written[-1]]}".lstrip()
    if "/" not in written:
        return number(written, gender)
    whole, _, part = written.rpartition(" ")
    top, bottom = (int(value) for value in part.split("/"))
    half = "media" if gender == "f" else "medio"
    if (top, bottom) == (1, 2):
        return f"{number(whole, 'f' if gender == 'f' else '')} y {half}" if whole else half
    said = f"{cardinal(top, 'm')} {_parts(bottom, one=top == 1)}"
    return f"{number(whole)} y {said}" if whole else said


def _parts(bottom: int, *, one: bool) -> str:
    if bottom < 2 or bottom > 12:
        name = f"{cardinal(bottom).replace(' ', '')}avo"
    else:
        name = {2: "medio", 3: "tercio", 11: "onceavo", 12: "doceavo"}.get(bottom) or ordinal(
            bottom
        )
    return name if one else f"{name}s"


def _quantity(match: re.Match[str]) -> str:
    first, second, unit, slash = match.group(1, 2, 3, 4)
    one, several = unit_names(unit)
    gender: Gender = "" if unit == "%" else gender_of(one.split()[0])
    said = amount(first, gender)
    if second:
        said += f" a {amount(second, gender)}"
    name = one if (second or first) in ("1", "1/2", "½") else several
    return f"{said} {name}{', ' if slash else stop(match, sentence=True)}"


_LENGTH: Final = r"(?:[0-9]++(?:[.,][0-9]++)?(?: ?(?:m|cm|ft)\b)?)"


def _dimensions(match: re.Match[str]) -> str:
    sides = [_side(side) for side in re.split(r" ?[x×X] ?", match.group(1))]
    unit = match.group(2)
    said = " por ".join(sides)
    return f"{said} {unit_names(unit)[1]}" if unit else said


def _side(written: str) -> str:
    value, unit = re.fullmatch(r"([0-9.,]+) ?([a-z]*)", written).groups()  # type: ignore[union-attr]
    return f"{number(value)} {unit_names(unit)[value != '1']}" if unit else number(value)


def _range(match: re.Match[str]) -> str:
    first, second = match.group(1, 2)
    gender = counted(match, one=second == "1")
    return f"{number(first, gender)} a {number(second, gender)}"


_AS_YEAR: Final = re.compile(r"\b(?:en|desde|de|hasta|año|del|a|hacia|para)\s$", re.I)


def _number(match: re.Match[str]) -> str:
    written = match.group()
    before_it = match.string[max(0, match.start() - 8) : match.start()]
    if before_it[-1:].isascii() and before_it[-1:].isalpha() and len(written) > 3:
        return identifier(written) if written.isdecimal() else amount(written)
    if re.fullmatch("(?:19|20)[0-9]{2}", written) and _AS_YEAR.search(before_it):
        return amount(written)
    return amount(written, counted(match, one=written in ("1", "1/2", "½")))


_NO_NOUN: Final = re.compile(r"[.,;!?)]|$| (?:y|o|en|de|a)\b")


def _ordinal(match: re.Match[str]) -> str | None:
    written, sign, ending = match.groups()
    value = int(written)
    if value > 12 and match.group().endswith(f"{written}º") and _NO_NOUN.match(behind(match)):
        return f"{number(written)} grados"
    if not 0 < value < 100:
        return None
    if sign == "ª" or (ending and ending.endswith("a")):
        return ordinal(value, "f")
    noun = re.match(
        r" (?!izquierd|derech|izq|dch|centro|y\b|o\b|de\b|en\b)[a-záéíóúñ]{3}", behind(match)
    )
    return ordinal(value, "m" if ending == "er" or noun else "")


_OPERATORS: Final = {"+": "más", "*": "por", "×": "por", "=": "igual a", "÷": "entre"}
_COMPARED: Final = {
    "~": "aproximadamente",
    "≈": "aproximadamente",
    "±": "más o menos",
    "<": "menos de",
    ">": "más de",
    "≤": "como máximo",
    "≥": "como mínimo",
}

FIGURES: Final = (
    at_figure(
        rf"(?<![0-9/])({NUMBER})/(100?)(?![0-9/])",
        lambda match: f"{number(match.group(1))} sobre {number(match.group(2))}",
    ),
    at_figure(
        rf"{FREE}({_LENGTH}(?: ?[x×X] ?{_LENGTH}){{1,2}})(?![0-9A-Za-z])(?: ?({_UNIT}))?",
        _dimensions,
    ),
    at_figure(
        rf"(?<![0-9])({_AMOUNT})(?: ?[%°]? ?[-–—] ?({_AMOUNT}))?[ -]?({_UNIT})(?![0-9A-Za-z²³])"
        r"(?:(/)(?=[0-9])|\.(?![0-9A-Za-z])(?:/(?=[0-9]))?)?",
        _quantity,
    ),
    at_figure(
        r"(?<![0-9])([0-9]{1,2})(?:\.? ?([ºª])"
        r"|[.°]?(er|ero|ro|do|to|mo|vo|no|era|ra|da|ta|ma|va|na)\b"
        r"(?:\.(?= [a-z]))?"
        r"|°(?= [a-z]{4}))",
        _ordinal,
    ),
    at_figure(
        rf"(?<![0-9A-Za-z])(?<![0-9][-–—])({NUMBER}) ?[-–—] ?(?!0[0-9])({NUMBER})"
        r"(?![0-9]|[A-Z][0-9]|[-–—/][0-9])",
        _range,
    ),
    at_figure(
        rf"(?<![0-9])({NUMBER})[x×](?![0-9A-Za-z])", lambda match: f"{number(match.group(1))} veces"
    ),
    at_figure(r"(?<![0-9])24/7\b", lambda _: "veinticuatro siete"),
    at_figure(
        r"(?<![0-9])(?![1-9][0-9]{0,2}(?:\.[0-9]{3}){2,6}(?![.0-9]))[0-9]++(?:\.[0-9]++){2,}",
        lambda match: " punto ".join(number(part) for part in match.group().split(".")),
    ),
    Rule(re.compile(r"(?:(?<=[\s(])|^)[-−](?=[$€£]?[0-9])"), lambda _: "menos ", frozenset("-−")),
    at_figure(rf"(?<![0-9]){_AMOUNT}", _number),
    # Signs.
    Rule(
        re.compile(r"(?<=[0-9]) ?[+*×=÷] ?(?=[$€£0-9])"),
        lambda match: f" {_OPERATORS[match.group().strip()]} ",
        frozenset("+*×=÷"),
    ),
    Rule(re.compile(r"(?<=[0-9])/(?=[0-9])"), lambda _: " barra ", frozenset("/")),
    Rule(re.compile(r"(?<=[0-9]):(?=[0-9])"), lambda _: " a ", frozenset(":")),
    Rule(re.compile(r"(?<=[0-9KMk%€])\+(?![\w+])"), lambda _: " o más", frozenset("+")),
    Rule(
        re.compile(r"(?<= )[+=](?= )"),
        lambda match: _OPERATORS[match.group()],
        frozenset("+="),
    ),
    Rule(
        re.compile(r"[~≈±<>≤≥] ?(?=[$€£]?[0-9])"),
        lambda match: f"{_COMPARED[match.group()[0]]} ",
        frozenset(_COMPARED),
    ),
    Rule(re.compile(r"@"), lambda _: " arroba ", frozenset("@")),
    Rule(re.compile(r"&"), lambda _: " y ", frozenset("&")),
    Rule(re.compile(r"(?<=[^\W_])_++(?=[^\W_])"), lambda _: " ", frozenset("_")),
)
