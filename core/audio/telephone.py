"""The telephone's codecs, u-law and A-law (G.711): 8 kHz, one byte per sample, no container."""

from __future__ import annotations

from typing import Final, cast

import av
import numpy as np

from core.audio.formats import OutputFormat

_ENCODERS: Final = {"ulaw": "pcm_mulaw", "alaw": "pcm_alaw"}


class TelephoneCoder:
    """A `Coder` of bare u-law or A-law bytes."""

    inline_ms = 10_000
    """0.02 ms per second of audio."""

    def __init__(self, output: OutputFormat) -> None:
        context = cast(av.AudioCodecContext, av.CodecContext.create(_ENCODERS[output.codec], "w"))
        context.sample_rate = output.rate_hz
        context.layout = "mono"
        context.format = "s16"
        self._context = context
        self._rate_hz = output.rate_hz

    def feed(self, pcm: bytes) -> bytes:
        """A byte per sample of `pcm`."""
        if not pcm:
            return b""
        frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2")[None, :], "s16", "mono")
        frame.sample_rate = self._rate_hz
        return b"".join(bytes(packet) for packet in self._context.encode(frame))

    def finish(self) -> bytes:
        """Nothing: no sample waits for another."""
        return b""

    def seal(self, body: bytes) -> bytes:
        """`body`: there are no headers."""
        return body
