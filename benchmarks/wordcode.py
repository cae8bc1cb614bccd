"""A word-coded voice: every word of a text becomes a tone burst that says which word it is.

A burst is four tones at once, one of 16 frequencies in each of four bands between 450 and 3,350 Hz:
the word's index modulo 256 (high and low half byte) and an 8-bit hash of the word. So delivered
audio proves by itself which words were spoken, once each and in order. The code survives mp3 down
to 48 kbit/s, u-law at 8 kHz, level changes of 12 dB between and within utterances, and silence
around it. Bursts keep the pace of natural speech (15.8 characters per second, the pace recorded of
the provider) over a quiet room tone, so durations, bytes and checks of length, pauses and dropouts
behave as with speech.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.wordtext import (
    UNREADABLE,
    CodedWord,
    Verdict,
    matches,
    matches_segments,
    tokens,
    word_hash,
    words_of,
)
from core.speech import WordTiming

__all__ = [
    "UNREADABLE",
    "CodedWord",
    "Verdict",
    "decode",
    "encode",
    "matches",
    "matches_segments",
    "word_hash",
    "words_of",
]

BURST_MS: Final = 160
MIN_GAP_MS: Final = 60
CHARS_PER_S: Final = 15.8
"""Pace, as recorded of the provider: 600 characters are 37-39 s of speech."""

_EDGE_MS: Final = 10
_BANDS: Final = 4
_VALUES: Final = 16
_LOWEST_HZ: Final = 450.0
_STEP_HZ: Final = 46.0
_TONES_HZ: Final = _LOWEST_HZ + _STEP_HZ * np.arange(_BANDS * _VALUES)
_AMPLITUDE: Final = 0.13 * 32_767

_ROOM_PEAK: Final = 90
"""Peak of the noise between bursts: -56 dBFS RMS and never audible (`AUDIBLE_AMPLITUDE`)."""

_ENVELOPE_MS: Final = 20
"""Longer than the slowest beat between two tones (1 / 46 Hz), so a burst's envelope is flat."""
_HOP_MS: Final = 5
_NEIGHBOURHOOD_MS: Final = 250
_RELATIVE_POWER: Final = 0.15
_FLOOR_RMS: Final = 100.0
_ANALYSIS_MS: Final = 110
_BURST_TOLERANCE_MS: Final = 45
_CLARITY: Final = 3.0
_SHARE: Final = 0.7
_BALANCE: Final = 40.0


def _ms(samples_rate_hz: int, ms: float) -> int:
    return round(samples_rate_hz * ms / 1000)


@lru_cache(maxsize=16)
def _tone_rows(rate_hz: int) -> npt.NDArray[np.float32]:
    """One shaped burst per tone; a word's burst is the sum of four of them."""
    length = _ms(rate_hz, BURST_MS)
    edge = _ms(rate_hz, _EDGE_MS)
    shape = np.ones(length)
    shape[:edge] = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
    shape[-edge:] = shape[:edge][::-1]
    phase = np.arange(_BANDS * _VALUES) % 7  # spreads the crests of the four tones
    at = 2 * np.pi * _TONES_HZ[:, None] * np.arange(length)[None, :] / rate_hz
    rows: npt.NDArray[np.float32] = (_AMPLITUDE * shape * np.sin(at + phase[:, None])).astype("f4")
    return rows


def _tones_of(index: int, hashed: int) -> list[int]:
    halves = (index >> 4 & 15, index & 15, hashed >> 4, hashed & 15)
    return [band * _VALUES + half for band, half in enumerate(halves)]


@lru_cache(maxsize=8_192)
def _burst(index: int, hashed: int, rate_hz: int) -> npt.NDArray[np.int16]:
    burst: npt.NDArray[np.int16] = (
        _tone_rows(rate_hz)[_tones_of(index, hashed)].sum(axis=0).astype("<i2")
    )
    return burst


@lru_cache(maxsize=16)
def _room(rate_hz: int) -> npt.NDArray[np.int16]:
    rng = np.random.default_rng(0)
    return rng.integers(-_ROOM_PEAK, _ROOM_PEAK + 1, rate_hz, dtype=np.int16)


def encode(text: str, rate_hz: int = 24_000) -> tuple[bytes, tuple[WordTiming, ...]]:
    """Speak `text` in bursts: s16le mono samples, and when each word sounds.

    Raises:
        ValueError: the rate is under 8,000 Hz and cannot carry the tones.
    """
    if rate_hz < 8_000:
        raise ValueError("the word code needs at least 8,000 Hz")
    timings: list[WordTiming] = []
    starts_ms: list[int] = []
    hashes: list[int] = []
    at_ms = 0
    for token in tokens(text):
        starts_ms.append(at_ms)
        hashes.append(word_hash(token.text))
        timings.append(WordTiming(token.text, at_ms, at_ms + BURST_MS, token.start, token.end))
        natural_ms = round((token.end - token.start + 1) * 100 / CHARS_PER_S) * 10
        at_ms += max(BURST_MS + MIN_GAP_MS, natural_ms)
    samples = np.resize(_room(rate_hz), _ms(rate_hz, at_ms)).astype("<i2")
    for number, (start_ms, hashed) in enumerate(zip(starts_ms, hashes, strict=True)):
        burst = _burst(number % 256, hashed, rate_hz)
        first = _ms(rate_hz, start_ms)
        samples[first : first + burst.size] += burst
    return samples.tobytes(), tuple(timings)


def _regions(samples: npt.NDArray[np.float64], rate_hz: int) -> list[tuple[int, int]]:
    """Stretches of sound as sample ranges: power against the loudest within a quarter second."""
    window, hop = _ms(rate_hz, _ENVELOPE_MS), _ms(rate_hz, _HOP_MS)
    half = window // 2
    padded = np.concatenate([np.zeros(half), samples, np.zeros(window)])
    total = np.concatenate([[0.0], np.cumsum(padded * padded)])
    at = np.arange(0, samples.size, hop)
    power = (total[at + window] - total[at]) / window
    reach = _NEIGHBOURHOOD_MS // _HOP_MS
    around = np.pad(power, reach)
    loudest = np.lib.stride_tricks.sliding_window_view(around, 2 * reach + 1).max(axis=1)
    sounding = (power > _RELATIVE_POWER * loudest) & (power > _FLOOR_RMS**2)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sounding, [False]]).astype("i1")))
    return [(int(s) * hop, int(e) * hop) for s, e in zip(edges[::2], edges[1::2], strict=True)]


@lru_cache(maxsize=16)
def _bank(rate_hz: int) -> npt.NDArray[np.complex128]:
    length = _ms(rate_hz, _ANALYSIS_MS)
    at = np.arange(length)
    tones = np.exp(-2j * np.pi * at[:, None] * _TONES_HZ[None, :] / rate_hz)
    return np.asarray(np.hanning(length)[:, None] * tones, np.complex128)


def _read(burst: npt.NDArray[np.float64], rate_hz: int) -> tuple[int, int] | None:
    """Index and hash of a burst's middle part, or None when it is no clear burst."""
    power = np.abs(burst @ _bank(rate_hz)) ** 2
    bands = power.reshape(_BANDS, _VALUES)
    ranked = np.sort(bands, axis=1)
    best, second = ranked[:, -1], ranked[:, -2]
    clear = bool((best > _CLARITY * second).all()) and best.max() < _BALANCE * best.min()
    if not clear or best.sum() < _SHARE * power.sum():
        return None
    high, low, hash_high, hash_low = (int(v) for v in bands.argmax(axis=1))
    return high << 4 | low, hash_high << 4 | hash_low


def decode(pcm: bytes, rate_hz: int) -> list[CodedWord]:
    """The bursts in s16le mono samples, in order. Any other sound becomes an unreadable word."""
    samples = np.frombuffer(pcm[: len(pcm) & ~1], "<i2").astype(np.float64)
    if samples.size == 0:
        return []
    heard: list[CodedWord] = []
    length = _ms(rate_hz, _ANALYSIS_MS)
    for start, end in _regions(samples, rate_hz):
        lasts_ms = (end - start) * 1000 / rate_hz
        start_ms = round(start * 1000 / rate_hz)
        first = (start + end - length) // 2
        read: tuple[int, int] | None = None
        whole = abs(lasts_ms - BURST_MS) <= _BURST_TOLERANCE_MS
        if whole and first >= 0 and first + length <= samples.size:
            read = _read(samples[first : first + length], rate_hz)
        index, hashed = read if read is not None else (UNREADABLE, UNREADABLE)
        heard.append(CodedWord(index, hashed, start_ms))
    return heard
