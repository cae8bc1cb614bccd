"""Canonical audio to the caller's format, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from core.audio.flac import compress, decompress
from core.audio.formats import OutputFormat
from core.audio.mp3 import Mp3Coder
from core.audio.opus import OpusCoder
from core.audio.pcm import BYTES_PER_S, RATE_HZ
from core.audio.plain import PcmCoder, WavCoder
from core.audio.pool import CodecPool
from core.audio.resample import Resampler
from core.audio.telephone import TelephoneCoder

__all__ = ["CodecPool", "Encoder", "compress", "decompress", "open_encoder", "pieces"]

FIRST_PIECE_BYTES: Final = BYTES_PER_S // 10
PIECE_BYTES: Final = BYTES_PER_S * 2

RESAMPLED_INLINE_MS: Final = 1000
"""So much audio is resampled in 0.3 ms."""


class Encoder(Protocol):
    """Encodes one utterance. One caller at a time; nothing to close."""

    async def feed(self, pcm: bytes) -> bytes:
        """What `pcm` (whole samples of canonical audio) completes; may be empty.

        The first bytes that are returned hold audio, not headers alone.
        """
        ...

    async def finish(self) -> bytes:
        """What was held back; nothing may be fed afterwards."""
        ...

    def seal(self, body: bytes) -> bytes:
        """`body`, everything `feed` and `finish` returned, with the exact length in its headers.

        The same number of bytes at the same places: only what the beginning says is changed.
        """
        ...


class Coder(Protocol):
    """The work of an `Encoder`, done in the caller's thread. Takes samples at the output's rate."""

    inline_ms: int
    """So much audio is under 0.5 ms of work; more of it would hold up an event loop."""

    def feed(self, pcm: bytes) -> bytes:
        """What `pcm` completes; may be empty."""
        ...

    def finish(self) -> bytes:
        """What was held back; under 0.5 ms of work."""
        ...

    def seal(self, body: bytes) -> bytes:
        """See `Encoder.seal`."""
        ...


def open_encoder(output: OutputFormat, pool: CodecPool) -> Encoder:
    """A new encoder of that format; long pieces are encoded in `pool`'s threads."""
    # Opus resamples inside.
    as_it_is = output.rate_hz == RATE_HZ or output.codec == "opus"
    return StreamEncoder(_coder(output), None if as_it_is else Resampler(output.rate_hz), pool)


def _coder(output: OutputFormat) -> Coder:
    match output.codec:
        case "mp3":
            return Mp3Coder(output)
        case "wav":
            return WavCoder(output)
        case "pcm":
            return PcmCoder()
        case "opus":
            return OpusCoder(output)
        case "ulaw" | "alaw":
            return TelephoneCoder(output)


def pieces(
    pcm: bytes, then_bytes: int = PIECE_BYTES, *, first_bytes: int = FIRST_PIECE_BYTES
) -> Iterator[bytes]:
    """`pcm` cut for an encoder: 100 ms first, so that sound starts at once, then more each; once
    something is heard `first_bytes` may be more too."""
    if len(pcm) <= first_bytes:
        yield pcm
        return
    yield pcm[:first_bytes]
    for at in range(first_bytes, len(pcm), then_bytes):
        yield pcm[at : at + then_bytes]


class StreamEncoder:
    """An `Encoder`: a coder behind a resampler; short pieces at once, long ones in a thread."""

    def __init__(self, coder: Coder, resampler: Resampler | None, pool: CodecPool) -> None:
        self._coder = coder
        self._resampler = resampler
        self._pool = pool
        inline_ms = coder.inline_ms
        if resampler is not None:
            inline_ms = min(inline_ms, RESAMPLED_INLINE_MS)
        self._inline_bytes = BYTES_PER_S * inline_ms // 1000
        self._usable = True

    async def feed(self, pcm: bytes) -> bytes:
        """What `pcm` completes.

        After a cancellation the encoder cannot be used again: a thread may still hold it.

        Raises:
            RuntimeError: it is finished, or was cancelled while encoding.
        """
        self._require_usable()
        if len(pcm) <= self._inline_bytes:
            return self._encoded(pcm)
        self._usable = False
        data = await self._pool.run(self._encoded, pcm)
        self._usable = True
        return data

    async def finish(self) -> bytes:
        """What was held back.

        Raises:
            RuntimeError: it is finished, or was cancelled while encoding.
        """
        self._require_usable()
        self._usable = False
        held_back = b"" if self._resampler is None else self._coder.feed(self._resampler.finish())
        return held_back + self._coder.finish()

    def seal(self, body: bytes) -> bytes:
        """`body` with the exact length in its headers."""
        return self._coder.seal(body)

    def _encoded(self, pcm: bytes) -> bytes:
        return self._coder.feed(pcm if self._resampler is None else self._resampler.feed(pcm))

    def _require_usable(self) -> None:
        if not self._usable:
            raise RuntimeError("This encoder is finished or was cancelled.")
