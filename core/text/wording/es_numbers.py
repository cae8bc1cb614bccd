"""Numbers as Spanish says them, the same in Spain and in America.

num2words knows neither "veintiún mil" nor "doscientas viviendas" nor "undécimo"; a number here
agrees with the noun it counts.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from core.text.wording.contact import grouped

Gender = Literal["", "m", "f"]
"""Of the noun that follows; "" where none does: `1` is "uno", "un baño", "una casa"."""

_ONES: Final = (
    *("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez"),
    *("once", "doce", "trece", "catorce", "quince", "dieciséis", "diecisiete", "dieciocho"),
    *("diecinueve", "veinte", "veintiuno", "veintidós", "veintitrés", "veinticuatro"),
    *("veinticinco", "veintiséis", "veintisiete", "veintiocho", "veintinueve"),
)
_TENS: Final = (
    *("cero", "diez", "veinte", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta"),
    *("ochenta", "noventa"),
)
_HUNDREDS: Final = (
    *("", "ciento", "doscientos", "trescientos", "cuatrocientos", "quinientos", "seiscientos"),
    *("setecientos", "ochocientos", "novecientos"),
)
_ORDINAL_ONES: Final = (
    *("", "primero", "segundo", "tercero", "cuarto", "quinto", "sexto", "séptimo", "octavo"),
    *("noveno", "décimo", "undécimo", "duodécimo"),
)
_ORDINAL_TENS: Final = (
    *("", "décimo", "vigésimo", "trigésimo", "cuadragésimo", "quincuagésimo", "sexagésimo"),
    *("septuagésimo", "octogésimo", "nonagésimo"),
)
_SCALES: Final = ((10**12, "billón", "billones"), (10**6, "millón", "millones"))
_MOST_DIGITS: Final = 18


def cardinal(number: int, gender: Gender = "") -> str:
    """`21000` as "veintiún mil". From 0 to below a trillion of the long scale."""
    for scale, one, several in _SCALES:
        if number >= scale:
            count, rest = divmod(number, scale)
            said = f"un {one}" if count == 1 else f"{cardinal(count, 'm')} {several}"
            return f"{said} {cardinal(rest, gender)}" if rest else said
    thousands, rest = divmod(number, 1000)
    if not thousands:
        return _below_thousand(rest, gender)
    said = "mil" if thousands == 1 else f"{_thousands(thousands, gender)} mil"
    return f"{said} {_below_thousand(rest, gender)}" if rest else said


def _thousands(number: int, gender: Gender) -> str:
    """Hundreds agree with the noun, the last one is short: "doscientas veintiún mil casas"."""
    hundreds, rest = divmod(number, 100)
    words = []
    if hundreds:
        words.append(_below_thousand(hundreds * 100, gender) if rest or hundreds > 1 else "cien")
        if rest and hundreds == 1:
            words = ["ciento"]
    if rest:
        words.append(_below_thousand(rest, "m"))
    return " ".join(words)


def _below_thousand(number: int, gender: Gender) -> str:
    if number < 30:
        words = _ONES[number]
    elif number < 100:
        tens, ones = divmod(number, 10)
        words = _TENS[tens] + (f" y {_ONES[ones]}" if ones else "")
    elif number == 100:
        return "cien"
    else:
        hundreds, rest = divmod(number, 100)
        words = _HUNDREDS[hundreds]
        if gender == "f" and hundreds > 1:
            words = words[:-2] + "as"
        return f"{words} {_below_thousand(rest, gender)}" if rest else words
    if gender and words.endswith("uno"):
        if gender == "f":
            return words[:-1] + "a"
        return words[:-3] + ("ún" if number == 21 else "un")
    return words


def ordinal(number: int, gender: Gender = "") -> str:
    """`3` as "tercero", "tercer piso", "tercera planta". From 1 to 99."""
    if number <= 12:
        words = _ORDINAL_ONES[number]
    elif number < 20:
        words = "decimo" + _ORDINAL_ONES[number - 10]
    else:
        tens, ones = divmod(number, 10)
        words = f"{_ORDINAL_TENS[tens]} {_ORDINAL_ONES[ones]}".rstrip()
    if gender == "f":
        return " ".join(word[:-1] + "a" for word in words.split(" "))
    if gender == "m" and words.endswith(("primero", "tercero")):
        return words[:-1]
    return words


def digits(written: str) -> str:
    """One by one."""
    return " ".join(_ONES[int(digit)] for digit in written)


def identifier(written: str) -> str:
    """Digit by digit, a pause after every third or fourth."""
    return ", ".join(digits(group) for group in grouped(written))


_THOUSANDS: Final = re.compile(r"[1-9][0-9]{0,2}(?:([.,' ])[0-9]{3})(?:\1[0-9]{3})*(?![0-9])")


def split(written: str) -> tuple[str, str, str]:
    """The whole part, the decimal sign as written and the decimals.

    `1.250`, `1,250` and `1 250` are thousands: nobody gives a price or an area to three decimals.
    """
    found = _THOUSANDS.match(written)
    whole = re.sub("[^0-9]", "", found.group()) if found else re.match("[0-9]*", written).group()  # type: ignore[union-attr]
    rest = written[found.end() if found else len(whole) :]
    return whole, rest[:1], rest[1:]


def number(written: str, gender: Gender = "") -> str:
    """A number with its separators as written: `1.250,5` or `1,250.5`. One that is too long for a
    name is said digit by digit, like one with zeros before it."""
    whole, sign, decimals = split(written)
    if decimals:
        gender = ""
    if len(whole) > _MOST_DIGITS or (whole[0] == "0" and len(whole) > 1):
        words = digits(whole)
    else:
        words = cardinal(int(whole), gender)
    if not decimals:
        return words
    short = len(decimals) <= 2 and decimals[0] != "0"
    said = cardinal(int(decimals)) if short else digits(decimals)
    return f"{words} {'punto' if sign == '.' else 'coma'} {said}"
