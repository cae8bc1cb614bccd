"""Spanish: SVOX Pico with its Castilian voice; word timings are estimated.

Pico tells no times. Its pauses are silent and come at marks alone, so they part the audio exactly;
between two of them the words share the time by what their letters usually take.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from core.audio.pcm import RATE_HZ, duration_ms
from core.speech import WordTiming
from core.text.clean import clean
from core.text.segment import segment
from core.text.words import Word, words_of
from core.voices.pico_native import PICO_RATE_HZ, PicoEngine
from core.voices.pico_text import LAST_MS, Piece, Reading, letters_ms
from core.voices.registry import EngineOptions, Passage

_FILES: Final = ("es-ES_ta.bin", "es-ES_zl0_sg.bin")
_VOLUME_PERCENT: Final = 40
"""At 100 half a percent of all samples is clipped; at 50 none was, with 1 dB to spare."""
_SPEED_PERCENT: Final = (20, 500)
"""What Pico can do; the length follows the number within 4 %."""

_MAX_PASSAGE_CHARS: Final = 160
_MAX_PASSAGE_MS: Final = 15_000
"""A longer sentence is cut, so that no step of the work is long (180 times faster than speech)."""

_FRAME_MS: Final = 5
_FRAME: Final = PICO_RATE_HZ * _FRAME_MS // 1000
_LOUD_RMS: Final = 80
_PAUSE_MS: Final = 160
"""Frames over `_LOUD_RMS` are speech: Pico's silence is not quite silent. At usual speed a comma
gives 265 ms of silence and a consonant at most 130. In 174 of 175 sentences, at speeds of 0.6 to
1.6, this found the pauses of the text and no other."""
_CLAUSE_TAIL_MS: Final = 260
"""Pico ends every text with the silence of a sentence, 440-540 ms; a clause gets a comma's."""

_SENTENCE_ENDS: Final = frozenset("?!.")

Samples = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


class Pico:
    """A loaded voice. Computes in the calling thread and releases the GIL."""

    voices = frozenset({"es"})

    def __init__(self, options: EngineOptions) -> None:
        """Load the voice from the package."""
        del options  # all is in the package
        self._engine = PicoEngine(*_FILES)

    def speak(self, voice: str, text: str, *, speed: float, seed: int | None) -> Iterator[Passage]:
        """See `VoiceEngine.speak`; nothing is left to chance, so the seed does not matter.

        Raises:
            PicoError: Pico failed. The next text is not affected.
        """
        del seed
        if voice not in self.voices:
            raise KeyError(voice)
        percent = min(max(round(speed * 100), _SPEED_PERCENT[0]), _SPEED_PERCENT[1])
        for reading in _readings(text):
            yield self._synthesise(reading, percent)

    def _synthesise(self, reading: Reading, percent: int) -> Passage:
        pcm = self._engine.synthesise(
            reading.text, speed_percent=percent, volume_percent=_VOLUME_PERCENT
        )
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        loud = _loud_frames(samples)
        if len(loud) and reading.pieces[-1].mark not in _SENTENCE_ENDS:
            samples = samples[: (loud[-1] + 1) * _FRAME + _CLAUSE_TAIL_MS * PICO_RATE_HZ // 1000]
        runs = _runs(reading.pieces, loud, _PAUSE_MS * 100 / percent)
        # Floats: to integers soxr would add noise of its own.
        audio = soxr.resample(samples, PICO_RATE_HZ, RATE_HZ, "HQ")
        canonical = np.clip(np.rint(audio), -32_768, 32_767).astype("<i2").tobytes()
        words = _timings(reading, runs, duration_ms(len(audio)))
        return Passage(canonical, words)


Run = tuple[list[Piece], int, int]
"""Pieces between two pauses, and when their sound starts and ends, in milliseconds."""


def _loud_frames(samples: Samples) -> Indices:
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return np.flatnonzero(np.einsum("ij,ij->i", frames, frames) > _FRAME * _LOUD_RMS**2)


def _runs(pieces: list[Piece], loud: Indices, pause_ms: float) -> list[Run]:
    if not len(loud):
        return [(pieces, 0, 0)]
    stops = [index for index, piece in enumerate(pieces[:-1], 1) if piece.mark]
    gaps = np.flatnonzero((np.diff(loud) - 1) * _FRAME_MS > pause_ms)
    if len(gaps) != len(stops):  # Pico read something in its own way
        gaps, stops = gaps[:0], []
    starts = [loud[0], *loud[gaps + 1]]
    ends = [*loud[gaps], loud[-1]]
    bounds = itertools.pairwise([0, *stops, len(pieces)])
    return [
        (pieces[first:last], int(start) * _FRAME_MS, int(end + 1) * _FRAME_MS)
        for (first, last), start, end in zip(bounds, starts, ends, strict=True)
    ]


def _timings(reading: Reading, runs: list[Run], length_ms: int) -> tuple[WordTiming, ...]:
    spans: dict[int, tuple[int, int]] = {}
    for pieces, start_ms, end_ms in runs:
        weights = [letters_ms(piece.text) + LAST_MS * bool(piece.mark) for piece in pieces]
        weights[-1] += LAST_MS * (not pieces[-1].mark)
        at_ms, done = start_ms, 0
        for piece, weight in zip(pieces, weights, strict=True):
            done += weight
            until_ms = start_ms + round((end_ms - start_ms) * done / sum(weights))
            first_ms, _ = spans.get(piece.word, (min(at_ms, length_ms), 0))
            spans[piece.word] = first_ms, min(until_ms, length_ms)
            at_ms = until_ms
    out: list[WordTiming] = []
    now_ms = 0
    for index, word in enumerate(reading.words):
        first_ms, now_ms = spans.get(index, (now_ms, now_ms))
        out.append(WordTiming(word.text, first_ms, now_ms, word.start, word.end, True))
    return tuple(out)


def _readings(text: str) -> Iterator[Reading]:
    """Only readings that sound; the words of the others go to the one before, or to the first."""
    held = Reading()
    for words in _passages(text):
        reading = Reading()
        reading.add(words)
        if held.pieces and reading.pieces:
            yield held
            held = reading
        else:
            held.add(words)
    if held.pieces:
        yield held


def _passages(text: str) -> Iterator[list[Word]]:
    """The words by sentence or clause; where that is still long, in parts."""
    mapped = clean(text)
    spans = segment(mapped.text, "es", max_chars=_MAX_PASSAGE_CHARS)
    starts = [mapped.offsets[start] for start, _ in spans]
    passage: list[Word] = []
    span, length_ms = 0, 0
    for word in words_of(text):
        before = span
        while span + 1 < len(starts) and starts[span + 1] <= word.start:
            span += 1
        more = Reading()
        more.add([word])
        if passage and (span > before or length_ms + more.expected_ms > _MAX_PASSAGE_MS):
            yield passage
            passage, length_ms = [], 0
        passage.append(word)
        length_ms += more.expected_ms
    if passage:
        yield passage
