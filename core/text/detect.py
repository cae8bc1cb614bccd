"""Which language a text is written in.

Han characters tell Mandarin from the others. English and Spanish are told apart by fastText's small
language model, asked about these two alone, together with the letters and words that only one of
them has: the model alone is unsure of what people say in one to five words.
"""

from __future__ import annotations

import itertools
import math
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from core.text.detect_words import ENGLISH, HAN_GRAMMAR, SPANISH
from core.text.languages import Language

log = structlog.get_logger(__name__)

_LABELS: Final = ("__label__es", "__label__en")
_ALL_LABELS: Final = 176
_LEAST: Final = 1e-5
"""The model leaves out what is less likely than this."""

_MOST_CHARS: Final = 300
"""What comes later is not looked at: time is bounded, and a reply does not change its language."""

_MARGIN: Final = 1.0
"""In nats, the log of the ratio of the two probabilities: below it the text says nothing clear and
the first candidate wins. Chosen on tests/text/detection/tuning.json."""

_NAMES_MARGIN: Final = 8.0
"""The same for text that seems to be names alone: the model takes Marina del Rey for Spanish."""

_NATS_UNKNOWN: Final = -1.4
"""What the model says for words it has never seen: it has read more English than Spanish."""

_NATS_PER_WORD: Final = 3.0
_MOST_WORDS: Final = 3
_NATS_PER_ACCENT: Final = 2.0
_NATS_PER_MARK: Final = 6.0

_OF_NAMES: Final = frozenset({"Los", "Las", "El", "La", "Del", "del"})
"""What begins or joins the name of a place, where a capital follows."""
_PLACE: Final = re.compile(r"\b(?:L[oa]s|El|La|[Dd]el) [A-Z][a-z]+")
_TITLES: Final = frozenset({"Sr", "Sra", "Srta", "Dr", "Dra"})
_HAN: Final = re.compile("[\u3400-\u9fff〇\U00020000-\U0003134f]")
_LATIN_WORD: Final = re.compile("[A-Za-z\u00c0-\u024f]+(?:['’][A-Za-z]+)?")
_CHARS_PER_HAN_WORD: Final = 1.5


class LanguageModel:
    """fastText's model, loaded on first use. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._loaded: Any = None
        self._broken = False

    def load(self) -> bool:
        """Load it now; whether it can be used. Tried once: a broken file stays broken."""
        if self._loaded is None and not self._broken:
            with self._lock:
                if self._loaded is None and not self._broken:
                    self._load()
        return self._loaded is not None

    def _load(self) -> None:
        try:
            import fasttext

            self._loaded = fasttext.load_model(str(self._path))
        except Exception as error:
            self._broken = True
            log.warning("language model unusable", error=type(error).__name__)

    def spanish_nats(self, text: str) -> float:
        """How much more likely Spanish is than English, 0 being no opinion or no model."""
        if not self.load():
            return 0.0
        try:
            labels, chances = self._loaded.predict(text.replace("\n", " "), k=_ALL_LABELS)
        except Exception as error:
            log.warning("language model failed", error=type(error).__name__)
            return 0.0
        chance = dict(zip(labels, chances, strict=True))
        spanish, english = (chance.get(label, _LEAST) for label in _LABELS)
        return math.log(spanish / english) - _NATS_UNKNOWN


MODEL: Final = LanguageModel(Path(__file__).parent / "models" / "lid.176.ftz")
"""The process's own. The first `detect` that needs it waits some 30 ms for it, and the event loop
with it, unless `MODEL.load()` was called before."""


def detect(text: str, candidates: Sequence[Language], *, model: LanguageModel = MODEL) -> Language:
    """The language of `text` among `candidates`, which are in order of preference and at least one.

    The first candidate is the prior: it wins where the text does not clearly say another one, as
    with numbers and names. No text makes it raise, and no fault of the model: words decide then.
    """
    if len(candidates) == 1:
        return candidates[0]
    head = text[:_MOST_CHARS]
    words = _LATIN_WORD.findall(head)
    han = "".join(_HAN.findall(head))
    if "zh" in candidates and han and _is_mandarin(han, words):
        return "zh"
    names = _only_names(words)
    if not words or (names and candidates[0] == "zh"):
        return candidates[0]
    rest = [language for language in candidates if language != "zh"]
    if len(rest) == 1:
        return rest[0]
    spanish = _spanish_nats(head, words, model)
    if abs(spanish) < (_NAMES_MARGIN if names else _MARGIN):
        return rest[0]
    return "es" if spanish > 0 else "en"


def _is_mandarin(han: str, words: Sequence[str]) -> bool:
    """A Mandarin sentence may hold English names and an English one a Chinese name: where only one
    side has words of grammar it is the sentence, else the longer side is."""
    grammar_han = not HAN_GRAMMAR.isdisjoint(han)
    grammar = sum(
        word.lower() in ENGLISH.grammar or word.lower() in SPANISH.grammar for word in words
    )
    if grammar and not grammar_han:
        return False
    if grammar_han and not grammar:
        return True
    ordinary = sum(word[0].islower() for word in words)
    names = len(words) - ordinary
    return len(han) / _CHARS_PER_HAN_WORD > ordinary + names / 4 + grammar


def _telling(words: Sequence[str]) -> set[str]:
    """In lower case, without the articles of place names: `Los Angeles`, `Marina del Rey`. They
    are no grammar of Spanish, since English writes these names alike."""
    return {
        word.lower()
        for word, after in itertools.pairwise([*words, ""])
        if not (_of_name(word) and after[:1].isupper() and after not in _TITLES)
    }


def _of_name(word: str) -> bool:
    return word in _OF_NAMES or (word.isupper() and word.title() in _OF_NAMES)


def _only_names(words: Sequence[str]) -> bool:
    """Abbreviations and names, which sound the same in every language: OK, WiFi, Maria Garcia."""
    lower = _telling(words)
    if not lower.isdisjoint(ENGLISH.words) or not lower.isdisjoint(SPANISH.words):
        return False
    return all(
        any(c.isupper() for c in word[1:])
        or word in _OF_NAMES
        or (word[0].isupper() and (len(words) > 1 or len(word) == 1))
        for word in words
    )


def _spanish_nats(text: str, words: Sequence[str], model: LanguageModel) -> float:
    """How much more likely Spanish is than English: the log of the ratio."""
    lower = _telling(words)
    only_spanish = min(len(lower & SPANISH.words), _MOST_WORDS)
    only_english = min(len(lower & ENGLISH.words), _MOST_WORDS)
    nats = _NATS_PER_WORD * (only_spanish - only_english)
    if "¿" in text or "¡" in text:
        nats += _NATS_PER_MARK
    if any(c in "áéíóúñü" for c in text.lower()):
        nats += _NATS_PER_ACCENT
    written = text.lower() if text.isupper() else text
    return nats + model.spanish_nats(_PLACE.sub("", written))
