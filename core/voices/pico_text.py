"""What Pico gets to read: letters, digits and six marks, made from the words of any text.

Pico's command language, and characters that it has no name for, never reach it: what is not on the
list is spelled out, read as a pause, or left out.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

import msgspec

from core.text.words import Word

_MAX_WORD_CHARS: Final = 400
_MAX_WORD_MS: Final = 30_000
"""What comes after it in one word without a blank is not spoken: such a word is no language."""
_MAX_LETTERS: Final = 40
_MAX_DIGITS: Final = 12
"""Longer runs of letters are read in parts, longer numbers digit by digit."""

_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzáéíóúüñ")
_MARKS: Final = "?!.;:,"
"""The strongest first; of several together one is read."""
_PAUSES: Final = {"—": ",", "–": ",", "(": ",", ")": ",", "[": ",", "]": ",", "…": "."}
_SIGNS: Final = {
    "%": " por ciento ",
    "&": " y ",
    "+": " más ",
    "=": " igual a ",
    "@": " arroba ",
    "€": " euros ",
    "$": " dólares ",
    "£": " libras ",
    "°": " grados ",
    "²": " cuadrados ",
    "³": " cúbicos ",
    "'": "",
    "’": "",
}

_TOKEN: Final = re.compile(r"[^\W_]++(?:(?<=\d)[.,:](?=\d)[^\W_]++)*|[?!.;:,]")

_MS: Final = {
    letter: ms
    for letters, ms in (
        ("aáeéiíoóuúü", 72),
        ("sz", 105),
        ("fjx", 115),
        ("c", 95),
        ("mnñ", 80),
        ("ptgkwy", 75),
        ("bdvr", 62),
        ("l", 58),
        ("qh", 5),
        ("0123456789", 350),
    )
    for letter in letters
}
LAST_MS: Final = 130
"""How long the voice dwells on a letter, and how much longer on the last word before a pause:
least squares over 25 sentences whose true boundaries are known."""


class Piece(msgspec.Struct):
    """A word, or a part of one, as Pico reads it."""

    word: int
    """Which of the passage's words it is of."""
    text: str
    mark: str = ""
    """Read after it: a pause, and the melody before it."""


class Reading:
    """The words of one passage and what is read for them."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.pieces: list[Piece] = []
        self.expected_ms = 0
        """Without pauses."""

    @property
    def text(self) -> str:
        """For Pico."""
        return " ".join(piece.text + piece.mark for piece in self.pieces)

    def add(self, words: list[Word]) -> None:
        """Words to be read after what is there; a mark without a word goes to the piece before."""
        for word in words:
            for token in tokens_of(word.text):
                if token not in _MARKS:
                    self.pieces.append(Piece(len(self.words), token))
                    self.expected_ms += letters_ms(token)
                elif self.pieces:
                    last = self.pieces[-1]
                    last.mark = min(last.mark or token, token, key=_MARKS.index)
            self.words.append(word)


def tokens_of(word: str) -> Iterator[str]:
    """What is read for a word without blanks: runs of letters and digits, and single marks."""
    plain = "".join(map(_read, word[:_MAX_WORD_CHARS].replace(".º", "º").replace(".ª", "ª")))
    tokens = _TOKEN.findall(plain)
    at_ms = 0
    for index, read in enumerate(tokens):
        if read == "." and _within_word(tokens, index):
            continue
        if read in _MARKS:
            yield read
            continue
        for part in _parts(read):
            at_ms += letters_ms(part)
            if at_ms > _MAX_WORD_MS:
                return
            yield part


def _within_word(tokens: list[str], index: int) -> bool:
    """Whether it stands between letters, as in a site's name or in initials: no pause."""
    return 0 < index < len(tokens) - 1 and not {tokens[index - 1], tokens[index + 1]} & {*_MARKS}


def letters_ms(text: str) -> int:
    """How long letters and digits take at usual speed."""
    return sum(_MS.get(letter, 0) for letter in text.lower())


@functools.lru_cache(maxsize=4096)
def _read(char: str) -> str:
    """What is read for one character; a blank where it is nothing and parts words."""
    if char.lower() in _LETTERS or (char.isascii() and char.isdigit()) or char in _MARKS:
        return char
    if char in _SIGNS:
        return _SIGNS[char]
    if char in _PAUSES:
        return _PAUSES[char]
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    plain = "".join(
        c if c.lower() in _LETTERS or (c.isascii() and c.isdigit()) else " " * (c == "\u2044")
        for c in unicodedata.normalize("NFKD", char)
    )
    return plain or ("" if unicodedata.combining(char) else " ")


def _parts(token: str) -> Iterator[str]:
    if sum(map(str.isdigit, token)) > _MAX_DIGITS:
        yield from (char for char in token if char.isalnum())
        return
    for at in range(0, len(token), _MAX_LETTERS):
        yield token[at : at + _MAX_LETTERS]
