"""Puts the segments of an utterance together: one clock, and the caller's own text."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.audio.pcm import SAMPLE_BYTES, duration_ms, samples_of
from core.speech import AudioChunk, SegmentPlan, WordTiming


class Joiner:
    """Counts samples, so that no rounding adds up from segment to segment.

    Chunks of one segment are added in order, then `end_segment()`, then the next segment's.
    """

    def __init__(self) -> None:
        self.samples = 0
        """Of the utterance so far."""
        self._segment_starts_at = 0
        self._index: int | None = None

    def add(self, segment: SegmentPlan, chunk: AudioChunk) -> AudioChunk:
        """The chunk with word times from the utterance's first sample and character offsets in the
        caller's text; the words themselves stay as they were spoken.

        Raises:
            ValueError: half a sample, or another segment before `end_segment()`.
        """
        if len(chunk.pcm) % SAMPLE_BYTES:
            raise ValueError("A chunk holds whole samples.")
        words = self.place(segment, samples_of(len(chunk.pcm)), chunk.words)
        return AudioChunk(pcm=chunk.pcm, words=words) if words else chunk

    def place(
        self, segment: SegmentPlan, samples: int, words: Sequence[WordTiming]
    ) -> tuple[WordTiming, ...]:
        """As `add`, of a chunk whose audio is elsewhere.

        Raises:
            ValueError: another segment before `end_segment()`.
        """
        if self._index is None:
            self._index = segment.index
        elif self._index != segment.index:
            raise ValueError("The segment before has not ended.")
        self.samples += samples
        by_ms = duration_ms(self._segment_starts_at)
        return tuple(_placed(word, segment, by_ms) for word in words)

    def end_segment(self) -> None:
        """The segment's audio is whole; the next one starts at the sample after it."""
        self._segment_starts_at = self.samples
        self._index = None


def _placed(word: WordTiming, segment: SegmentPlan, by_ms: int) -> WordTiming:
    start, end = source_span(segment.source_offsets, word.char_start, word.char_end)
    return msgspec.structs.replace(
        word,
        start_ms=word.start_ms + by_ms,
        end_ms=word.end_ms + by_ms,
        char_start=start,
        char_end=end,
    )


def source_span(offsets: Sequence[int], start: int, end: int) -> tuple[int, int]:
    """Where `[start, end)` of a spoken text stands in the caller's text.

    The span ends where the next character of another place begins: so a letter keeps its combining
    accents, and words that were made of one figure (`2` read as `two`) all get the whole figure.
    """
    last = len(offsets) - 1
    start = min(max(start, 0), last)
    end = min(max(end, start), last)
    if start == end:
        return offsets[start], offsets[start]
    final = offsets[end - 1]
    for at in range(end, last + 1):
        if offsets[at] > final:
            return offsets[start], offsets[at]
    return offsets[start], final + 1
