"""Mandarin text as the phonemes that Kokoro was trained on, and which character each belongs to.

The phonemes are those of misaki 0.9's reader for Kokoro 1.0: words by jieba, pinyin by pypinyin,
each syllable as IPA with an arrow for its tone. misaki's own call gives one string without the way
back to the characters and reads Latin letters as phonemes, so only its syllable table is used.
English words inside the text are read by hibari, whose phonemes are of the same alphabet.
"""

from __future__ import annotations

import functools
import logging
import re
import unicodedata
import warnings
from collections.abc import Collection, Iterator
from typing import Any, Final, Literal

import hibari.g2p
import msgspec
from pypinyin import Style, lazy_pinyin

Ending = Literal["sentence", "clause", "word"]
"""What a reading ends with."""

MAX_SYMBOLS: Final = 300
"""Of one reading. The model takes 510; its time to plan a reading grows with the square."""
_CLAUSE_SYMBOLS: Final = 100
"""A reading longer than this ends at the next comma: about 26 Han characters."""
_MAX_LATIN_LETTERS: Final = 30
"""A longer word is read in parts: hibari's reader needs time in the square of a word's length."""
_MAX_MARKS: Final = 3
"""In a row; more are not read."""

_HAN: Final = "\u3007\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_TOKEN: Final = re.compile(
    rf"(?P<han>[{_HAN}]+)|(?P<latin>[A-Za-z]+(?:'[A-Za-z]+)*)|(?P<mark>[,.;:!?—…“”()])"
)
_DIGITS: Final = "零一二三四五六七八九"
_POINT: Final = "点"
_MARKS: Final = {
    **dict.fromkeys("、，", ","),
    **dict.fromkeys("。．｡", "."),
    **dict.fromkeys("—–―─～~", "—"),
    **dict.fromkeys("…⋯", "…"),
    **dict.fromkeys("“《〈「『【«", "“"),
    **dict.fromkeys("”》〉」』】»", "”"),
    "’": "'",
}
_OPENING: Final = "“("
_SENTENCE_ENDS: Final = ".!?…"
_CLAUSE_ENDS: Final = ",;:—"
_LETTER_NAMES: Final = (
    "a:ˈA b:bˈi c:sˈi d:dˈi e:ˈi f:ˈɛf g:ʤˈi h:ˈAʧ i:ˈI j:ʤˈA k:kˈA l:ˈɛl m:ˈɛm n:ˈɛn o:ˈO p:pˈi "
    "q:kjˈu r:ˈɑɹ s:ˈɛs t:tˈi u:jˈu v:vˈi w:dˈʌbᵊlju x:ˈɛks y:wˈI z:zˈi"
)
"""hibari would read a lone "A" as the article."""
_LETTERS: Final = dict(pair.split(":") for pair in _LETTER_NAMES.split())


class Span(msgspec.Struct, frozen=True):
    """Characters `start` to `end` of the text are read as symbols `first` to `last` (excluded)."""

    start: int
    end: int
    first: int
    last: int


class Reading(msgspec.Struct, frozen=True):
    """Phonemes to be planned in one go: a sentence, or a part of a long one."""

    symbols: str
    """All in the model's vocabulary, at least one sounds, at most `MAX_SYMBOLS`."""
    spans: tuple[Span, ...]
    """What sounds, in order; one for each Han character, one for each word of Latin letters."""
    words: tuple[int, ...]
    """Symbols at which a word begins, but for the first one."""
    ending: Ending


class _Atom(msgspec.Struct, frozen=True):
    """Sounds that belong to one stretch of the text."""

    start: int
    end: int
    symbols: str


class Mandarin:
    """The reader with its dictionaries loaded. No file is written and nothing is logged."""

    def __init__(self, vocabulary: Collection[str]) -> None:
        """Load the dictionaries; `vocabulary` holds the symbols that the model knows."""
        self._vocabulary = frozenset(vocabulary)
        self._jieba = _word_cutter()
        self._english = hibari.g2p.G2P()
        self.read("您好 WiFi")  # both readers load more with their first word

    def read(self, text: str) -> list[Reading]:
        """Readings of a text, in order; none where nothing can be spoken.

        Letters of other scripts, symbols and emoji stay silent.
        """
        writer = _Writer()
        plain, places = _plain(text)
        for token in _TOKEN.finditer(plain):
            where = places[token.start() : token.end()]
            match token.lastgroup:
                case "han":
                    for word in self._han(token.group(), where):
                        writer.word(word)
                case "latin":
                    for word in self._latin(token.group(), where):
                        writer.word(word)
                case "mark":
                    writer.mark(token.group())
        return writer.end()

    def _han(self, run: str, places: list[int]) -> Iterator[list[_Atom]]:
        at = 0
        for word in self._jieba.cut(run):
            syllables = _pinyin(word)
            yield [
                _Atom(place, place + 1, self._known(_syllable(syllable)))
                for place, syllable in zip(places[at : at + len(word)], syllables, strict=True)
            ]
            at += len(word)

    def _latin(self, word: str, places: list[int]) -> Iterator[list[_Atom]]:
        for at in range(0, len(word), _MAX_LATIN_LETTERS):
            part = word[at : at + _MAX_LATIN_LETTERS]
            end = at + len(part) - 1
            yield [_Atom(places[at], places[end] + 1, self._known(self._english_word(part)))]

    def _english_word(self, word: str) -> str:
        phonemes = ""
        if len(word) > 1:
            try:
                tokens = self._english.phonemize_tokens(self._english.tokenize(word))
                phonemes = "".join(token.phonemes or "" for token in tokens)
            except Exception:  # its reader breaks on some words in many ways; they are spelled
                phonemes = ""
        if not any(symbol in self._vocabulary for symbol in phonemes):
            phonemes = " ".join(_LETTERS.get(letter, "") for letter in word.lower())
        return phonemes.strip()

    def _known(self, symbols: str) -> str:
        return "".join(symbol for symbol in symbols if symbol in self._vocabulary)


class _Writer:
    """Puts words and marks together to readings."""

    def __init__(self) -> None:
        self._readings: list[Reading] = []
        self._begin()

    def _begin(self) -> None:
        self._symbols = ""
        self._spans: list[Span] = []
        self._words: list[int] = []
        self._marks = 0
        self._ending: Ending = "word"

    def word(self, atoms: list[_Atom]) -> None:
        """A word after what is there."""
        size = sum(len(atom.symbols) for atom in atoms)
        if not size:
            return
        if len(self._symbols) + 1 + size > MAX_SYMBOLS or self._is_complete():
            self._close()
        if self._symbols and self._symbols[-1] not in _OPENING + " ":
            self._symbols += " "
        if self._spans:
            self._words.append(len(self._symbols))
        for atom in atoms:
            first = len(self._symbols)
            self._symbols += atom.symbols
            self._spans.append(Span(atom.start, atom.end, first, len(self._symbols)))
        self._marks = 0
        self._ending = "word"

    def mark(self, mark: str) -> None:
        """A mark after what is there."""
        if mark in _OPENING:
            if self._is_complete():
                self._close()
            if self._symbols and self._symbols[-1] != " ":
                mark = " " + mark
        elif not self._spans or (mark not in "”)" and self._ending != "word"):
            return
        self._marks += 1
        if self._marks > _MAX_MARKS:
            return
        self._symbols += mark
        if mark in _SENTENCE_ENDS:
            self._ending = "sentence"
        elif mark in _CLAUSE_ENDS:
            self._ending = "clause"

    def end(self) -> list[Reading]:
        """All readings."""
        self._close()
        return self._readings

    def _is_complete(self) -> bool:
        long = len(self._symbols) > _CLAUSE_SYMBOLS
        return self._ending == "sentence" or (self._ending == "clause" and long)

    def _close(self) -> None:
        if self._spans:
            symbols = self._symbols.rstrip(" " + _OPENING)
            reading = Reading(symbols, tuple(self._spans), tuple(self._words), self._ending)
            self._readings.append(reading)
        self._begin()


def _plain(text: str) -> tuple[str, list[int]]:
    """The text in the characters that `_TOKEN` knows, and where each came from."""
    out: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for plain in _MARKS.get(character) or unicodedata.normalize("NFKD", character):
            if unicodedata.combining(plain):
                continue
            digit = unicodedata.decimal(plain, None)
            out.append(_MARKS.get(plain, plain) if digit is None else _DIGITS[digit])
            places.append(place)
    plain_text = "".join(out)
    # A point between figures is said; one within a name or an address ends no sentence.
    plain_text = re.sub(rf"(?<=[{_DIGITS}])\.(?=[{_DIGITS}])", _POINT, plain_text)
    return re.sub(r"(?<=\w)[.:](?=[A-Za-z])", " ", plain_text), places


def _pinyin(word: str) -> list[str]:
    """One syllable with the number of its tone for each character; empty for unknown ones."""
    syllables = _pinyin_of(word)
    if len(syllables) != len(word):  # an unknown character in it
        syllables = [(_pinyin_of(character) or [""])[0] for character in word]
    return syllables


def _pinyin_of(characters: str) -> list[str]:
    style = Style.TONE3
    return lazy_pinyin(characters, style=style, neutral_tone_with_five=True, errors="ignore")


@functools.lru_cache(maxsize=2048)  # there are about 1,500 syllables
def _syllable(pinyin: str) -> str:
    if not pinyin:
        return ""
    return str(_misaki().py2ipa(pinyin)).replace("\u032f", "")


@functools.cache
def _misaki() -> Any:
    """misaki's reader for Mandarin. Nothing else of the package: its `espeak` module is GPL."""
    _quiet_jieba()
    from misaki.zh import ZHG2P

    return ZHG2P


def _word_cutter() -> Any:
    """jieba with its dictionary, which it would read on first use and cache in the system's
    directory of temporary files under a name that anybody can know."""
    jieba = _quiet_jieba()
    cutter = jieba.Tokenizer()
    with cutter.get_dict_file() as dictionary:
        cutter.FREQ, cutter.total = cutter.gen_pfdict(dictionary)
    cutter.initialized = True
    return cutter


def _quiet_jieba() -> Any:
    """jieba without the warnings of its import and without its own handler on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
        import jieba.finalseg  # imported by jieba.cut's first unknown word otherwise
    logger = logging.getLogger("jieba")
    logger.setLevel(logging.WARNING)
    logger.handlers.clear()
    return jieba
