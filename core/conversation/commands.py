"""What a client sends: JSON objects in text frames, told apart by `type`.

The structs are the wire format and what the docs page says about it. A command may carry a
`command_id` of the client's own: the event that answers it carries it too. Null counts as left out.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from core.errors import InvalidRequest

CommandId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="Yours. A second command of the same id is acknowledged and not carried out.",
    ),
]
UtteranceId = Annotated[
    str, Meta(min_length=1, max_length=64, description="Yours; made if left out.")
]
KnownId = Annotated[str, Meta(min_length=1, max_length=64, description="Of an utterance.")]
Language = Annotated[
    str, Meta(min_length=2, max_length=35, description="As in `POST /synthesize`.")
]
Format = Annotated[str, Meta(min_length=1, max_length=32, description="As in `POST /synthesize`.")]
OffsetMs = Annotated[
    float,
    Meta(
        le=86_400_000,
        description="Of the utterance's audio, from its first sample; less than 0 counts as 0.",
    ),
]


class _Command(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="type",
    gc=False,
    kw_only=True,
):
    given_id: CommandId | UnsetType | None = msgspec.field(default=UNSET, name="command_id")

    @property
    def command_id(self) -> str | UnsetType:
        """The client's own id of the command."""
        return self.given_id or UNSET


class Synthesize(_Command, frozen=True, tag="synthesize"):
    """Speak a whole text: answered by one `audio_response`, or with `stream` by the events of an
    utterance. Spoken in the order they arrive."""

    text: str
    language: Language | None = None
    """Null: the session's."""
    format: Format | None = None
    """Null: the session's."""
    optimize_for_speed: bool | None = True
    enable_caching: bool | None = True
    stream: bool | None = False
    """Send the audio piece by piece while it is spoken, at the pace it is heard."""
    utterance_id: UtteranceId | None = None


class Text(_Command, frozen=True, tag="text"):
    """A piece of a text that is still being written, as a language model writes it. The first piece
    begins an utterance; one with another `utterance_id` ends it and begins the next. What arrives
    for an utterance that was interrupted or failed is dropped. With more than `max_text_chars` the
    utterance ends with the error `text_too_long` at once."""

    text: str
    utterance_id: UtteranceId | None = None


class FlushText(_Command, frozen=True, tag="flush"):
    """Speak what was written so far, without waiting for the end of its sentence. Does nothing
    where nothing is being written, or another utterance than the named one."""

    utterance_id: KnownId | None = None


class EndText(_Command, frozen=True, tag="end"):
    """The text is complete. Does nothing where nothing is being written, or another utterance than
    the named one. A text that does not grow for 30 seconds while it is waited for is complete
    too."""

    utterance_id: KnownId | None = None


class Interrupt(_Command, frozen=True, tag="interrupt"):
    """Stop: answered by `interrupted` for each utterance that was not heard to its end, in order,
    and then always by `accepted`, also where there was none."""

    playback_offset_ms: OffsetMs | None = None
    """How much of the utterance was heard. Null: what was reported last, run on by the clock."""
    utterance_id: KnownId | None = None
    """The utterance that was being heard; it is known for 2 seconds after its end. Null: the one
    of the last `playback`, else the one that is heard by the clock."""


class Playback(_Command, frozen=True, tag="playback"):
    """How far the client has played: makes `interrupted` exact."""

    utterance_id: KnownId
    offset_ms: OffsetMs


class Configure(_Command, frozen=True, tag="configure"):
    """Change what is used for everything asked after it; null leaves it as it is. Answered by
    `configured`, or by an error that leaves all as it was."""

    voice_agent_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    language: Language | None = None
    format: Format | None = None
    audio_encoding: str | None = None
    """`hex`, `base64` or `binary`: how `audio_chunk` carries its audio."""


class Ping(_Command, frozen=True, tag="ping"):
    """Answered by `pong` at once, also while speech is being made."""


class GetStats(_Command, frozen=True, tag="get_stats"):
    """Answered by `session_stats`."""


Command = (
    Synthesize | Text | FlushText | EndText | Interrupt | Playback | Configure | Ping | GetStats
)
COMMANDS: Final = (
    *(Synthesize, Text, FlushText, EndText, Interrupt, Playback, Configure, Ping, GetStats),
)


class _Named(msgspec.Struct, frozen=True, gc=False):
    command_id: CommandId | UnsetType = UNSET


_name_decoder: msgspec.json.Decoder[_Named] = msgspec.json.Decoder(_Named)
_decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


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


def command_id_of(frame: str) -> str | UnsetType:
    """The `command_id` of a text frame that cannot be decoded, where one can be read."""
    try:
        return _name_decoder.decode(frame).command_id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return UNSET
