"""The few pieces of HTTP that plain ASGI routes need."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from litestar.types import Receive, Scope, Send

from core.audio.formats import FORMATS
from core.errors import BodyTooLarge
from gateway.errors import Headers, MethodNotAllowed, UnsupportedMediaType

JSON_TYPE: Final = (b"content-type", b"application/json")

HeaderMap = Mapping[bytes, bytes]


class ClientGone(Exception):
    """The client closed its connection; nobody is left to answer."""


async def send_reply(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a whole reply; `headers` must name its length."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def require_post(scope: Scope) -> None:
    """Refuse any other method; a plain ASGI route gets them all.

    Raises:
        MethodNotAllowed: the method is not POST.
    """
    if scope.get("method") != "POST":
        raise MethodNotAllowed()


@lru_cache(maxsize=64)
def _is_json(content_type: bytes) -> bool:
    kind, _, parameters = content_type.partition(b";")
    if kind.strip().lower() != b"application/json":
        return False
    charset = parameters.strip().lower().replace(b'"', b"")
    return not charset.startswith(b"charset=") or charset == b"charset=utf-8"


def require_json(headers: HeaderMap) -> None:
    """Refuse bodies that do not say they are JSON; a web page's form cannot say so.

    Raises:
        UnsupportedMediaType: another content type, or a compressed body.
    """
    content_type = headers.get(b"content-type", b"")
    if len(content_type) > 128 or not _is_json(content_type) or b"content-encoding" in headers:
        raise UnsupportedMediaType()


async def read_body(receive: Receive, headers: HeaderMap, limit_bytes: int) -> bytes:
    """The whole request body.

    Raises:
        BodyTooLarge: it is larger than `limit_bytes`; no more than that is held.
        ClientGone: the client left, or `gateway.protocol` closed a connection that took too long.
    """
    announced = headers.get(b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit_bytes:
        raise _too_large(limit_bytes)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        body = message["body"]
        size += len(body)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        if not message["more_body"]:
            return b"".join([*parts, body]) if parts else body
        parts.append(body)


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit_bytes} bytes.")


@lru_cache(maxsize=256)
def wanted_audio(accept: bytes) -> str | None:
    """Which audio an Accept header prefers over JSON.

    The short name of a format (`pcm` and the telephone's also with the asked rate, `pcm_16000`),
    `ANY_AUDIO`, `NOT_MADE` when it accepts nothing but audio that is not made here, or None for
    JSON. The first of equal quality wins; `*/*` means JSON, as does no header at all.
    """
    best_quality, best = 0.0, None
    not_made = False
    for item in accept.decode("latin-1").lower().split(","):
        kind, *pairs = (part.strip() for part in item.split(";"))
        parameters = dict(_parameter(pair) for pair in pairs)
        quality = _quality(parameters.get("q", "1"))
        name: str | None = None
        if kind.startswith("audio/"):
            name = _format_of(kind, parameters)
            if name is None:
                not_made = not_made or quality > 0
                continue
        elif kind not in ("application/json", "application/*", "*/*"):
            continue
        if quality > best_quality:
            best_quality, best = quality, name
    return NOT_MADE if not_made and best_quality == 0 else best


def _parameter(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name.strip(), value.strip().strip('"')


def _quality(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0


def _format_of(kind: str, parameters: Mapping[str, str]) -> str | None:
    name = _AUDIO_TYPES.get(kind)
    if name in _BARE and "rate" in parameters:
        name = f"{name}_{parameters['rate']}"
        return name if name in FORMATS else None
    if name == "ogg" and parameters.get("codecs", "opus") != "opus":
        return None
    return name


ANY_AUDIO: Final = "any"
NOT_MADE: Final = "not made"

_AUDIO_TYPES: Final = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/x-wav": "wav",
    "audio/vnd.wave": "wav",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/pcm": "pcm",
    "audio/basic": "ulaw",
    "audio/pcmu": "ulaw",
    "audio/x-alaw-basic": "alaw",
    "audio/pcma": "alaw",
    "audio/*": ANY_AUDIO,
}
"""audio/L16 is not among them: its samples are big endian."""

_BARE: Final = ("pcm", "ulaw", "alaw")
"""Without a header that tells the rate."""
