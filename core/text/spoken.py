"""A caller's text as the segments that will be spoken: cleaned, cut, normalised.

Cutting comes before normalising, since the written text shows where a sentence ends ("St.", "3.50")
and equal sentences become equal segments whatever stands around them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import msgspec

from core.text.clean import Mapped, speakable
from core.text.detect import MODEL
from core.text.languages import LANGUAGES, Language
from core.text.normalise import normalise
from core.text.segment import limit_of, segment


class SpokenSegment(msgspec.Struct, frozen=True):
    """What is spoken in one go."""

    text: str
    source_offsets: Sequence[int]
    """For each character of `text` its place in the caller's text; one more at the end."""


def spoken_segments(
    cleaned: Mapped, language: Language, *, max_chars: int
) -> Iterator[SpokenSegment]:
    """The segments of a text that `core.text.clean` has cleaned; none where nothing is speakable.
    Each is worked out when it is asked for (some 0.2 ms).

    Each has at most `limit_of(language, max_chars)` characters as it is spoken.
    """
    for start, end in segment(cleaned.text, language, max_chars=max_chars):
        spoken = normalise(cleaned.text[start:end], language)
        for first, last in _fitting(spoken.text, language, max_chars):
            offsets = _through(cleaned, start, spoken, first, last)
            yield SpokenSegment(spoken.text[first:last], offsets)


def _fitting(text: str, language: Language, max_chars: int) -> list[tuple[int, int]]:
    if len(text) <= limit_of(language, max_chars):
        return [(0, len(text))] if speakable(text) else []
    return segment(text, language, max_chars=max_chars)


def _through(cleaned: Mapped, start: int, spoken: Mapped, first: int, last: int) -> Sequence[int]:
    """The places in the caller's text of `spoken.text[first:last]`, and where it ends."""
    if isinstance(cleaned.offsets, range) and isinstance(spoken.offsets, range):
        return cleaned.offsets[start + first : start + last + 1]
    places = (*spoken.offsets[first:last], _end(spoken, last))
    return array("I", [cleaned.offsets[start + at] for at in places])


def _end(spoken: Mapped, last: int) -> int:
    """Where the source of `spoken.text[:last]` ends. A blank that parts the words of a figure from
    what follows leads back to the figure's beginning: the next character tells where it ended."""
    made = spoken.text[last : last + 1] == " " and spoken.offsets[last] == spoken.offsets[last - 1]
    return spoken.offsets[last + made]


def warm() -> None:
    """Load what the first text of each language would otherwise wait for (about 0.1 s)."""
    MODEL.load()
    for language in LANGUAGES:
        normalise("1", language)
