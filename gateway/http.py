"""The few pieces of HTTP that plain ASGI routes need."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from litestar.types import Receive, Scope, Send

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
    """Which audio type an Accept header prefers over JSON: `mp3`, `wav`, `pcm`, `any`, or None.

    The first of equal quality wins; `*/*` means JSON, as does no header at all.
    """
    best: tuple[float, str | None] = (0.0, None)
    for item in accept.decode("latin-1").lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        known = _AUDIO_TYPES.get(kind)
        if known is None and kind not in ("application/json", "application/*", "*/*"):
            known = "any" if kind.startswith("audio/") else ""
        if known != "" and quality > best[0]:
            best = (quality, known)
    return best[1]


_AUDIO_TYPES: Final = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/x-wav": "wav",
    "audio/vnd.wave": "wav",
    "audio/pcm": "pcm",
    "audio/l16": "pcm",
    "audio/*": "any",
}
