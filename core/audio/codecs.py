"""Canonical audio to the caller's format, piece by piece."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, Protocol

from core.audio.flac import compress, decompress
from core.audio.formats import OutputFormat
from core.audio.mp3 import Mp3Encoder
from core.audio.pcm import BYTES_PER_S, SAMPLE_BYTES
from core.audio.pool import CodecPool

__all__ = ["CodecPool", "Encoder", "compress", "decompress", "open_encoder", "pieces"]

FIRST_PIECE_BYTES: Final = BYTES_PER_S // 10
PIECE_BYTES: Final = BYTES_PER_S * 2


class Encoder(Protocol):
    """Encodes one utterance. One caller at a time; nothing to close."""

    async def feed(self, pcm: bytes) -> bytes:
        """What `pcm` (whole samples of canonical audio) completes; may be empty."""
        ...

    async def finish(self) -> bytes:
        """What was held back; nothing may be fed afterwards."""
        ...

    def seal(self, body: bytes) -> bytes:
        """`body`, everything `feed` and `finish` returned, with the exact length in its headers.

        The same number of bytes at the same places: only what the beginning says is changed.
        """
        ...


def open_encoder(output: OutputFormat, pool: CodecPool) -> Encoder:
    """A new encoder of that format; long pieces are encoded in `pool`'s threads."""
    if output.codec == "mp3":
        return Mp3Encoder(output, pool)
    if output.codec == "wav":
        return WavEncoder(output)
    return PcmEncoder()


def pieces(pcm: bytes) -> Iterator[bytes]:
    """`pcm` cut for an encoder: 100 ms first, so that sound starts at once, then 2 s each."""
    if len(pcm) <= FIRST_PIECE_BYTES:
        yield pcm
        return
    yield pcm[:FIRST_PIECE_BYTES]
    for at in range(FIRST_PIECE_BYTES, len(pcm), PIECE_BYTES):
        yield pcm[at : at + PIECE_BYTES]


class PcmEncoder:
    """An `Encoder` that leaves the audio as it is."""

    async def feed(self, pcm: bytes) -> bytes:
        """`pcm`."""
        return pcm

    async def finish(self) -> bytes:
        """Nothing."""
        return b""

    def seal(self, body: bytes) -> bytes:
        """`body`: there are no headers."""
        return body


WAV_HEADER_BYTES: Final = 44
_UNKNOWN_BYTES: Final = 0xFFFFFFFF
"""As both sizes of a stream whose end is not known; players read on until the end."""


class WavEncoder:
    """An `Encoder` of RIFF WAVE with 16-bit samples."""

    def __init__(self, output: OutputFormat) -> None:
        self._rate_hz = output.rate_hz
        self._begun = False

    async def feed(self, pcm: bytes) -> bytes:
        """`pcm`, the first time after a header of unknown length."""
        if self._begun or not pcm:
            return pcm
        self._begun = True
        return self._header(None) + pcm

    async def finish(self) -> bytes:
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
