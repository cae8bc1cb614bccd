"""The WebSocket session in the OpenAPI document, which knows no WebSockets: as text and schemas."""

from __future__ import annotations

from typing import Any, Final

from core.conversation.events import schemas

SESSION_PATH: Final = "/api/v1/voice/streaming/stream/{session_id}"

REFUSALS: Final = {
    400: "The session id or the query cannot be read, or holds a key",
    401: "No key, or a key or token that is not valid",
    403: "Without keys: not from this computer",
    404: "No such voice agent",
    422: "The agent does not speak that language",
    426: "Not a WebSocket handshake",
    429: "This key has all its sessions open; see Retry-After",
    503: "This gateway has all its sessions open, or is going to end; see Retry-After",
}


def session_operation() -> dict[str, Any]:
    """The handshake, without its refusals."""
    return {
        "operationId": "streamSession",
        "tags": ["Sessions"],
        "summary": "Talk over a WebSocket",
        "description": PROTOCOL,
        "parameters": [
            {
                "name": "session_id",
                "in": "path",
                "required": True,
                "description": "Your own name for the session.",
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"},
            },
            _query("voice_agent_id", "`agent_123` if left out."),
            _query("language", "Of texts that name none; `auto` if left out."),
            _query("token", "From `POST /api/v1/voice/sessions`. Never a key."),
        ],
        "responses": {"101": {"description": "The session is open"}},
    }


def session_schemas() -> dict[str, Any]:
    """The schemas of every message, by name."""
    return schemas()


def _query(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }


PROTOCOL: Final = """\
A WebSocket: `ws://HOST/api/v1/voice/streaming/stream/session_123`. It lets in whom the other \
routes let in: by a key in the headers, or without keys programs on this computer. A browser sends \
the token of `POST /api/v1/voice/sessions`, as `?token=TOKEN` or by offering the subprotocols \
`seiketsu` and `seiketsu.token.TOKEN`. A refused handshake is answered with the status and \
the body of every error.

Messages are JSON objects in text frames, told apart by `type`:

| from you | fields | answered by |
|---|---|---|
| `synthesize` | `text`; `language`, `format` (`mp3`), `optimize_for_speed`, `enable_caching` as \
in `POST /synthesize`; `command_id` | `audio_response` or `error` |
| `ping` | `command_id` | `pong`, at once |
| `get_stats` | `command_id` | `session_stats` |

| from the gateway | fields |
|---|---|
| `connection_established` | `session_id`, `voice_agent_id`, `language`, `capabilities`, \
`server_time_unix_s` |
| `audio_response` | `audio_data` (the whole file, hexadecimal), `metadata`, `command_id` |
| `pong` | `server_time_unix_s`, `command_id` |
| `session_stats` | what this session has done, `command_id` |
| `error` | `code`, `message`, `action`, `retryable`, `request_id`, `command_id` |

Texts are spoken in the order they were sent; eight may wait, the next gets `session_busy`. \
`command_id` (1 to 64 characters) is yours and comes back in the answer. A frame of yours may have \
64 KB; audio over 900,000 bytes of JSON is answered by `frame_too_large`.

| closed with | when |
|---|---|
| 1000 | nobody sent anything for ten minutes (the operator may choose another time) |
| 1001 | the gateway is going to end; what was asked before is answered first |
| 1007 | a text frame was not UTF-8 |
| 1008 | 20 messages in a row could not be read |
| 1009 | a frame was larger than 64 KB |
| 1011 | a fault of the gateway, or no answer to its pings |
| 1012 | the gateway ended before the session could |
| 1006 | you took nothing for 30 seconds: the connection is cut |
"""
