"""The words of a text, as timings count them."""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import Final

import msgspec

_RUN: Final = re.compile(r"\S+")
_HAN: Final = re.compile("[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
HAN_LETTERS: Final = 3.8
"""A Han character takes as long to say as so many characters of English: 17 of these are said in a
second, and 4.5 Han ones."""

_OPENING: Final = frozenset({"Ps", "Pi"})


class Word(msgspec.Struct, frozen=True):
    """A word and where it stands in its text, in characters."""

    text: str
    start: int
    end: int


def words_of(text: str) -> list[Word]:
    """The words of a text, in order; every character but the blanks is in exactly one of them.

    A word is a run without a blank. In a run with Han characters each of these is a word of its
    own, with the punctuation that follows it and the brackets and quotation marks that open before
    it; letters and digits between them are one word.
    """
    words: list[Word] = []
    for run in _RUN.finditer(text):
        if _HAN.search(run.group()) is None:
            words.append(Word(run.group(), run.start(), run.end()))
        else:
            words += _in_han(text, run.start(), run.end())
    return words


def han_count(text: str) -> int:
    """How many Han characters a text has."""
    return 0 if text.isascii() else len(_HAN.findall(text))


def spoken_length(text: str) -> float:
    """How long a text is to a voice: its characters, each Han one as `HAN_LETTERS` of them."""
    return len(text) + (HAN_LETTERS - 1) * han_count(text)


def _in_han(text: str, start: int, end: int) -> list[Word]:
    """The words of a run with Han characters in it: each holds a letter, a digit or a symbol."""
    cuts: list[int] = []
    before = "opening"
    """What the word so far may take: `opening` waits for its word, a `run` takes more letters, a
    `closed` one only more punctuation."""
    for at in range(start, end):
        kind = _kind(text[at], text[at + 1 : at + 2])
        if kind == "mark":
            if before == "run" and _ends_run(text[at]):
                before = "closed"
            continue
        if before != "opening" and not (before == "run" and kind == "run"):
            cuts.append(at)
        before = "closed" if kind == "han" else kind
    if before == "opening" and cuts:
        cuts.pop()
    edges = [start, *cuts, end]
    return [Word(text[a:b], a, b) for a, b in itertools.pairwise(edges)]


def _kind(character: str, following: str) -> str:
    if _HAN.match(character):
        return "han"
    category = unicodedata.category(character)
    if category in _OPENING:
        return "opening"
    if category[0] in "PM":
        return "mark"
    # A currency sign belongs to its figure; an emoji or a lone sign is no word.
    alone = category[0] == "S" and not (following.isalnum() and not _HAN.match(following))
    return "mark" if alone else "run"


def _ends_run(mark: str) -> bool:
    """Whether letters after this mark are another word: so after Chinese punctuation, but not
    within `a-b`, `3.5` or `it's`."""
    return not mark.isascii() and unicodedata.category(mark) == "Po"
