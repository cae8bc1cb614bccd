"""How much of an utterance's text was heard when it was interrupted. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

import msgspec

from core.audio.quality import VENDOR_CHARS_PER_S, passing_s
from core.conversation.utterance import ClauseMark
from core.speech import WordTiming
from core.text.words import words_of

PAUSE_MS: Final = 1_000.0
"""A gap after the last word that has a timing is a pause and no speech, up to here, unless it is
known that a clause begins in it."""

_USUAL_MS: Final = 2_000.0
"""The usual pace counts as much as so much speech whose own pace is known."""

_OPENING: Final = frozenset({"Ps", "Pi", "Sc"})
_OPENING_MARKS: Final = frozenset("¿¡#№@&")


class Split(msgspec.Struct, frozen=True):
    """`spoken + remaining` is the text."""

    spoken: str
    remaining: str
    estimated: bool
    """True where the place follows from lengths, not from timings of the voice."""


def split_spoken(
    text: str,
    words: Sequence[WordTiming],
    offset_ms: float,
    clauses: Sequence[ClauseMark] = (),
) -> Split:
    """Part `text` at what a listener had heard `offset_ms` after its first sample.

    `words` are those of the audio that was sent, in order, with characters of `text`, and `clauses`
    where clauses begin. A word counts as heard when more than half of it was; marks and blanks
    after it go with it. Words made of one figure are one word here. What has no timing by then is
    taken to be said at the pace of what has one, or else at the usual one; of a clause whose end is
    known, in proportion.
    """
    spoken_to, estimated = 0, False
    known_to, known_ms = 0, 0.0
    written = _written(words)
    for start, end, start_ms, end_ms, guessed in written:
        known_to, known_ms = max(known_to, end), max(known_ms, end_ms)
        if offset_ms <= (start_ms + end_ms) / 2:
            # The place is between the word before and this one.
            return _split(text, min(spoken_to, max(start, 0)), estimated or guessed)
        spoken_to, estimated = max(spoken_to, with_marks(text, end)), guessed
    since, since_ms = spoken_to, known_ms + (PAUSE_MS if known_to else 0.0)
    for mark in clauses:
        if mark.start_char >= known_to and mark.offset_ms <= offset_ms:
            since, since_ms = max(spoken_to, mark.start_char), mark.offset_ms
    if offset_ms <= since_ms or not any(c.isalnum() for c in text[since:]):
        return _split(text, since, estimated)
    until, slowness = len(text), _slowness(text, written)
    for mark in clauses:
        if mark.start_char > since and mark.offset_ms > offset_ms:
            until = mark.start_char
            slowness = (mark.offset_ms - since_ms) / max(1.0, _usual_ms(text[since:until]))
            break
    return _split(text, _at_pace(text[:until], since, offset_ms - since_ms, slowness), True)


_Written = tuple[int, int, float, float, bool]


def _written(words: Sequence[WordTiming]) -> list[_Written]:
    """The words as they were written: those of the same characters are one."""
    found: list[_Written] = []
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


def _at_pace(text: str, since: int, for_ms: float, slowness: float) -> int:
    """Where one is that long after `since`."""
    at, said_ms, said_to = since, 0.0, since
    for word in words_of(text[since:]):
        start, end = since + word.start, since + word.end
        begins_ms = said_ms + slowness * _usual_ms(text[said_to:start])
        said_ms, said_to = begins_ms + slowness * _usual_ms(text[start:end]), end
        if for_ms <= (begins_ms + said_ms) / 2:
            break
        at = with_marks(text, end)
    return at


def _slowness(text: str, written: Sequence[_Written]) -> float:
    """How long what has timings took, as a multiple of its usual time."""
    if not written:
        return 1.0
    took_ms = max(0.0, written[-1][3] - written[0][2])
    usual_ms = _usual_ms(text[written[0][0] : written[-1][1]])
    return (took_ms + _USUAL_MS) / (usual_ms + _USUAL_MS)


def _usual_ms(text: str) -> float:
    return passing_s(text, VENDOR_CHARS_PER_S) * 1000


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
