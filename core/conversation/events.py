"""The messages of a session: what a client sends (commands) and what it gets (events).

The structs are the wire format: JSON objects told apart by `type`. A command's `command_id`, where
there is one, stands in the event that answers it.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from core.errors import InvalidRequest

CommandId = Annotated[str, Meta(min_length=1, max_length=64)]


class Synthesize(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="synthesize",
    gc=False,
):
    """Speak a text; answered by `audio_response` or `error`. Spoken in the order they arrive."""

    text: str
    language: Annotated[str, Meta(min_length=2, max_length=35)] | None = None
    """As in `POST /synthesize`; null: the session's."""
    format: Annotated[str, Meta(min_length=1, max_length=32)] = "mp3"
    optimize_for_speed: bool = True
    enable_caching: bool = True
    command_id: CommandId | UnsetType = UNSET


class Ping(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ping", gc=False
):
    """Answered by `pong` at once, also while speech is being made."""

    command_id: CommandId | UnsetType = UNSET


class GetStats(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="get_stats",
    gc=False,
):
    """Answered by `session_stats`."""

    command_id: CommandId | UnsetType = UNSET


Command = Synthesize | Ping | GetStats


class Capabilities(msgspec.Struct, frozen=True):
    """What this session takes and gives."""

    formats: tuple[str, ...]
    languages: tuple[str, ...]
    max_text_chars: int
    max_frame_bytes: int
    """Of a frame from the client; a larger one closes the session with 1009."""
    max_audio_frame_bytes: int
    """Of a frame to the client; audio that would be larger is answered by `frame_too_large`."""
    max_waiting_commands: int
    audio_encoding: str = "hex"


class ConnectionEstablished(
    msgspec.Struct, frozen=True, tag_field="type", tag="connection_established"
):
    """The first event of every session."""

    session_id: str
    voice_agent_id: str
    language: str
    """The session's language; `auto`: the text of each command decides."""
    capabilities: Capabilities
    server_time_unix_s: float


class AudioMetadata(msgspec.Struct, frozen=True):
    """How a text was spoken. The fields mean what they mean in the reply of `POST /synthesize`."""

    text: str
    voice_id: str | None
    provider: str | None
    model: str | None
    format: str
    content_type: str
    language: str
    duration_ms: int
    processing_time_ms: float
    first_audio_ms: float | None
    cached: bool
    fallback: bool
    quality_score: float
    characters: int
    request_id: str


class AudioResponse(msgspec.Struct, frozen=True, tag_field="type", tag="audio_response"):
    """A text, spoken: one whole file of the asked format."""

    audio_data: str
    """Hexadecimal, two digits a byte."""
    metadata: AudioMetadata
    command_id: str | UnsetType = UNSET


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong", gc=False):
    """The answer to `ping`."""

    server_time_unix_s: float
    command_id: str | UnsetType = UNSET


class SessionStats(msgspec.Struct, frozen=True, tag_field="type", tag="session_stats"):
    """What this session has done so far."""

    session_id: str
    connected_s: float
    requests: int
    """Texts taken; each is then counted as served or failed, or waits."""
    served: int
    failed: int
    waiting: int
    """Texts not answered yet, the one being spoken included."""
    cached: int
    characters: int
    """Of the texts that were spoken."""
    audio_bytes: int
    average_processing_time_ms: float | None
    command_id: str | UnsetType = UNSET


class ErrorEvent(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """Something could not be done; the session goes on. The codes are those of every error."""

    code: str
    message: str
    action: str
    retryable: bool
    request_id: str | UnsetType = UNSET
    command_id: str | UnsetType = UNSET


Event = ConnectionEstablished | AudioResponse | Pong | SessionStats | ErrorEvent

_decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_encoder = msgspec.json.Encoder()


def decode_command(frame: str) -> Command:
    """Decode a text frame.

    Raises:
        InvalidRequest: it is not JSON, of no known type, or a field is missing, unknown or wrong.
    """
    try:
        return _decoder.decode(frame)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{str(error)[:200]}.") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest("The frame is not valid JSON.") from error


def encode_event(event: Event) -> bytes:
    """The event as it is sent: JSON in UTF-8."""
    return _encoder.encode(event)


def schemas() -> dict[str, Any]:
    """The JSON schemas of every command and event, by name."""
    _, found = msgspec.json.schema_components(
        [Command, Event], ref_template="#/components/schemas/{name}"
    )
    return dict(found)
