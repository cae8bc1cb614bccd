"""What a client asks of a socket: the URL, and the messages."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from benchmarks.emulator.asked import model_of
from benchmarks.emulator.catalogue import Model
from benchmarks.emulator.errors import Refusal, Unprocessable, field
from benchmarks.emulator.formats import DEFAULT_FORMAT, WireFormat, find_format

_LONGEST_INACTIVITY_S: Final = 180
_INACTIVITY_S: Final = 20
_SCHEDULE: Final = (120, 160, 250, 290)
_SCHEDULE_RANGE: Final = (50, 500)
_REFUSED_MODELS: Final = ("eleven_v3", "eleven_v4")
"""Prefixes: these models speak only through the dialogue socket."""
_SECRETS: Final = frozenset({"authorization", "single_use_token", "xi-api-key"})
_TRUE: Final = ("true", "1")
_SWITCHES: Final = (
    "auto_mode",
    "sync_alignment",
    "enable_logging",
    "enable_ssml_parsing",
    "apply_language_text_normalization",
)

VOICE_SETTINGS_CHANGED: Final = (
    "voice_settings field must be provided in the first message and then either be not provided "
    "or not change."
)


class SocketAsked(msgspec.Struct, frozen=True):
    """A valid upgrade request."""

    voice_id: str
    model: Model
    wire: WireFormat
    inactivity_s: float
    auto_mode: bool
    seed: int | None
    key: str | None
    """None: it may still stand in the first message."""


class Message(msgspec.Struct, frozen=True):
    """A client's message. Unknown fields are ignored, null is absent."""

    text: str | None = None
    context_id: str | None = None
    flush: bool | None = None
    try_trigger_generation: bool | None = None
    close_context: bool | None = None
    close_socket: bool | None = None
    voice_settings: dict[str, Any] | None = None
    generation_config: dict[str, Any] | None = None
    key: str | None = msgspec.field(default=None, name="xi-api-key")
    key_: str | None = msgspec.field(default=None, name="xi_api_key")
    authorization: str | None = None


class SocketError(Exception):
    """Ends a socket with 1008: an error frame and the close, or without `error` the close alone."""

    def __init__(self, error: str | None, message: str) -> None:
        self.error = error
        self.message = message
        super().__init__(message)


def public_query(request: web.Request) -> dict[str, str]:
    """The query without what opens an account."""
    return {name: value for name, value in request.query.items() if name not in _SECRETS}


def read_upgrade(request: web.Request, rank: int) -> SocketAsked:
    """The upgrade request, when model, format and numbers are good. Voice and key come later.

    That a wrong number is answered as on the other routes, and a wrong format in the handshake,
    is assumed.

    Raises:
        Refusal, Unprocessable: it is not.
    """
    query = request.query
    inactivity_s = _number(query, "inactivity_timeout", 1, _LONGEST_INACTIVITY_S) or _INACTIVITY_S
    for name in _SWITCHES:
        if query.get(name, "true").lower() not in (*_TRUE, "false", "0"):
            wrong = field(name, "Input should be a valid boolean", "bool_parsing", where="query")
            raise Unprocessable(wrong)
    model = model_of(query.get("model_id"))
    if model.model_id.startswith(_REFUSED_MODELS):
        raise Refusal(
            "unsupported_model",
            f"The model '{model.model_id}' does not support this endpoint.",
            param="model_id",
        )
    name = query.get("output_format", DEFAULT_FORMAT)
    wire = find_format(name, streamed=True)
    if wire is None:
        message = f"The output format '{name}' is not supported."
        raise Refusal("invalid_output_format", message, param="output_format")
    if wire.least_rank > rank:
        message = f"Output format '{name}' needs a higher subscription tier."
        raise Refusal("subscription_required", message, param="output_format")
    bearer = query.get("authorization", "").removeprefix("Bearer ").strip()
    return SocketAsked(
        voice_id=request.match_info["voice_id"],
        model=model,
        wire=wire,
        inactivity_s=inactivity_s,
        auto_mode=query.get("auto_mode", "false").lower() in _TRUE,
        seed=_number(query, "seed", 0, 4_294_967_295),
        key=request.headers.get("xi-api-key") or query.get("single_use_token") or bearer or None,
    )


def read_message(data: str | bytes) -> Message:
    """One message.

    Raises:
        SocketError: it is none. The code is assumed.
    """
    try:
        return msgspec.json.decode(data, type=Message)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise SocketError("invalid_message", "The message is not valid.") from None


def read_schedule(config: dict[str, Any] | None) -> tuple[int, ...]:
    """The buffered characters that start the first, second, ... generation; the last one stays.

    Raises:
        SocketError: a number is out of range. The code is assumed.
    """
    asked = (config or {}).get("chunk_length_schedule") or _SCHEDULE
    low, high = _SCHEDULE_RANGE
    if not isinstance(asked, list | tuple) or not all(
        isinstance(each, int | float) and low <= each <= high for each in asked
    ):
        message = f"chunk_length_schedule must have numbers from {low} to {high}."
        raise SocketError("invalid_parameters", message)
    return tuple(int(each) for each in asked)


def _number(query: Any, name: str, low: int, high: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not text.isdigit() or not low <= int(text) <= high:
        message = f"Input should be {low} to {high}"
        raise Unprocessable(field(name, message, "int_parsing", where="query"))
    return int(text)
