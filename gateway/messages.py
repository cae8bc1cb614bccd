"""What callers send and get, as structs: the wire format, and the source of its documentation."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from core.errors import InvalidRequest
from gateway.messages_health import ClusterPerformance

T = TypeVar("T")


class SynthesizeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text to speak. Unknown fields are refused, so that a misspelt option is never ignored; null
    counts as left out."""

    text: Annotated[str, Meta(description="What to say; at least one letter or digit.")]
    voice_agent_id: Annotated[
        str, Meta(min_length=1, max_length=128, description="The voice agent, e.g. `agent_123`.")
    ]
    language: (
        Annotated[
            str,
            Meta(
                min_length=2,
                max_length=35,
                description="`en`, `es`, `zh`, a regional form such as `es-MX`, or `auto`: the "
                "text decides among the agent's languages. Null: `auto`.",
            ),
        ]
        | None
    ) = None
    format: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=32,
                description="`mp3`, `wav`, `ogg`, `opus`, `pcm`, `ulaw` or `alaw`, or a canonical "
                "name such as `mp3_44100_128`. Left out: what the Accept header asks for, else "
                "`mp3`. Given, it wins over the Accept header.",
            ),
        ]
        | None
    ) = None
    optimize_for_speed: Annotated[
        bool | None, Meta(description="True: the fast model; false: the profile's own. Same voice.")
    ] = True
    enable_caching: Annotated[
        bool | None, Meta(description="False: neither reads nor writes the cache.")
    ] = True
    include_audio: Annotated[
        bool | None, Meta(description="True: the JSON reply carries the audio as base64, too.")
    ] = False


class SynthesizeReply(msgspec.Struct, frozen=True):
    """Speech that was made, where it is, and how it went."""

    status: Literal["success"]
    request_id: str
    processing_time_ms: Annotated[float, Meta(description="Until this reply was ready.")]
    first_audio_ms: Annotated[
        float | None, Meta(description="Until the first audible piece was ready.")
    ]
    cached: Annotated[bool, Meta(description="No provider was called or waited for.")]
    quality_score: Annotated[
        float,
        Meta(ge=0, le=1, description="Measured: silence, clipping, level, duration against text."),
    ]
    voice_id: Annotated[str | None, Meta(description="The provider's own id of the voice heard.")]
    provider: str | None
    model: str | None
    fallback: Annotated[bool, Meta(description="Another provider than the first was heard.")]
    language: str
    format: Annotated[str, Meta(description="Canonical name, e.g. `mp3_24000_128`.")]
    content_type: str
    duration_ms: int
    characters: int
    voice_agent_id: str
    audio_bytes: int
    audio_url: Annotated[
        str | None,
        Meta(
            description="Path of the audio on this host; works at least 15 minutes. Null while the "
            "result store is unreachable: `audio_base64` then holds the audio."
        ),
    ]
    audio_base64: str | None


class Performance(msgspec.Struct, frozen=True):
    """What this process has measured since it started. Times in milliseconds."""

    target_response_time_ms: int
    requests_under_way: int
    under_way: Annotated[
        dict[str, int], Meta(description="Calls, audio and places in use at this moment.")
    ]
    process_id: int
    measured: dict[str, Any]
    cluster: Annotated[
        ClusterPerformance, Meta(description="The same of all gateway processes together.")
    ]


class Health(msgspec.Struct, frozen=True):
    """Whether this process can serve."""

    status: Literal["live", "ready", "degraded", "unavailable", "draining"]
    checks: Annotated[dict[str, bool], Meta(description="Each part this process leans on.")] = {}


_decoder = msgspec.json.Decoder(SynthesizeRequest)
_encoder = msgspec.json.Encoder()
encode = _encoder.encode


def decode_request(body: bytes) -> SynthesizeRequest:
    """Decode a request body.

    Raises:
        InvalidRequest: it is not JSON, or a field is missing, unknown or of the wrong type.
    """
    return decode(_decoder, body)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a request body of any kind.

    Raises:
        InvalidRequest: it is not JSON, or a field is missing, unknown or of the wrong type.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        # An unknown field's own name is part of the message.
        raise InvalidRequest(f"{str(error)[:200]}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("The body is not valid JSON in UTF-8.") from error
