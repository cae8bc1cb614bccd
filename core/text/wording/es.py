"""What Spanish says for what is written: the rules in their order, addresses and abbreviations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from core.text.wording.codes import code_rules
from core.text.wording.contact import ContactWords, contact_rules
from core.text.wording.es_calendar import CALENDAR
from core.text.wording.es_figures import FIGURES
from core.text.wording.es_money import MONEY
from core.text.wording.es_numbers import digits, identifier, number
from core.text.wording.nearby import before, stop, word_before
from core.text.wording.rewrite import DIGITS, Rule, at_figure

_CONTACT: Final = contact_rules(
    ContactWords(
        signs={
            "@": "arroba",
            ".": "punto",
            "-": "guion",
            "_": "guion bajo",
            "/": "barra",
            "+": "más",
            ":": "dos puntos",
            "?": "interrogación",
            "=": "igual",
            "&": "y",
            "#": "almohadilla",
            "%": "por ciento",
            "~": "virgulilla",
        },
        digits=digits,
        identifier=identifier,
        plus="más",
        extension="extensión",
    )
)
_CODES: Final = code_rules(
    digits,
    re.compile(
        r"\b(?:[Rr]ef(?:erencia)?|[Ee]xp(?:ediente)?|[Cc]ódigo|[Ff]olio|[Ff]actura|[Pp]edido|[Ll]icencia"
        r"|[Cc]ontrato|[Cc]aso|[Tt]rámite|[Ee]scritura|[Pp]óliza|DNI|NIE|CUIT|RUT)\.?"
        r"(?: (?:n\.?[º°]|núm\.|nro\.?|no\.|número|es))?:? ?#? ?$"
    ),
)
_DOTTED: Final = {
    "sr": "señor",
    "sra": "señora",
    "srta": "señorita",
    "sres": "señores",
    "dr": "doctor",
    "dra": "doctora",
    "dña": "doña",
    "ud": "usted",
    "uds": "ustedes",
    "vd": "usted",
    "vds": "ustedes",
    "aprox": "aproximadamente",
    "etc": "etcétera",
    "ej": "ejemplo",
    "hab": "habitación",
    "habs": "habitaciones",
    "dorm": "dormitorio",
    "dorms": "dormitorios",
    "pág": "página",
    "págs": "páginas",
    "tel": "teléfono",
    "tfno": "teléfono",
    "telf": "teléfono",
    "ref": "referencia",
    "incl": "incluido",
    "máx": "máximo",
    "mín": "mínimo",
    "avda": "avenida",
    "avd": "avenida",
    "av": "avenida",
    "pta": "puerta",
    "plta": "planta",
    "pza": "plaza",
    "plz": "plaza",
    "ctra": "carretera",
    "urb": "urbanización",
    "edif": "edificio",
    "esc": "escalera",
    "izq": "izquierda",
    "izda": "izquierda",
    "dcha": "derecha",
    "dpto": "departamento",
    "depto": "departamento",
    "apto": "apartamento",
    "prov": "provincia",
    "gral": "general",
    "hnos": "hermanos",
    "cía": "compañía",
    "vs": "contra",
    "ext": "extensión",
    "int": "interior",
    "sta": "santa",
    "sto": "santo",
    "col": "colonia",
    "fracc": "fraccionamiento",
    "calz": "calzada",
    "blvd": "bulevar",
    "ing": "ingeniero",
    "lic": "licenciado",
    "sup": "superficie",
    "cl": "calle",
    "cra": "carrera",
}
_BEFORE_CAPITAL: Final = frozenset(
    (
        *("av", "col", "sta", "sto", "fracc", "urb", "edif", "hnos", "gral", "prov", "dr", "dra"),
        *("sr", "calz", "blvd", "ing", "lic"),
    )
)
_BEFORE_FIGURE: Final = frozenset(("ext", "int", "esc", "ref", "cl", "cra"))
_BARE: Final = {
    "Sr": "señor",
    "Sra": "señora",
    "Srta": "señorita",
    "Dña": "doña",
    "Avda": "avenida",
    "aprox": "aproximadamente",
    "izq": "izquierda",
    "izda": "izquierda",
    "dcha": "derecha",
    "etc": "etcétera",
    "Ctra": "carretera",
    "Pza": "plaza",
}
_CAPITAL_FOLLOWS: Final = re.compile(
    r" ?(?:de (?:la |los |las )?|del )?[A-ZÁÉÍÓÚÑ]| [0-9]{1,2} de [A-Z]"
)
_FIGURE_FOLLOWS: Final = re.compile(r":? ?[A-ZÁÉÍÓÚÑ0-9#]")


def _cased(match: re.Match[str], words: str) -> str:
    """With a capital at the start of a sentence, where the abbreviation has one."""
    starts = not before(match).rstrip(' "“«¿¡(') or before(match).rstrip().endswith((".", "!", "?"))
    first = match.group().lstrip("(")[:1]
    return words[0].upper() + words[1:] if starts and first.isupper() else words


def _dotted(match: re.Match[str]) -> str | None:
    short = match.group(1).lower()
    following = match.string[match.end() : match.end() + 12]
    if short in _BEFORE_CAPITAL and not _CAPITAL_FOLLOWS.match(following):
        return None
    if short in _BEFORE_FIGURE and not _FIGURE_FOLLOWS.match(following):
        return None
    return _cased(match, _DOTTED[short]) + stop(match)


def _don(match: re.Match[str]) -> str | None:
    previous = word_before(match)
    if previous[:1].isupper() and previous[-1:].isalpha() and len(previous) > 1:
        return None
    return _cased(match, "don ")


def _reference(match: re.Match[str]) -> str:
    """`# 45` as "número cuarenta y cinco", `# 45-67` with the second house number behind it."""
    first, letter, second = match.groups()
    said = f"número {identifier(first) if len(first) > 3 else number(first)}"
    if letter:
        said += f" {letter}"
    return f"{said}, {number(second)}" if second else f"{said} "


def _identified(match: re.Match[str]) -> str | None:
    return identifier(match.group()) if _IDENTIFIED.search(before(match)) else None


_IDENTIFIED: Final = re.compile(
    r"\b(?:[Rr]eferencia|[Cc]ódigo|[Rr]ef|CP|postal|expediente|catastral|ID|PIN|pin|clave|folio|extensión"
    r"|cuenta|contrato)\.?(?:(?: [a-záéíóú]+){0,3} (?:es|número))?(?: el)?[:#]? $"
)

_PLACES: Final = (
    Rule(
        re.compile(r"# ?([0-9]++)(?:([A-Z])?-([0-9]{1,3})(?![0-9A-Za-z-]))?"),
        _reference,
        frozenset("#"),
    ),
    Rule(
        re.compile(r"(?:\b[Nn](?:\.?[º°]|úm\.|ums?\.|o\.)|№) ?#?(?=[0-9])"),
        lambda match: _cased(match, "número "),
        DIGITS,
    ),
    Rule(
        re.compile(r"\bC\.? ?P\.? ?:? ?([0-9]{5})(?![0-9])"),
        lambda match: f"código postal {digits(match.group(1))}",
        frozenset("P"),
    ),
    at_figure(r"(?<=[a-z:.] )[0-9]{4,}(?![0-9A-Za-z]|[.,:/-][0-9])", _identified),
    at_figure(r"(?<=, )[0-9]{5}(?= [A-ZÁÉÍÓÚÑ][a-záéíóúñ])", lambda match: digits(match.group())),
    Rule(
        re.compile(r"(?<![\w/])[Cc]/ ?(?=[A-ZÁÉÍÓÚÑ]|de |del )"),
        lambda match: _cased(match, "calle "),
        frozenset("/"),
    ),
    Rule(
        re.compile(r"\bP(?:\.?º|so\.) ?(?=[A-Zd])"), lambda m: _cased(m, "paseo "), frozenset("Pº")
    ),
    Rule(re.compile(r"\bPl\. (?=[A-ZÁÉÍÓÚÑd])"), lambda m: _cased(m, "plaza "), frozenset("P")),
    Rule(re.compile(r"(?<!\w)s/n\b", re.I), lambda _: "sin número", frozenset("/")),
)
_ABBREVIATIONS: Final = (
    Rule(
        re.compile(r"\b([Pp])\. ?[Ee]j\.(?![\w@])"),
        lambda match: _cased(match, "por ejemplo") + stop(match),
        frozenset("."),
    ),
    Rule(
        re.compile(r"\bEE\. ?UU\.(?!\w)"),
        lambda match: "Estados Unidos" + stop(match),
        frozenset("U"),
    ),
    Rule(
        re.compile(
            rf"(?<![\w.@/-])((?i:{'|'.join(sorted(_DOTTED, key=len, reverse=True))}))\.(?![\w@])"
        ),
        _dotted,
        frozenset("."),
    ),
    Rule(
        re.compile(rf"(?<![\w.@/-])({'|'.join(_BARE)})(?![\w@/-]|\.\w)"),
        lambda match: _cased(match, _BARE[match.group(1)]),
    ),
    Rule(re.compile(r"(?<![\w.])D\. (?=[A-ZÁÉÍÓÚÑ][a-záéíóúñ])"), _don, frozenset("D")),
    Rule(
        re.compile(r"(?<![\w.])D\.?ª (?=[A-ZÁÉÍÓÚÑ])"), lambda m: _cased(m, "doña "), frozenset("ª")
    ),
    Rule(re.compile(r"\bM\.?ª(?!\w)"), lambda _: "María", frozenset("ª")),
)

RULES: Final[Sequence[Rule]] = (
    *_CONTACT,
    *_PLACES,
    *CALENDAR,
    *_CODES,
    *MONEY,
    *_ABBREVIATIONS,
    *FIGURES,
)
