"""What the cache keeps, and its versioned wire form.

Two kinds of entries: a *segment* (canonical audio under a voice key, compressed without loss) and a
*rendition* (encoded bytes of a whole utterance under a rendition key). Both carry what a reply says
about the audio, so a hit needs nothing else.
"""

from __future__ import annotations

import sys
import zlib
from typing import Final, Literal

import msgspec

from core.speech import Provenance, WordTiming

VERSION: Final = 1
"""First byte of every stored value; another one is a miss, so old and new processes can share."""


class SegmentEntry(msgspec.Struct, frozen=True, tag="segment", array_like=True):
    """Canonical audio of one segment as the asked voice spoke it, leading silence trimmed."""

    codec: Literal["flac", "pcm"]
    audio: bytes
    samples: int
    words: tuple[WordTiming, ...]
    """Times from the segment's first sample, characters in the segment's spoken text."""
    provenance: Provenance
    common: bool = False
    """A response that is often given: kept longer."""
    quality_score: float | None = None
    """`core.audio.quality` of the audio; what is not plausible is not kept."""


class RenditionEntry(msgspec.Struct, frozen=True, tag="rendition", array_like=True):
    """The encoded bytes of a whole utterance, every segment in the asked voice."""

    output_format: str
    audio: bytes
    duration_ms: int
    quality_score: float
    words: tuple[WordTiming, ...]
    """Times from the utterance's first sample, characters in the caller's text."""
    provenance: Provenance
    common: bool = False
    """A response that is often given: kept longer."""


Entry = SegmentEntry | RenditionEntry


class EncodedClause(msgspec.Struct, frozen=True, gc=False):
    """What an encoder made of one clause after others; in memory alone, never in the wire form."""

    begins_at: int
    """Encoded bytes of the utterance before it."""
    pieces: tuple[tuple[int, bytes], ...]
    """Bytes of canonical audio that were fed, and what came of them; it may be nothing."""


_HEAD_BYTES: Final = 5
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Entry)


class DamagedEntry(ValueError):
    """A stored value that this version cannot read."""


def encode(entry: Entry) -> bytes:
    """The stored form: version byte, CRC-32 of the rest (big endian), the entry as msgpack."""
    out = bytearray(_HEAD_BYTES)
    _encoder.encode_into(entry, out, _HEAD_BYTES)
    out[0] = VERSION
    out[1:_HEAD_BYTES] = zlib.crc32(memoryview(out)[_HEAD_BYTES:]).to_bytes(4, "big")
    return bytes(out)


def decode(stored: bytes) -> Entry:
    """The entry of a stored form.

    Raises:
        DamagedEntry: another version, or not every byte is as it was written.
    """
    body = memoryview(stored)[_HEAD_BYTES:]
    if not body or stored[0] != VERSION:
        raise DamagedEntry("Another version.")
    if zlib.crc32(body) != int.from_bytes(stored[1:_HEAD_BYTES], "big"):
        raise DamagedEntry("Damaged.")
    try:
        entry: Entry = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise DamagedEntry("Unknown fields.") from error
    return entry


_WORD_FIELDS_BYTES: Final = 2 * 32
"""The two times of a word, each an int object of its own; offsets up to 256 are shared ones."""


def memory_bytes(entry: Entry | EncodedClause) -> int:
    """Memory the decoded entry takes in this process, in bytes, all its parts included."""
    size = sys.getsizeof
    if isinstance(entry, EncodedClause):
        parts = sum(size(piece) + size(piece[0]) + size(piece[1]) for piece in entry.pieces)
        return size(entry) + size(entry.pieces) + parts
    provenance = entry.provenance
    total = size(entry) + size(entry.audio) + size(entry.words) + size(provenance)
    for word in entry.words:
        total += size(word) + size(word.text) + _WORD_FIELDS_BYTES
    for name in (provenance.provider, provenance.voice, provenance.model, provenance.language):
        total += size(name)
    return total + size(provenance.request_id) + 2 * size(provenance.created_unix_s)
