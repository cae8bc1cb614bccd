"""A piece of an utterance's audio as it is sent: in JSON as text, or as a binary frame.

A binary frame is 16 bytes, big endian, and the audio itself. The kinds and the direction leave room
for audio that comes from the client.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import Final, Literal, get_args

import msgspec

from core.conversation.events import AudioChunk, encode_event
from core.errors import InvalidRequest

AudioEncoding = Literal["hex", "base64", "binary"]
ENCODINGS: Final[tuple[AudioEncoding, ...]] = get_args(AudioEncoding)

MAX_AUDIO_FRAME_BYTES: Final = 900_000
"""Largest frame sent: clients commonly close at 1 MiB."""
HEADER_BYTES: Final = 16
VERSION: Final = 1
TO_CLIENT: Final = 0
KIND_SPEECH: Final = 1
FIRST: Final = 1
LAST: Final = 2

HEADER_FIELDS: Final = (
    ("0", "high four bits: version, 1; next bit: direction, 0 to the client; low three: kind, 1"),
    ("1", "flags: 1 the utterance's first audio, 2 its last (such a frame may hold no audio)"),
    ("2-3", "duration of the audio in ms"),
    ("4-7", "`sequence`"),
    ("8-11", "`utterance` of its `speech_started`"),
    ("12-15", "`offset_ms`: where it begins in the utterance's audio"),
)
"""Bytes and what they hold, for the docs page."""

_HEADER: Final = struct.Struct(">BBHIII")
_U16: Final = 0xFFFF
_U32: Final = 0xFFFF_FFFF


def encoding_of(name: str) -> AudioEncoding:
    """The encoding of that name.

    Raises:
        InvalidRequest: there is none.
    """
    for known in ENCODINGS:
        if name == known:
            return known
    raise InvalidRequest(f"`audio_encoding` must be one of: {', '.join(ENCODINGS)}.")


class AudioPiece(msgspec.Struct, frozen=True):
    """A piece of audio that waits to be sent."""

    utterance_id: str
    utterance: int
    encoding: AudioEncoding
    chunk: int
    offset_ms: int
    duration_ms: int
    data: bytes
    first: bool = False
    last: bool = False

    @property
    def binary(self) -> bool:
        """Whether it becomes a binary frame."""
        return self.encoding == "binary"

    def encode(self, sequence: int) -> bytes:
        """The frame: JSON in UTF-8, or the header and the audio."""
        if self.encoding == "binary":
            return self._header(sequence) + self.data
        text = self.data.hex() if self.encoding == "hex" else b64encode(self.data).decode("ascii")
        return encode_event(
            AudioChunk(
                sequence=sequence,
                utterance_id=self.utterance_id,
                chunk=self.chunk,
                offset_ms=self.offset_ms,
                duration_ms=self.duration_ms,
                audio_data=text,
            )
        )

    def _header(self, sequence: int) -> bytes:
        return _HEADER.pack(
            VERSION << 4 | TO_CLIENT << 3 | KIND_SPEECH,
            FIRST * self.first | LAST * self.last,
            min(_U16, self.duration_ms),
            sequence & _U32,
            self.utterance & _U32,
            min(_U32, self.offset_ms),
        )


class Header(msgspec.Struct, frozen=True):
    """The header of a binary frame, read."""

    version: int
    direction: int
    kind: int
    first: bool
    last: bool
    duration_ms: int
    sequence: int
    utterance: int
    offset_ms: int


def read_header(frame: bytes) -> Header:
    """The header of a binary frame. Raises `struct.error` for fewer than 16 bytes."""
    kinds, flags, duration_ms, sequence, utterance, offset_ms = _HEADER.unpack_from(frame)
    return Header(
        version=kinds >> 4,
        direction=kinds >> 3 & 1,
        kind=kinds & 7,
        first=bool(flags & FIRST),
        last=bool(flags & LAST),
        duration_ms=duration_ms,
        sequence=sequence,
        utterance=utterance,
        offset_ms=offset_ms,
    )
