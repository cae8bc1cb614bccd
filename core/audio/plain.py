"""Samples as they are, bare or in a RIFF WAVE file."""

from __future__ import annotations

import struct
from typing import Final

from core.audio.formats import OutputFormat
from core.audio.pcm import SAMPLE_BYTES

WAV_HEADER_BYTES: Final = 44
_UNKNOWN_BYTES: Final = 0xFFFFFFFF
"""As both sizes of a stream whose end is not known; players read on until the end."""


class PcmCoder:
    """A `Coder` that leaves the samples as they are."""

    inline_ms = 60_000

    def feed(self, pcm: bytes) -> bytes:
        """`pcm`."""
        return pcm

    def finish(self) -> bytes:
        """Nothing."""
        return b""

    def seal(self, body: bytes) -> bytes:
        """`body`: there are no headers."""
        return body


class WavCoder:
    """A `Coder` of RIFF WAVE with 16-bit samples."""

    inline_ms = 60_000

    def __init__(self, output: OutputFormat) -> None:
        self._rate_hz = output.rate_hz
        self._begun = False

    def feed(self, pcm: bytes) -> bytes:
        """`pcm`, the first time after a header of unknown length."""
        if self._begun or not pcm:
            return pcm
        self._begun = True
        return self._header(None) + pcm

    def finish(self) -> bytes:
        """Nothing, or the header of an utterance without audio."""
        return b"" if self._begun else self._header(None)

    def seal(self, body: bytes) -> bytes:
        """`body` with both sizes."""
        header = self._header(len(body) - WAV_HEADER_BYTES)
        return b"".join((header, memoryview(body)[WAV_HEADER_BYTES:]))

    def _header(self, data_bytes: int | None) -> bytes:
        riff_bytes = _UNKNOWN_BYTES if data_bytes is None else data_bytes + WAV_HEADER_BYTES - 8
        return struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            b"RIFF",
            riff_bytes,
            b"WAVE",
            b"fmt ",
            16,  # bytes of this chunk
            1,  # plain PCM
            1,  # channel
            self._rate_hz,
            self._rate_hz * SAMPLE_BYTES,
            SAMPLE_BYTES,
            8 * SAMPLE_BYTES,
            b"data",
            _UNKNOWN_BYTES if data_bytes is None else data_bytes,
        )
