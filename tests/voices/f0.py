"""How high a voice is: fundamental frequency by autocorrelation."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from core.audio.pcm import RATE_HZ

_WINDOW: Final = RATE_HZ * 40 // 1000
_HOP: Final = RATE_HZ // 100
_LOWEST_HZ, _HIGHEST_HZ = 70, 400
_VOICED: Final = 0.6
"""Of the energy, what the best period explains: less is a consonant or silence."""


def median_f0_hz(pcm: bytes) -> float:
    """The median over the voiced frames of canonical audio."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    starts = range(0, len(samples) - _WINDOW, _HOP)
    frames = np.stack([samples[at : at + _WINDOW] for at in starts])
    frames = frames[np.sqrt((frames**2).mean(axis=1)) > 300]
    frames -= frames.mean(axis=1, keepdims=True)
    spectra = np.abs(np.fft.rfft(frames, 2 * _WINDOW, axis=1)) ** 2
    correlation = np.fft.irfft(spectra, axis=1)[:, :_WINDOW]
    correlation /= np.arange(_WINDOW, 0, -1)  # as many products as there are for each lag
    correlation /= correlation[:, :1]
    first, last = RATE_HZ // _HIGHEST_HZ, RATE_HZ // _LOWEST_HZ
    lags = correlation[:, first:last]
    peaks = lags.max(axis=1, keepdims=True)
    # The first period nearly as good as the best: twice the period always fits as well.
    good = (lags >= 0.9 * peaks).argmax(axis=1)
    best = [at + int(row[at : at + 20].argmax()) for row, at in zip(lags, good, strict=True)]
    periods = np.array(best)[peaks[:, 0] > _VOICED] + first
    return float(np.median(RATE_HZ / periods))


def cents(hz: float, reference_hz: float) -> float:
    """The interval between two frequencies."""
    return 1200 * math.log2(hz / reference_hz)
