"""Opus in Ogg pages, each of 20 ms and written at once.

The encoder takes the canonical 24 kHz as they are: every Opus decoder gives 48 kHz, and resampling
before it would add 40 ms of delay and nothing to hear. The header tells how many samples of the
encoder's own delay a player must skip and the last page how many to keep, so the length is exact.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av
import numpy as np

from core.audio.formats import OutputFormat
from core.audio.pcm import RATE_HZ

_OGG_OPTIONS: Final = {
    "page_duration": "20000",
    # Without these two the stream's serial number is random, and equal audio differs in bytes.
    "serial_offset": "1",
    "fflags": "+bitexact",
}
_OPUS_OPTIONS: Final = {
    "frame_duration": "20",
    # "voip" filters the lowest tones away and costs up to three times as much.
    "application": "audio",
    # 5 of 10: as near to the source as 10 (22 dB at 64 kbit/s) for three quarters of the work.
    "compression_level": "5",
}


_TIME_BASE: Final = Fraction(1, RATE_HZ)


class OpusCoder:
    """A `Coder` of Ogg/Opus; takes 24 kHz."""

    inline_ms = 50
    """3 ms per second of audio, and 0.4 ms to begin."""

    def __init__(self, output: OutputFormat) -> None:
        if output.kbps is None:
            raise ValueError("An opus format has a bit rate.")
        self._kbps = output.kbps
        self._sink = _Sink()
        self._writer: _Writer | None = None
        self._headers = b""

    def feed(self, pcm: bytes) -> bytes:
        """Pages that are complete with `pcm`, the first after 40 ms; headers come with them."""
        if not pcm:
            return b""
        if self._writer is None:
            self._writer = _Writer(self._sink, self._kbps)
            self._headers = self._sink.take()
        self._writer.write(pcm)
        return self._headed(self._sink.take())

    def finish(self) -> bytes:
        """The last pages; nothing when nothing was fed."""
        if self._writer is None:
            return b""
        self._writer.close()
        return self._headed(self._sink.take())

    def seal(self, body: bytes) -> bytes:
        """`body`: its last page says how long it is."""
        return body

    def _headed(self, pages: bytes) -> bytes:
        if not pages:
            return b""
        headers, self._headers = self._headers, b""
        return headers + pages


class _Writer:
    """FFmpeg's encoder and container. Abandoned, its 250 KB are free at once."""

    def __init__(self, sink: _Sink, kbps: int) -> None:
        self._container = av.open(sink, "w", format="ogg", options=_OGG_OPTIONS)
        self._stream = self._container.add_stream("libopus", rate=RATE_HZ, options=_OPUS_OPTIONS)
        self._stream.bit_rate = kbps * 1000
        self._stream.layout = "mono"
        self._stream.format = "s16"
        self._samples = 0
        self._container.start_encoding()

    def write(self, pcm: bytes) -> None:
        frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2")[None, :], "s16", "mono")
        frame.sample_rate = RATE_HZ
        # The encoder's delay lies before time 0; without times it would be counted as audio.
        frame.pts = self._samples
        frame.time_base = _TIME_BASE
        self._samples += frame.samples
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def __del__(self) -> None:
        # A container and its stream hold each other: without this they wait for the collector.
        self._container.close()


class _Sink:
    """What the container writes to; cannot seek, like a socket."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Everything written since it was last asked."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
