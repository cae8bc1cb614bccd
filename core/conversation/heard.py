"""How much of an utterance's text was heard when it was interrupted. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

import msgspec

from core.speech import WordTiming
from core.text.words import spoken_length, words_of

CHARS_PER_S: Final = 17.0
"""Usual pace where nothing is known: see `core.audio.quality`."""

PAUSE_MS: Final = 1_000.0
"""A gap after the last word that has a timing is a pause and no speech, up to here."""

_OPENING: Final = frozenset({"Ps", "Pi", "Sc"})
_OPENING_MARKS: Final = frozenset("¿¡#№@&")


class Split(msgspec.Struct, frozen=True):
    """`spoken + remaining` is the text."""

    spoken: str
    remaining: str
    estimated: bool
    """True where the place follows from lengths, not from timings of the voice."""


def split_spoken(text: str, words: Sequence[WordTiming], offset_ms: float) -> Split:
    """Part `text` at what a listener had heard `offset_ms` after its first sample.

    `words` are those of the audio that was sent, in order, with characters of `text`. A word counts
    as heard when more than half of it was; marks and blanks after it go with it. Words made of one
    figure are one word here. What has no timing by then is taken to be said at the usual pace.
    """
    spoken_to, estimated = 0, False
    known_to, known_ms = 0, 0.0
    for start, end, start_ms, end_ms, guessed in _written(words):
        known_to, known_ms = max(known_to, end), max(known_ms, end_ms)
        if offset_ms <= (start_ms + end_ms) / 2:
            # The place is between the word before and this one.
            return _split(text, min(spoken_to, max(start, 0)), estimated or guessed)
        spoken_to, estimated = max(spoken_to, with_marks(text, end)), guessed
    beyond_ms = offset_ms - known_ms - (PAUSE_MS if known_to else 0.0)
    if beyond_ms <= 0 or not any(c.isalnum() for c in text[spoken_to:]):
        return _split(text, spoken_to, estimated)
    return _split(text, _at_usual_pace(text, spoken_to, beyond_ms), True)


def _written(words: Sequence[WordTiming]) -> list[tuple[int, int, float, float, bool]]:
    """The words as they were written: those of the same characters are one."""
    found: list[tuple[int, int, float, float, bool]] = []
    for word in words:
        if found and word.char_start < found[-1][1]:
            start, end, start_ms, end_ms, guessed = found[-1]
            found[-1] = (
                start,
                max(end, word.char_end),
                start_ms,
                max(end_ms, word.end_ms),
                guessed or word.estimated,
            )
        else:
            found.append(
                (word.char_start, word.char_end, word.start_ms, word.end_ms, word.estimated)
            )
    return found


def _at_usual_pace(text: str, since: int, for_ms: float) -> int:
    at, said_ms = since, 0.0
    for word in words_of(text[since:]):
        lasts_ms = (spoken_length(word.text) + 1) * 1000 / CHARS_PER_S
        if for_ms <= said_ms + lasts_ms / 2:
            break
        said_ms += lasts_ms
        at = with_marks(text, since + word.end)
    return at


def with_marks(text: str, at: int) -> int:
    """After the marks and blanks that go with a word that ends at `at`: the blanks, and before
    these what does not open anything."""
    while at < len(text) and not (text[at].isalnum() or text[at].isspace() or _opens(text[at])):
        at += 1
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _opens(character: str) -> bool:
    return character in _OPENING_MARKS or unicodedata.category(character) in _OPENING


def _split(text: str, at: int, estimated: bool) -> Split:
    return Split(text[:at], text[at:], estimated)
