"""Canonical audio without loss at about half its size, as the cache keeps it."""

from __future__ import annotations

import io
from typing import Final, Literal

import av
import numpy as np

from core.audio.pcm import BYTES_PER_S, RATE_HZ, SAMPLE_BYTES, samples_of
from core.audio.pool import CodecPool
from core.cache.envelope import SegmentEntry
from core.errors import StoreError

SHORT_BYTES: Final = BYTES_PER_S // 10
"""Audio under 100 ms stays as it is: a FLAC stream's headers would outweigh the gain."""

LEVEL: Final = "5"
"""FLAC's effort. 5 costs 0.5 ms per second of audio and gives 49 % of the size; 0 gives 52 % and is
no faster."""

_ONLY_BLOCK: Final = b"fLaC" + bytes([0x80, 0, 0, 34])
"""What comes before the encoder's own block, the only one: RFC 9639, sections 6 and 8.1. FFmpeg's
container would write it, and take a third of the time for it."""
_DIGEST_AT: Final = 18
_NO_DIGEST: Final = bytes(16)
"""The block ends with the MD5 of the samples, or zeros where it is not told (section 8.2); what the
encoder leaves there once it has ended is neither."""

StoredCodec = Literal["flac", "pcm"]


async def compress(pcm: bytes, pool: CodecPool) -> tuple[StoredCodec, bytes]:
    """`pcm` in the form that the cache keeps: FLAC, or as it is where FLAC is not smaller. Where
    the processor is short it takes its time: nobody waits to hear it."""
    if len(pcm) < SHORT_BYTES:
        return "pcm", pcm
    flac = await pool.run_behind(_encode, pcm)
    return ("flac", flac) if len(flac) < len(pcm) else ("pcm", pcm)


async def decompress(entry: SegmentEntry, pool: CodecPool) -> bytes:
    """The canonical audio of an entry, every sample as it was.

    Raises:
        StoreError: the entry does not hold the samples it tells of.
    """
    pcm = entry.audio if entry.codec == "pcm" else await pool.run(_decode, entry.audio)
    if samples_of(len(pcm)) != entry.samples:
        raise StoreError("A kept segment has another length than it says.")
    return pcm


def _encode(pcm: bytes) -> bytes:
    encoder = av.CodecContext.create("flac", "w")
    encoder.sample_rate = RATE_HZ
    encoder.layout = "mono"
    encoder.format = "s16"
    encoder.options = {"compression_level": LEVEL}
    samples = np.frombuffer(pcm, dtype="<i2").reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate = RATE_HZ
    frames = [bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None))]
    block = (encoder.extradata or b"")[:_DIGEST_AT] + _NO_DIGEST
    return b"".join((_ONLY_BLOCK, block, *frames))


def _decode(flac: bytes) -> bytes:
    try:
        with av.open(io.BytesIO(flac), "r", format="flac") as container:
            return b"".join(
                bytes(frame.planes[0])[: frame.samples * SAMPLE_BYTES]
                for frame in container.decode(audio=0)
            )
    except av.FFmpegError as error:
        raise StoreError("A kept segment cannot be decoded.") from error
