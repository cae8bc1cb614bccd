"""Takes the silence off the beginning of a stream, so that its first chunk is heard."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from core.audio.pcm import AUDIBLE_AMPLITUDE, RATE_HZ, SAMPLE_BYTES, samples_of
from core.speech import AudioChunk, WordTiming

PRE_ROLL_SAMPLES: Final = RATE_HZ // 100
"""Kept before the first audible sample: 10 ms, so that a soft consonant keeps its beginning."""


class LeadTrimmer:
    """Drops what comes before the first audible sample of one stream, less the pre-roll.

    It holds 10 ms of audio and the words of dropped chunks, whatever the length of the silence. The
    outcome is the same however the stream is cut into chunks. Word times count from the first
    sample that was kept, and none is negative.
    """

    def __init__(self) -> None:
        self.heard = False
        """Whether an audible sample has come; while it has not, nothing came out."""
        self.dropped_samples = 0
        """Of the stream's beginning; final once `heard`."""
        self._pre_roll = b""
        self._words: tuple[WordTiming, ...] = ()

    def feed(self, chunk: AudioChunk) -> AudioChunk | None:
        """The chunk as the trimmed stream has it; `None` while nothing was heard."""
        if self.heard:
            if not chunk.words or not self.dropped_samples:
                return chunk
            return AudioChunk(pcm=chunk.pcm, words=self._shifted(chunk.words))
        self._words += chunk.words
        pcm = self._pre_roll + chunk.pcm
        first = first_audible(pcm)
        keep_from = max(0, (samples_of(len(pcm)) if first is None else first) - PRE_ROLL_SAMPLES)
        self.dropped_samples += keep_from
        kept = pcm[keep_from * SAMPLE_BYTES :]
        if first is None:
            self._pre_roll = kept
            return None
        self.heard = True
        words, self._words, self._pre_roll = self._words, (), b""
        return AudioChunk(pcm=kept, words=self._shifted(words))

    def _shifted(self, words: tuple[WordTiming, ...]) -> tuple[WordTiming, ...]:
        by_ms = round(self.dropped_samples * 1000 / RATE_HZ)
        return tuple(
            msgspec.structs.replace(
                word,
                start_ms=max(0, word.start_ms - by_ms),
                end_ms=max(0, word.end_ms - by_ms),
            )
            for word in words
        )


def first_audible(pcm: bytes) -> int | None:
    """Index of the first sample over `AUDIBLE_DBFS`; `None` where there is none."""
    samples = np.frombuffer(pcm, dtype="<i2")
    loud = (samples > AUDIBLE_AMPLITUDE) | (samples < -AUDIBLE_AMPLITUDE)
    at = int(loud.argmax()) if loud.size else 0
    return at if loud.size and loud[at] else None
