"""The telephone's codecs, u-law and A-law (G.711): 8 kHz, one byte per sample, no container."""

from __future__ import annotations

from functools import cache
from typing import Final, cast

import av
import numpy as np
import numpy.typing as npt

from core.audio.formats import OutputFormat

_ENCODERS: Final = {"ulaw": "pcm_mulaw", "alaw": "pcm_alaw"}
_RATE_HZ: Final = 8_000


class TelephoneCoder:
    """A `Coder` of bare u-law or A-law bytes."""

    inline_ms = 10_000
    """0.01 ms per second of audio."""

    def __init__(self, output: OutputFormat) -> None:
        self._table = _table(output.codec)

    def feed(self, pcm: bytes) -> bytes:
        """A byte per sample of `pcm`."""
        return bytes(self._table.take(np.frombuffer(pcm, "<u2")))

    def finish(self) -> bytes:
        """Nothing: no sample waits for another."""
        return b""

    def seal(self, body: bytes) -> bytes:
        """`body`: there are no headers."""
        return body


@cache
def _table(codec: str) -> npt.NDArray[np.uint8]:
    """What FFmpeg makes of every sample there can be, by its bits: an encoder takes ten times as
    long to be called as a table."""
    context = cast(av.AudioCodecContext, av.CodecContext.create(_ENCODERS[codec], "w"))
    context.sample_rate = _RATE_HZ
    context.layout = "mono"
    context.format = "s16"
    samples = np.arange(2**16).astype("<u2").view("<i2")
    frame = av.AudioFrame.from_ndarray(samples[None, :], "s16", "mono")
    frame.sample_rate = _RATE_HZ
    encoded = b"".join(bytes(packet) for packet in context.encode(frame))
    return np.frombuffer(encoded, np.uint8)
