"""Brings local speech to one common loudness, so that sentences and voices do not step.

Loudness is measured as ITU-R BS.1770 does: power through the K weighting in blocks of 400 ms, each
100 ms, without those 10 LU under the mean. Here the weighting is applied to the spectrum of frames
of 20 ms, which is 20 times cheaper than filtering and within 0.1 LU.
"""

from __future__ import annotations

import functools
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from core.audio.pcm import RATE_HZ
from core.audio.quality import is_noise

TARGET_LUFS: Final = -21.0
"""About -20 dBFS RMS where there is sound."""
MAX_GAIN_DB: Final = 12.0
STEP_DB: Final = 3.0
"""How far the gain may move from one passage of an utterance to the next, so that a soft ending
stays one. Whole sentences of one voice differ by up to 2.5 LU."""
PEAK_DBFS: Final = -1.0
"""No sample comes out louder: where one would, the gain falls around it."""
SILENCE_LUFS: Final = -50.0
"""What is softer is left alone."""

_FRAME: Final = RATE_HZ // 50
_FRAMES_A_HOP: Final = 5
_HOPS_A_BLOCK: Final = 4
_GATE_LU: Final = 10.0
_OFFSET_LUFS: Final = -0.691
_FULL_SCALE: Final = 32_768.0
_LIMIT_STEP: Final = RATE_HZ // 400
"""2.5 ms: the grain in which the limiter moves its gain."""

Samples = npt.NDArray[np.float32]


class Leveller:
    """Levels the passages of one utterance, in order.

    The first one sets the gain. A sentence in several passages has one gain: what is measured of
    its beginning says little of the whole (1.1 LU standard deviation, 0.6 without measuring).
    """

    def __init__(self, usual_lufs: float | None = None) -> None:
        """`usual_lufs` is what a sentence of the voice usually has; where it is not known, that of
        a sentence's first passage is taken for all of it."""
        self._usual_lufs = usual_lufs
        self._gain_db: float | None = None
        self._within = False

    def apply(self, pcm: bytes, *, goes_on: bool = False) -> bytes:
        """The passage (canonical audio) at the common loudness; as many samples. `goes_on` says
        that the next one is of the same sentence.

        Silence and noise come back as they are. 0.1 ms per second of audio.
        """
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        if not self._within:
            if goes_on and self._usual_lufs is not None:
                self._set(self._usual_lufs)
            else:
                loudness = loudness_lufs(samples)
                if loudness < SILENCE_LUFS or is_noise(pcm):
                    return pcm
                self._set(loudness)
        self._within = goes_on
        if not samples.size or self._gain_db is None:
            return pcm
        samples *= np.float32(10 ** (self._gain_db / 20))
        return np.rint(_limited(samples)).astype("<i2").tobytes()

    def _set(self, loudness: float) -> None:
        gain_db = max(-MAX_GAIN_DB, min(MAX_GAIN_DB, TARGET_LUFS - loudness))
        if self._gain_db is not None:
            gain_db = max(self._gain_db - STEP_DB, min(self._gain_db + STEP_DB, gain_db))
        self._gain_db = gain_db


def levelled(pcm: bytes) -> bytes:
    """One passage on its own."""
    return Leveller().apply(pcm)


def loudness_lufs(samples: Samples) -> float:
    """Integrated loudness of samples of canonical audio (-32,768 to 32,767); -inf for silence."""
    hop = _FRAME * _FRAMES_A_HOP
    hops = max(1, len(samples) // hop)
    used = samples[: hops * hop]
    if len(used) < hops * hop:
        used = np.concatenate([used, np.zeros(hops * hop - len(used), np.float32)])
    # Real and imaginary parts side by side, each squared and weighted.
    spectra = np.fft.rfft(used.reshape(-1, _FRAME), axis=1).view(np.float32)
    frames = np.square(spectra, out=spectra) @ _weights()
    powers = frames.reshape(hops, _FRAMES_A_HOP).sum(axis=1) / (hop * _FULL_SCALE**2)
    size = min(_HOPS_A_BLOCK, hops)
    blocks = np.convolve(powers, np.full(size, 1 / size), "valid")
    mean = float(blocks.mean())
    if mean <= 0:
        return -math.inf
    gated = blocks[blocks > mean * 10 ** (-_GATE_LU / 10)]
    return _OFFSET_LUFS + 10 * math.log10(float(gated.mean()))


@functools.cache
def _weights() -> Samples:
    """Power response of the K weighting for each bin of a frame's spectrum, twice, scaled so that
    the sum over bins is the sum over squared samples. The two filters are the recommendation's,
    given there for 48 kHz."""
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(_FRAME, 1 / RATE_HZ) / 48_000)
    response = np.ones_like(delay)
    for b, a in (
        (
            (1.53512485958697, -2.69169618940638, 1.19839281085285),
            (1.0, -1.69065929318241, 0.73248077421585),
        ),
        ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
    ):
        response *= np.polyval(b[::-1], delay) / np.polyval(a[::-1], delay)
    weights = 2 * np.abs(response) ** 2 / _FRAME
    weights[[0, -1]] /= 2
    return np.repeat(weights, 2).astype(np.float32)


def _limited(samples: Samples) -> Samples:
    """The samples with none over the peak: around one the gain falls and rises in lines."""
    ceiling = _FULL_SCALE * 10 ** (PEAK_DBFS / 20)
    if max(samples.max(), -samples.min()) <= ceiling:
        return samples
    steps = np.pad(samples, (0, -len(samples) % _LIMIT_STEP)).reshape(-1, _LIMIT_STEP)
    peaks = np.maximum(steps.max(axis=1), -steps.min(axis=1))
    gains = np.pad(ceiling / np.maximum(peaks, ceiling), 1, constant_values=1)
    # Between two steps the gain is the lower of theirs, so that no line is over what a step allows.
    bounds = np.minimum(gains[:-1], gains[1:])
    starts, ends = bounds[:-1], bounds[1:]
    rows = np.flatnonzero((starts < 1) | (ends < 1))
    ramp = np.linspace(0, 1, _LIMIT_STEP, endpoint=False, dtype=np.float32)
    steps[rows] *= starts[rows, np.newaxis] + (ends - starts)[rows, np.newaxis] * ramp
    return steps.reshape(-1)[: len(samples)]
