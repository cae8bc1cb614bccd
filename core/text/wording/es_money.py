"""Spanish: prices."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from core.text.wording.es_figures import NUMBER, unit_names
from core.text.wording.es_numbers import Gender, cardinal, number, split
from core.text.wording.nearby import stop
from core.text.wording.rewrite import Rule, at_figure


class _Money(NamedTuple):
    one: str
    several: str
    cent: str
    gender: Gender = "m"


_DOLLAR: Final = _Money("dólar", "dólares", "centavo")
_US_DOLLAR: Final = _Money("dólar estadounidense", "dólares estadounidenses", "centavo")
_EURO: Final = _Money("euro", "euros", "céntimo")
_POUND: Final = _Money("libra", "libras", "penique", "f")
_PESO: Final = _Money("peso", "pesos", "centavo")
_MEXICAN: Final = _Money("peso mexicano", "pesos mexicanos", "centavo")
_COLON: Final = _Money("colón", "colones", "céntimo")
_MONEY: Final = {
    "$": _DOLLAR,
    "US$": _US_DOLLAR,
    "U$S": _US_DOLLAR,
    "USD": _US_DOLLAR,
    "USD$": _US_DOLLAR,
    "MX$": _MEXICAN,
    "MXN": _MEXICAN,
    "MXN$": _MEXICAN,
    "€": _EURO,
    "EUR": _EURO,
    "euros": _EURO,
    "euro": _EURO,
    "£": _POUND,
    "GBP": _POUND,
    "COP": _Money("peso colombiano", "pesos colombianos", "centavo"),
    "ARS": _Money("peso argentino", "pesos argentinos", "centavo"),
    "CLP": _Money("peso chileno", "pesos chilenos", "centavo"),
    "PEN": _Money("sol", "soles", "céntimo"),
    "S/": _Money("sol", "soles", "céntimo"),
    "RD$": _Money("peso dominicano", "pesos dominicanos", "centavo"),
    "CRC": _COLON,
    "₡": _COLON,
    "Bs": _Money("boliviano", "bolivianos", "centavo"),
    "UF": _Money("UF", "UF", "", "f"),
    "dólares": _DOLLAR,
    "pesos": _PESO,
    "peso": _PESO,
}
_SCALES: Final = {
    "k": ("mil", 1),
    "mil": ("mil", 1),
    "m": ("millones", 2),
    "mm": ("millones", 2),
    "mill": ("millones", 2),
    "millón": ("millones", 2),
    "millones": ("millones", 2),
}
_SCALE: Final = r"(?: ?(?:[Kk]|MM?|mill?(?:\.|ón|ones)?|mil)(?![A-Za-z0-9áéíóú])\.?)"
_SIGN: Final = (
    r"(?:US ?\$|U\$S|USD ?\$?|MXN? ?\$|MXN|EUR|GBP|COP|ARS|CLP|PEN|CRC|UF"
    r"|RD\$|Bs\.?|S/|[$€£₡])"
)
_NAME: Final = r"(?:(?:USD|MXN|EUR|GBP|COP|ARS|CLP|PEN|UF|euros?|dólares|pesos?)\b|€|£)"


class _Sum(NamedTuple):
    written: str
    scale: str

    def value(self, gender: Gender) -> str:
        if not self.scale:
            return number(self.written, gender)
        if self.scale == "mil":
            return "mil" if self.written == "1" else f"{number(self.written, 'm')} mil"
        if self.written == "1":
            return "un millón"
        return f"{number(self.written, 'm')} millones"

    def words(self, money: _Money) -> str:
        whole, _, decimals = split(self.written)
        if self.scale == "millones":
            return f"{self.value('m')} de {money.several}"
        if self.scale or (decimals and (len(decimals) != 2 or not money.cent)):
            return f"{self.value(money.gender)} {money.several}"
        value = int(whole) if len(whole) <= 18 else 0
        name = money.one if value == 1 else money.several
        joined = " de " if value and value % 10**6 == 0 else " "
        said = f"{number(whole, money.gender)}{joined}{name}"
        if not decimals or decimals == "00":
            return said
        cents = int(decimals)
        small = f"{cardinal(cents, 'm')} {money.cent}{'' if cents == 1 else 's'}"
        return f"{said} con {small}" if value else small


def _sum(written: str, scale: str | None) -> _Sum:
    name = _SCALES[scale.strip(" .").lower()][0] if scale else ""
    return _Sum(written, name)


def _said(
    name: str, first: str, first_scale: str | None, second: str | None, second_scale: str | None
) -> str:
    money = _MONEY[name.replace(" ", "").rstrip(".")]
    low = _sum(first, first_scale)
    if second is None:
        return low.words(money)
    high = _sum(second, second_scale or first_scale)
    if low.scale in ("", high.scale):
        return f"{number(first, money.gender)} a {high.words(money)}"
    return f"{low.value(money.gender)} a {high.words(money)}"


def _sign_then_price(match: re.Match[str]) -> str:
    sign, first, first_scale, second, second_scale, name = match.groups()
    return _said(name or sign, first, first_scale, second, second_scale)


def _price_then_sign(match: re.Match[str]) -> str:
    first, first_scale, second, second_scale, name = match.groups()
    return _said(name, first, first_scale, second, second_scale)


_PER: Final = {
    "mes": "al mes",
    "año": "al año",
    "día": "al día",
    "dia": "al día",
    "semana": "a la semana",
    "sem": "a la semana",
    "noche": "por noche",
    "hora": "por hora",
    "h": "por hora",
    "persona": "por persona",
    "pers": "por persona",
    "ha": "por hectárea",
    "plaza": "por plaza",
}


def _per(match: re.Match[str]) -> str:
    time, area = match.groups()
    said = _PER[time] if time else f"por {unit_names(area)[0]}"
    return f" {said}{stop(match)}"


def _millions(match: re.Match[str]) -> str:
    first, second, name = match.groups()
    high = _Sum(second or first, "millones").words(_MILLIONS[name.lower()])
    return f"{number(first, 'm')} a {high}" if second else high


_MILLIONS: Final = {"mdp": _PESO, "mdd": _DOLLAR}
"""As Mexico writes them: millones de pesos, millones de dólares."""

MONEY: Final = (
    Rule(
        re.compile(
            rf"(?<![0-9A-Za-z.,$])\$? ?({NUMBER})(?: ?[-–—] ?\$?({NUMBER}))? ?(MD[PD]|md[pd])\b"
        ),
        _millions,
        frozenset("Dd"),
    ),
    Rule(
        re.compile(
            rf"(?<![A-Za-z])({_SIGN}) ?({NUMBER})({_SCALE})?"
            rf"(?: ?[-–—] ?(?:{_SIGN})? ?({NUMBER})({_SCALE})?)?(?: ?(?:de )?({_NAME}))?"
        ),
        _sign_then_price,
        frozenset("$€£₡DRPSNFB"),
    ),
    at_figure(
        rf"(?<![0-9A-Za-z])({NUMBER})({_SCALE})?(?: ?€? ?[-–—] ?({NUMBER})({_SCALE})?)?"
        rf" ?(?:de )?({_SIGN}(?! ?[0-9])|{_NAME})(?![A-Za-z])",
        _price_then_sign,
    ),
    at_figure(
        rf"(?<![0-9A-Za-z])({NUMBER})([KM])(?![A-Za-z0-9])(?<!\b[48]K)",
        lambda match: _sum(match.group(1), match.group(2)).value(""),
    ),
    Rule(
        re.compile(
            r"(?:(?<=[0-9KMk€£$%²DNR])/ ?(mes|año|d[ií]a|semana|sem|noche|hora|h|persona|pers|ha"
            r"|plaza)|/ ?(m²|m2|ft²|ft2))\b(?:\.(?![0-9A-Za-z]))?"
        ),
        _per,
        frozenset("/"),
    ),
)
