"""Canonical audio at another sample rate, as a stream."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from core.audio.pcm import RATE_HZ

QUALITY: Final = "HQ"
"""soxr's effort. HQ costs 0.1-0.3 ms per second of audio and keeps what would fold back under
-100 dB; QQ has no filter before 8 kHz at all, so that an s becomes a whistle."""

_LOWEST: Final = np.float32(-32_768)
_HIGHEST: Final = np.float32(32_767)


class Resampler:
    """From 24 kHz to another rate. Sample 0 stays at 0: soxr makes up for the delay of its filter.

    It holds back 40 ms (80 ms before 8 kHz) until more comes. Computes in 32-bit floats, because
    soxr adds random noise to 16-bit results: the same audio would not give the same bytes twice.
    """

    def __init__(self, rate_hz: int) -> None:
        self._stream = soxr.ResampleStream(RATE_HZ, rate_hz, 1, dtype="float32", quality=QUALITY)
        self._begun = False

    def feed(self, pcm: bytes) -> bytes:
        """What 16-bit samples make available; may be empty."""
        if not pcm:
            return b""
        self._begun = True
        return self._resampled(np.frombuffer(pcm, "<i2"), last=False)

    def finish(self) -> bytes:
        """What was held back: the whole is then as long as the source, to half a sample."""
        return self._resampled(np.zeros(0), last=True) if self._begun else b""

    def _resampled(self, samples: npt.NDArray[np.generic], *, last: bool) -> bytes:
        resampled = self._stream.resample_chunk(samples.astype(np.float32), last=last)
        np.rint(resampled, out=resampled)
        np.maximum(resampled, _LOWEST, out=resampled)
        np.minimum(resampled, _HIGHEST, out=resampled)
        return bytes(resampled.astype("<i2"))
