"""What a client gets: JSON objects in text frames, told apart by `type`.

The structs are the wire format and what the docs page says about it. Every event carries the
`sequence` it was given when it was put among what waits to be sent: 1, 2, 3 and so on for a
session. What an interruption drops leaves a gap. Binary frames count along.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from core.conversation.commands import Command
from core.errors import SeiketsuError


class _Event(msgspec.Struct, tag_field="type", kw_only=True):
    sequence: int = 0
    """Of this event in its session."""


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
    """Utterances that may wait behind the one being spoken."""
    audio_encodings: tuple[str, ...]
    audio_encoding: str = "hex"
    """Of `audio_response`, always."""


class KnownText(msgspec.Struct, frozen=True, gc=False):
    """An utterance that goes on, and how much of its text the gateway has."""

    utterance_id: str
    characters: int
    complete: bool


class ConnectionEstablished(_Event, tag="connection_established"):
    """The first event of every session."""

    session_id: str
    voice_agent_id: str
    language: str
    """The session's language; `auto`: the text of each command decides."""
    format: str
    audio_encoding: str
    """Of `audio_chunk`."""
    capabilities: Capabilities
    server_time_unix_s: float
    resume_token: str = ""
    """Takes this session over, with the key it was opened with: see Lost and regained."""
    resumable: bool = False
    """Whether what is streamed can be regained; `resumability` tells of changes."""
    resume_within_s: int = 0
    """After the connection was lost."""
    resumed: bool = False
    """It goes on with a session that was lost; what was asked in it is spoken."""
    texts: tuple[KnownText, ...] = ()
    """Of a resumed session: what is still to be spoken, in order."""


class Accepted(_Event, tag="accepted"):
    """A command with an id was taken that has no other answer at once, or was known already. The
    last answer to `interrupt`, which gets it without an id too."""

    command_id: str | UnsetType = UNSET
    utterance_id: str | UnsetType = UNSET
    """The utterance that the command began or belongs to."""


class Configured(_Event, tag="configured"):
    """What is used from now on."""

    voice_agent_id: str
    language: str
    format: str
    audio_encoding: str
    command_id: str | UnsetType = UNSET


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
    quality_score: float | None
    """0 to 1; null where it was not measured."""
    characters: int
    request_id: str


class AudioResponse(_Event, tag="audio_response"):
    """A text, spoken: one whole file of the asked format."""

    audio_data: str
    """Hexadecimal, two digits a byte, whatever the session's encoding."""
    metadata: AudioMetadata
    command_id: str | UnsetType = UNSET


class SpeechStarted(_Event, tag="speech_started"):
    """The first audio of an utterance follows. In a resumed session it may be one that you have
    something of: drop that."""

    utterance_id: str
    utterance: int
    """Its number in the session, which binary frames carry."""
    format: str
    content_type: str
    language: str
    audio_encoding: str
    request_id: str
    command_id: str | UnsetType = UNSET


class AudioChunk(_Event, tag="audio_chunk"):
    """A piece of an utterance's audio; all of them joined are one stream of its format."""

    utterance_id: str
    chunk: int
    """1, 2, 3 and so on within the utterance."""
    offset_ms: int
    """Where it begins in the utterance's audio."""
    duration_ms: int
    """0 for a piece that only begins or ends the stream."""
    audio_data: str
    """Hexadecimal or base64. With the encoding `binary` a binary frame is sent instead."""


class AlignedWord(msgspec.Struct, frozen=True, gc=False):
    """A word and when it sounds."""

    text: str
    start_ms: int
    end_ms: int
    char_start: int
    """Where it stands in the text as you wrote it."""
    char_end: int
    estimated: bool
    """The voice gave no timings; they follow from the text's length."""


class SpeechResumed(_Event, tag="speech_resumed"):
    """Instead of `speech_started` for an utterance of which you may have something: drop what you
    have of it from these places on, the audio that follows begins there. Its chunks are counted
    anew, and so begins the file that they are."""

    utterance_id: str
    utterance: int
    from_char: int
    """Of the utterance's text: the start of a clause."""
    offset_ms: int
    """Of the utterance's audio."""
    format: str
    content_type: str
    language: str
    audio_encoding: str
    request_id: str
    command_id: str | UnsetType = UNSET


class Resumability(_Event, tag="resumability"):
    """Whether what is streamed can be regained from now on."""

    resumable: bool


class GoingAway(_Event, tag="going_away"):
    """The gateway is going to end. Connect again with the last `resume_token`: what was not spoken
    goes on where it stopped; where all was, a new session begins. Followed by the close code
    1012."""

    retry_after_ms: int


class Alignment(_Event, tag="alignment"):
    """The words that start in the audio that follows."""

    utterance_id: str
    words: tuple[AlignedWord, ...]


class SpeechFinished(_Event, tag="speech_finished"):
    """All audio of the utterance was sent."""

    utterance_id: str
    metadata: AudioMetadata
    command_id: str | UnsetType = UNSET


class Interrupted(_Event, tag="interrupted"):
    """What was heard of an utterance. Both texts together are its text as it was written so far."""

    utterance_id: str
    spoken_text: str
    remaining_text: str
    offset_ms: int
    """Of its audio that was heard."""
    estimated: bool
    """False: within one word. True where the voice tells no times of its words: within two where it
    had said the clause to its end by then, and one word in six of the clause more where it had not.
    True also where another gateway had sent the audio and you have not said what was played: then
    it may be off by as much as the two clocks are."""
    command_id: str | UnsetType = UNSET
    """Of the command that began the utterance."""


class Pong(_Event, tag="pong"):
    """The answer to `ping`."""

    server_time_unix_s: float
    command_id: str | UnsetType = UNSET


class SessionStats(_Event, tag="session_stats"):
    """What this session has done so far."""

    session_id: str
    connected_s: float
    requests: int
    """Utterances taken; each is then counted as served, failed or interrupted, or waits."""
    served: int
    failed: int
    interrupted: int
    """Those whose audio had not been sent wholly."""
    waiting: int
    """Utterances not answered yet, the one being spoken included."""
    cached: int
    characters: int
    """Of the texts that were spoken."""
    audio_bytes: int
    average_processing_time_ms: float | None
    command_id: str | UnsetType = UNSET


class ErrorEvent(_Event, tag="error"):
    """Something could not be done; the session goes on. The codes are those of every error."""

    code: str
    message: str
    action: str
    retryable: bool
    request_id: str | UnsetType = UNSET
    command_id: str | UnsetType = UNSET
    utterance_id: str | UnsetType = UNSET
    """The utterance that ends by it."""


Event = (
    ConnectionEstablished
    | Accepted
    | Configured
    | AudioResponse
    | SpeechStarted
    | SpeechResumed
    | Resumability
    | GoingAway
    | AudioChunk
    | Alignment
    | SpeechFinished
    | Interrupted
    | Pong
    | SessionStats
    | ErrorEvent
)
EVENTS: Final = (
    *(ConnectionEstablished, Accepted, Configured, AudioResponse, SpeechStarted, SpeechResumed),
    *(AudioChunk, Resumability, GoingAway),
    *(Alignment, SpeechFinished, Interrupted, Pong, SessionStats, ErrorEvent),
)

_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """The event as it is sent: JSON in UTF-8."""
    return _encoder.encode(event)


def error_event(
    error: SeiketsuError,
    command_id: str | UnsetType = UNSET,
    *,
    request_id: str | UnsetType = UNSET,
    utterance_id: str | UnsetType = UNSET,
) -> ErrorEvent:
    """The event that tells of an error."""
    return ErrorEvent(
        code=error.code,
        message=error.message,
        action=error.action,
        retryable=error.retryable,
        request_id=request_id,
        command_id=command_id,
        utterance_id=utterance_id,
    )


def schemas() -> dict[str, Any]:
    """The JSON schemas of every command and event, by name."""
    _, found = msgspec.json.schema_components(
        [Command, Event], ref_template="#/components/schemas/{name}"
    )
    return dict(found)
