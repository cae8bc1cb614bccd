"""Reads and checks a speech request as the vendor does: what is wrong, in the order it says so."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from benchmarks.emulator.catalogue import DEFAULT_MODEL, MODELS, VOICES, Model
from benchmarks.emulator.errors import Refusal, Unprocessable, field
from benchmarks.emulator.formats import DEFAULT_FORMAT, WireFormat, find_format

_UNIT: Final = (0.0, 1.0)
_RANGES: Final = {
    "stability": _UNIT,
    "similarity_boost": _UNIT,
    "style": _UNIT,
    "clone_strength": _UNIT,
    "speed": (0.7, 1.2),
}
_STRINGS: Final = ("model_id", "language_code", "previous_text", "next_text")
_LISTS: Final = (
    "previous_request_ids",
    "next_request_ids",
    "pronunciation_dictionary_locators",
)
_TYPE_ERRORS: Final = {str: "string_type", list: "list_type", dict: "dict_type"}
_LARGEST_SEED: Final = 4_294_967_295
_HARD_MAX_CHARS: Final = 40_000
"""Documented limits below this are not enforced by the real service either (10,500 characters were
accepted where 10,000 are documented)."""


class Asked(msgspec.Struct, frozen=True):
    """A valid speech request."""

    text: str
    model: Model
    wire: WireFormat
    speed: float
    seed: int | None


def read_body(raw: bytes) -> dict[str, Any]:
    """The body's fields.

    Raises:
        Unprocessable: it is no JSON object.
    """
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unprocessable(field(0, "JSON decode error", "json_invalid")) from error
    if not isinstance(body, dict):
        wrong = {"loc": ["body"], "msg": "Input should be a valid dictionary", "type": "dict_type"}
        raise Unprocessable(wrong)
    return body


def check_types(body: dict[str, Any], query: Any) -> None:
    """What FastAPI refuses before the service sees it. Unknown fields are ignored, null is absent.

    Raises:
        Unprocessable: with one entry per wrong field.
    """
    wrong: list[dict[str, Any]] = []
    if "text" not in body:
        wrong.append(field("text", "Field required", "missing"))
    elif not isinstance(body["text"], str):
        wrong.append(field("text", "Input should be a valid string", "string_type"))
    for names, kind, message in (
        (_STRINGS, str, "Input should be a valid string"),
        (_LISTS, list, "Input should be a valid list"),
        (("voice_settings",), dict, "Input should be a valid dictionary"),
    ):
        odd = (n for n in names if not isinstance(body.get(n), kind | None))
        wrong += [field(name, message, _TYPE_ERRORS[kind]) for name in odd]
    seed = body.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        wrong.append(field("seed", "Input should be a valid integer", "int_type"))
    if body.get("apply_text_normalization") not in (None, "auto", "on", "off"):
        name = "apply_text_normalization"
        wrong.append(field(name, "Input should be 'auto', 'on' or 'off'", "enum"))
    if query.get("enable_logging", "true").lower() not in ("true", "false", "1", "0"):
        name = "enable_logging"
        wrong.append(field(name, "Input should be a valid boolean", "bool_parsing", where="query"))
    if query.get("optimize_streaming_latency", "0") not in ("0", "1", "2", "3", "4"):
        name = "optimize_streaming_latency"
        wrong.append(field(name, "Input should be 0 to 4", "int_parsing", where="query"))
    if wrong:
        raise Unprocessable(*wrong)


def check(request: web.Request, body: dict[str, Any], *, streamed: bool, rank: int) -> Asked:
    """The request, when voice, model, format and settings are good; `rank` is the plan's.

    Raises:
        Refusal, Unprocessable: it is not.
    """
    check_types(body, request.query)
    name = request.query.get("output_format", DEFAULT_FORMAT)
    wire = find_format(name, streamed=streamed)
    if wire is None:
        raise Refusal(
            "invalid_output_format",
            f"The output format '{name}' is not supported.",
            param="output_format",
        )
    voice_id = request.match_info["voice_id"]
    if voice_id not in VOICES:
        raise Refusal("voice_not_found", f"A voice with voice_id '{voice_id}' was not found.")
    model = model_of(body.get("model_id"))
    if wire.least_rank > rank:
        raise Refusal(
            "subscription_required",
            f"Output format '{name}' needs a higher subscription tier.",
            param="output_format",
        )
    speed = speed_of(body.get("voice_settings") or {})
    _check_values(body, model)
    return Asked(body["text"], model, wire, speed, body.get("seed"))


def model_of(model_id: str | None) -> Model:
    """The model of that id that speaks; None or empty: the default.

    Raises:
        Refusal: there is none, or it does not speak.
    """
    model_id = model_id or DEFAULT_MODEL
    model = MODELS.get(model_id)
    if model is None:
        raise Refusal(
            "model_not_found",
            f"A model with model_id '{model_id}' was not found.",
            param="model_id",
        )
    if not model.speaks:
        raise Refusal(
            "unsupported_model",
            f"The model '{model_id}' does not support text to speech.",
            param="model_id",
        )
    return model


def speed_of(settings: dict[str, Any]) -> float:
    """The speed among voice settings that are all good.

    Raises:
        Refusal, Unprocessable: one is out of range or of the wrong type.
    """
    boost = settings.get("use_speaker_boost")
    if not isinstance(boost, bool | None):
        raise Unprocessable(field("voice_settings", "Input should be a boolean", "bool_type"))
    for name, (low, high) in _RANGES.items():
        value = settings.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Unprocessable(field("voice_settings", "Input should be a number", "float_type"))
        if not low <= value <= high:
            raise Refusal(
                "invalid_voice_settings",
                f"{name} must be between {low:g} and {high:g}.",
                param=f"voice_settings.{name}",
            )
    return float(settings.get("speed") or 1.0)


def _check_values(body: dict[str, Any], model: Model) -> None:
    text = body["text"]
    if not text.strip():
        raise Refusal("invalid_parameters", "The text must not be empty.", param="text")
    if len(text) > max(model.max_chars, _HARD_MAX_CHARS):
        raise Refusal(
            "text_too_long", f"The text is longer than {_HARD_MAX_CHARS} characters.", param="text"
        )
    if not 0 <= (body.get("seed") or 0) <= _LARGEST_SEED:
        raise Refusal("invalid_parameters", "seed is out of range.", param="seed")
    for name in _LISTS:
        if len(body.get(name) or ()) > 3:
            raise Refusal("invalid_parameters", f"At most 3 {name} are allowed.", param=name)
    if not model.takes_context and (body.get("previous_text") or body.get("next_text")):
        raise Refusal(
            "invalid_parameters",
            f"previous_text and next_text are not yet supported by {model.model_id}.",
            param="previous_text",
        )
