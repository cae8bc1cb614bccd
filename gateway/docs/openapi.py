"""The OpenAPI document: Litestar's own of the ordinary routes, and the plain ASGI routes added.

Everything comes from the structs of `gateway.messages` and the table of `gateway.errors`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from core.audio.formats import ALIASES, FORMATS, content_types
from gateway.docs.session import REFUSALS as SESSION_REFUSALS
from gateway.docs.session import SESSION_PATH, session_operation, session_schemas
from gateway.errors import STATUS, ErrorBody, ErrorRow, error_table
from gateway.messages import SynthesizeReply, SynthesizeRequest
from gateway.messages_agents import AgentBody, AgentChange, AgentVoice, PhrasesBody
from gateway.messages_jobs import BulkRequest, PregenerateRequest
from gateway.messages_quality import AnalyzeRequest
from gateway.messages_session import SessionRequest

_REF: Final = "#/components/schemas/{name}"
_PREFIX: Final = "/api/v1/voice"

_REFUSALS: Final = {
    400: "The body is not valid",
    401: "No key, or not one of this gateway's",
    403: "Without keys: not from this computer",
    404: "No such voice agent",
    405: "Only POST",
    406: "Only audio types are accepted that are not made here",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The text cannot be spoken as asked",
    500: "A fault of the gateway",
    502: "No provider could speak the text",
    503: "No room now; see Retry-After",
    504: "Speech did not start in time",
}

SECURITY_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "xiApiKey": {"type": "apiKey", "in": "header", "name": "xi-api-key"},
}
SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"xiApiKey": []}, {}]

_BODIES: Final[dict[str, type[msgspec.Struct]]] = {
    "createAgent": AgentBody,
    "putAgent": AgentBody,
    "changeAgent": AgentChange,
    "putPhrases": PhrasesBody,
    "analyzeQuality": AnalyzeRequest,
    "synthesizeBulk": BulkRequest,
    "pregenerate": PregenerateRequest,
    "openSession": SessionRequest,
}
"""The JSON body of ordinary routes by `operation_id`: they decode it themselves."""

_ACCEPTED: Final = ", ".join(f"`{kind}`" for kind in ("audio/*", *content_types()))
_AUDIO_PATH: Final = f"{_PREFIX}/audio/{{audio_id}}"

_EXAMPLE: Final = {"text": "Hello! How can I help you today?", "voice_agent_id": "agent_123"}


def request_bodies() -> set[type[msgspec.Struct]]:
    """Every JSON body that a caller may send."""
    return {SynthesizeRequest, *_BODIES.values()}


def complete_schema(generated: dict[str, Any]) -> dict[str, Any]:
    """Litestar's document with the synthesis routes and the error table added."""
    _, components = msgspec.json.schema_components(
        [SynthesizeReply, ErrorBody, AgentVoice, *request_bodies()], ref_template=_REF
    )
    known = generated.get("components", {})
    return {
        **generated,
        "info": {**generated["info"], "description": _description(error_table())},
        "paths": {
            **_speech_paths(),
            **_session_paths(),
            **_with_bodies(_with_audio_types(generated.get("paths", {}))),
        },
        "components": {
            **known,
            # Litestar names its copies of the same structs alike; those of msgspec are exact.
            "schemas": {**known.get("schemas", {}), **components, **session_schemas()},
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def error_markdown(rows: list[ErrorRow]) -> str:
    """The table of error codes."""
    lines = [
        "| code | status | meaning | what to do | retryable |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row.code}` | {row.status} | {row.meaning} | {row.action} | "
        f"{'yes' if row.retryable else 'no'} |"
        for row in rows
    ]
    return "\n".join(lines)


def _description(rows: list[ErrorRow]) -> str:
    return (
        "Text in, speech out. Send a key as `Authorization: Bearer KEY` or `xi-api-key: KEY`; a "
        "gateway without keys answers programs on its own computer.\n\n"
        "## Errors\n\nEvery error has the same body: `error.code` is stable, `error.message` says "
        "what is wrong, `error.action` what to do, `error.retryable` whether the same request may "
        "succeed later, and `error.request_id` names the request. An audio reply that breaks off "
        "after its beginning is never ended cleanly: the connection is cut.\n\n"
        "## Bodies\n\nA field that is not known is refused. Of the fields that may be left out, "
        "null counts as left out; only in `PATCH /agents/{agent_id}` null gives a setting back.\n\n"
        f"{error_markdown(rows)}\n\n"
        "## Formats\n\nAll audio is mono. `pcm` is 16-bit little endian without a header; `opus` "
        "and `ogg` are Opus in Ogg pages of 20 ms. Short names: `mp3`, whose bit rate is the "
        "operator's, and "
        + ", ".join(f"`{short}` for `{name}`" for short, name in ALIASES.items())
        + f".\n\n{format_markdown()}\n"
    )


def format_markdown() -> str:
    """The table of formats, one line for each content type."""
    lines = ["| content type | file | `format` |", "|---|---|---|"]
    for kind in content_types():
        rows = [row for row in FORMATS.values() if row.content_type == kind]
        names = ", ".join(f"`{row.name}`" for row in rows)
        lines.append(f"| `{kind}` | .{rows[0].extension} | {names} |")
    return "\n".join(lines)


def _with_audio_types(paths: dict[str, Any]) -> dict[str, Any]:
    """Litestar knows one content type per reply; the audio of a link can have any of ours."""
    operation = paths[_AUDIO_PATH]["get"]
    responses = dict(operation["responses"])
    for status in ("200", "206"):
        responses[status] = {**responses[status], "content": _audio_content()}
    return {**paths, _AUDIO_PATH: {"get": {**operation, "responses": responses}}}


def _with_bodies(paths: dict[str, Any]) -> dict[str, Any]:
    """Litestar does not see the bodies that routes decode themselves."""
    found: dict[str, Any] = {}
    for path, item in paths.items():
        found[path] = {}
        for method, operation in item.items():
            body = _BODIES.get(operation.get("operationId", ""))
            if body is not None:
                schema = {"application/json": {"schema": _ref(body.__name__)}}
                operation = {**operation, "requestBody": {"required": True, "content": schema}}
            found[path][method] = operation
    return found


def _speech_paths() -> dict[str, Any]:
    return {
        f"{_PREFIX}/synthesize": {
            "post": _operation(
                "synthesize",
                "Speak a text",
                "The reply is JSON with a link to the audio. When the Accept header prefers an "
                f"audio type ({_ACCEPTED}), the reply is the audio itself, from its first piece. "
                "A `format` in the body wins over the type; without one the type chooses it.",
                {"application/json": {"schema": _ref("SynthesizeReply")}, **_audio_content()},
            )
        },
        f"{_PREFIX}/streaming/synthesize/streaming": {
            "post": _operation(
                "streamSpeech",
                "Speak a text as a stream of audio",
                "The audio itself, from its first piece, with its measurements in headers.",
                _audio_content(),
            )
        },
    }


def _session_paths() -> dict[str, Any]:
    operation = session_operation()
    refusals = {str(status): _refusal(status, text) for status, text in SESSION_REFUSALS.items()}
    responses = {**operation["responses"], **refusals}
    return {SESSION_PATH: {"get": {**operation, "security": SECURITY, "responses": responses}}}


def _operation(
    operation_id: str, summary: str, description: str, content: dict[str, Any]
) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "tags": ["Speech"],
        "summary": summary,
        "description": description,
        "security": SECURITY,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _ref("SynthesizeRequest"), "example": _EXAMPLE}
            },
        },
        "responses": {
            "200": {"description": "Speech", "headers": _audio_headers(), "content": content},
            **{str(status): _refusal(status, text) for status, text in _REFUSALS.items()},
        },
    }


def _refusal(status: int, text: str) -> dict[str, Any]:
    codes = ", ".join(f"`{code}`" for code, known in STATUS.items() if known == status)
    headers = {"X-Request-Id": _header("Names this request", "string")}
    if status == 503:
        headers["Retry-After"] = _header("Seconds until it may be sent again", "integer")
    return {
        "description": f"{text}. Codes: {codes}",
        "headers": headers,
        "content": {"application/json": {"schema": _ref("ErrorBody")}},
    }


def _audio_content() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return dict.fromkeys(content_types(), binary)


def _audio_headers() -> dict[str, Any]:
    return {
        "X-Request-Id": _header("Names this request", "string"),
        "X-Provider": _header("Whose voice is heard (audio replies)", "string"),
        "X-Voice-Id": _header("The provider's own id of the voice (audio replies)", "string"),
        "X-Model": _header("The provider's model (audio replies)", "string"),
        "X-Fallback": _header("Another provider than the first is heard", "string"),
        "X-Cached": _header("No provider was called or waited for", "string"),
        "X-Language": _header("The language spoken", "string"),
        "X-Format": _header("Canonical name of the format", "string"),
        "X-First-Audio-Ms": _header("Until the first audible piece", "number"),
        "X-Quality-Score": _header("0 to 1, when it is known already", "number"),
        "X-Duration-Ms": _header("Of the audio, when it is known already", "integer"),
        "Server-Timing": _header("plan, cache, first_audio", "string"),
    }


def _header(description: str, kind: str) -> dict[str, Any]:
    return {"description": description, "required": False, "schema": {"type": kind}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}
