"""Spanish: the gender of the noun that a number counts, as far as the number's form needs it."""

from __future__ import annotations

import re
from typing import Final

from core.text.wording.es_numbers import Gender
from core.text.wording.nearby import behind, word_before

_NEXT: Final = re.compile(r" ([a-záéíóúüñ]+)\b")
_NOT_NOUNS: Final = frozenset(
    (
        *(
            "de",
            "del",
            "y",
            "e",
            "o",
            "u",
            "a",
            "al",
            "en",
            "con",
            "por",
            "para",
            "sin",
            "es",
            "son",
        ),
        *(
            "que",
            "se",
            "no",
            "ni",
            "si",
            "más",
            "menos",
            "como",
            "hasta",
            "desde",
            "entre",
            "sobre",
        ),
        *("está", "están", "fue", "era", "ha", "han", "hay", "le", "les", "lo", "la", "el", "los"),
        *("las", "un", "una", "pero", "cuando", "donde", "aproximadamente", "antes", "después"),
        *("izquierda", "derecha", "tras", "según", "porque", "ya", "también", "tiene", "tienen"),
    )
)
_MASCULINE: Final = re.compile(
    r"(?:días?|mapas?|climas?|\w*(?:em|ram|om|ogram)as?|planetas?|sofás?|metros?|m)$"
)
_FEMININE: Final = re.compile(
    r"(?:\w*(?:a|as|ción|ciones|sión|siones|dad|dades|tud|tudes|umbre|umbres)|noches?|calles?|partes?"
    r"|ve(?:z|ces)|clases?|llaves?|torres?|sedes?|mujer(?:es)?|suites?|manos?|imagen|imágenes)$"
)
_EITHER: Final = re.compile(r"\w*(?:ntes?|les?|res?|grandes?|bles?)$")
_NAMED_BY_NUMBER: Final = frozenset(
    ("el", "del", "al", "número", "piso", "puerta", "día", "planta", "portal", "calle", "año")
)
_ARTICLES: Final[dict[str, Gender]] = {"la": "f", "las": "f"}


def counted(match: re.Match[str], *, one: bool) -> Gender:
    """The gender of the noun behind the match; `one` where the number is 1."""
    previous = word_before(match).lower().lstrip("¿¡(")
    following = behind(match)
    found = _NEXT.match(following)
    article = _ARTICLES.get(previous, "")
    if found is None or found.group(1) in _NOT_NOUNS or previous in _NAMED_BY_NUMBER:
        return article
    word = found.group(1)
    if word in ("mil", "millones", "millón"):
        return "m"
    if not one and (not word.endswith("s") or word.endswith("mos")):
        return article
    if _EITHER.match(word) and not _FEMININE.match(word):
        further = _NEXT.match(following[found.end() :])
        word = further.group(1) if further and further.group(1) not in _NOT_NOUNS else word
    return gender_of(word)


def gender_of(noun: str) -> Gender:
    """Of a noun, by its ending."""
    return "f" if _FEMININE.match(noun) and not _MASCULINE.match(noun) else "m"
