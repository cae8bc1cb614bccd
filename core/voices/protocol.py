"""What is said on the voice server's socket, and between the server and its children.

A frame is its length (4 bytes, big endian) and that many bytes of msgpack: one tagged struct. On a
client's connection one request is under way at a time; closing the connection cancels it. A child
gets one `Job` at a time and answers it with `Audio` frames and one `Done` or `Failed`, which the
server passes on as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from core.speech import WordTiming

MAX_FRAME_BYTES: Final = 1024 * 1024
"""Longest frame, its length not counted; a longer one ends the connection."""

MAX_TEXT_CHARS: Final = 5_000
"""Longest text of one request, in characters."""

WorkClass = Literal["live", "bulk"]

FailureCode = Literal[
    "busy",
    "crashed",
    "stalled",
    "unavailable",
    "switched_off",
    "unknown_voice",
    "text_too_long",
    "bad_request",
    "engine_failed",
]


class Speak(msgspec.Struct, frozen=True, tag="speak", omit_defaults=True):
    """Client to server: speak `text`."""

    voice: str
    """`ENGINE/NAME` or `ENGINE/NAME:CENTS`, e.g. `hibari/heart`."""
    text: str
    speed: float = 1.0
    seed: int | None = None
    """`None`: follows from the text, so that the same words sound the same."""
    work_class: WorkClass = "live"
    due_ms: int | None = None
    """Milliseconds until the first audio is due: who goes first. `None`: after all others."""
    refuse_late: bool = False
    """Whether late first audio is of no use. Such a request is refused as busy as soon as it cannot
    be in time."""


class Status(msgspec.Struct, frozen=True, tag="status"):
    """Client to server: how are you?"""


class Audio(msgspec.Struct, frozen=True, tag="audio"):
    """A piece of canonical audio and the words that start in it; see `core.speech.AudioChunk`."""

    pcm: bytes
    words: tuple[WordTiming, ...] = ()


class Done(msgspec.Struct, frozen=True, tag="done"):
    """All of the text was spoken, in that many samples."""

    samples: int


class Failed(msgspec.Struct, frozen=True, tag="failed", omit_defaults=True):
    """The request failed; no more frames follow for it."""

    code: FailureCode
    retryable: bool = False
    retry_after_s: float | None = None
    reason: str = ""
    """For the log: the kind of an error inside an engine; never any of the text."""


class LaneStatus(msgspec.Struct, frozen=True):
    """The state of one lane's children at this moment."""

    processes: int
    """Children it was asked to keep."""
    ready: int
    """Children that have loaded and warmed their voices."""
    working: int
    """Children that are speaking."""
    queued: int
    """Requests that wait for a child."""
    restarts: int
    """Children that were replaced since the start."""
    served: int
    """Jobs that a child brought to an end since the start, cancelled ones included."""
    child_pids: tuple[int, ...]


class StatusReply(msgspec.Struct, frozen=True, tag="status_reply"):
    """The server's state at this moment."""

    pid: int
    quick: LaneStatus
    slow: LaneStatus
    """All zeros where the lane is switched off."""


class Job(msgspec.Struct, frozen=True, tag="job"):
    """Server to child: speak this."""

    voice: str
    text: str
    speed: float
    seed: int | None


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Server to child: nobody listens any more; end the job under way (with `Done`)."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Child to server: the voices are loaded and warm."""


class Unable(msgspec.Struct, frozen=True, tag="unable"):
    """Child to server: the voices cannot be loaded; it ends now."""

    reason: str
    """Why, and what to do about it where that is known; for the log."""
    trace: str = ""
    """Where it happened, if that was not foreseen."""


FromClient = Speak | Status
FromServer = Audio | Done | Failed | StatusReply
ToChild = Job | Cancel
FromChild = Ready | Unable | Audio | Done | Failed

_LENGTH: Final = struct.Struct(">I")
LENGTH_BYTES: Final = _LENGTH.size

_encoder: Final = msgspec.msgpack.Encoder()
_from_client: Final[msgspec.msgpack.Decoder[FromClient]] = msgspec.msgpack.Decoder(FromClient)
_from_server: Final[msgspec.msgpack.Decoder[FromServer]] = msgspec.msgpack.Decoder(FromServer)
_to_child: Final[msgspec.msgpack.Decoder[ToChild]] = msgspec.msgpack.Decoder(ToChild)
_from_child: Final[msgspec.msgpack.Decoder[FromChild]] = msgspec.msgpack.Decoder(FromChild)
decode_from_client: Final = _from_client.decode
decode_from_server: Final = _from_server.decode
decode_to_child: Final = _to_child.decode
decode_from_child: Final = _from_child.decode


class FrameError(ValueError):
    """A frame that is too long, or bytes that are no frame."""


def frame(message: FromClient | FromServer | ToChild | FromChild) -> bytes:
    """A message as bytes to send, its length in front."""
    buffer = bytearray(LENGTH_BYTES)
    _encoder.encode_into(message, buffer, LENGTH_BYTES)
    _LENGTH.pack_into(buffer, 0, len(buffer) - LENGTH_BYTES)
    return bytes(buffer)


def with_length(body: bytes) -> bytes:
    """An encoded message as bytes to send."""
    return _LENGTH.pack(len(body)) + body


def length_of(head: bytes | bytearray) -> int:
    """The length that a frame's first `LENGTH_BYTES` bytes announce.

    Raises:
        FrameError: longer than `MAX_FRAME_BYTES`.
    """
    length: int = _LENGTH.unpack(head)[0]
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes is over the limit")
    return length


class FrameBuffer:
    """Cuts the bytes of a stream into frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add what arrived; yields each whole frame, without its length.

        Raises:
            FrameError: a frame is too long.
        """
        buffer = self._bytes
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= LENGTH_BYTES:
                end = at + LENGTH_BYTES + length_of(buffer[at : at + LENGTH_BYTES])
                if len(buffer) < end:
                    break
                body = bytes(memoryview(buffer)[at + LENGTH_BYTES : end])
                at = end
                yield body
        finally:
            del buffer[:at]
