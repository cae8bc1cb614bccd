"""One conversation with the voice provider's WebSocket, and how it ended."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import aiohttp
import msgspec

from gateway.commands.base import CommandFailed

_CONTEXT: Final = "verify"
_WHOLE_S: Final = 30.0
_MOST_FRAMES: Final = 1_000
_MOST_FRAME_BYTES: Final = 4 * 1024 * 1024


class Conversation(msgspec.Struct):
    """What came back. A frame that is no JSON object is kept as None."""

    status: int = 101
    frames: list[dict[str, Any] | None] = msgspec.field(default_factory=list)
    first_frame_ms: float | None = None
    """From the last message sent."""
    close_code: int | None = None
    """None: it was lost without a close frame."""
    reason: str = ""


async def converse(
    http: aiohttp.ClientSession, url: str, headers: dict[str, str], text: str
) -> Conversation:
    """Open a context, have `text` spoken (empty: none), and read until the provider closes.

    Raises:
        aiohttp.ClientError: there is no connection; a refused handshake is a status instead.
        TimeoutError: it is not closed within 30 s.
        CommandFailed: it sends without end.
    """
    found = Conversation()
    timeout = aiohttp.ClientWSTimeout(ws_close=5.0)
    async with asyncio.timeout(_WHOLE_S):
        try:
            socket = await http.ws_connect(
                url, headers=headers, max_msg_size=_MOST_FRAME_BYTES, timeout=timeout
            )
        except aiohttp.WSServerHandshakeError as error:
            found.status = error.status
            return found
        async with socket:
            await socket.send_json({"text": " ", "context_id": _CONTEXT})
            if text:
                await socket.send_json({"text": text, "context_id": _CONTEXT, "flush": True})
                await socket.send_json({"context_id": _CONTEXT, "close_context": True})
            await _read(socket, found)
    return found


async def _read(socket: aiohttp.ClientWebSocketResponse, found: Conversation) -> None:
    started_s = time.perf_counter()
    while True:
        received = await socket.receive()
        if received.type is not aiohttp.WSMsgType.TEXT:
            break
        if found.first_frame_ms is None:
            found.first_frame_ms = round((time.perf_counter() - started_s) * 1000, 1)
        if len(found.frames) == _MOST_FRAMES:
            raise CommandFailed("The provider's socket sends without end.")
        found.frames.append(_object(received.data))
        if is_final(found.frames[-1]):
            await socket.send_json({"close_socket": True})
    if received.type is aiohttp.WSMsgType.CLOSE:
        found.close_code, found.reason = received.data, received.extra or ""


def is_final(frame: dict[str, Any] | None) -> bool:
    """Whether it tells that the context's audio is complete."""
    return frame is not None and (frame.get("isFinal") is True or frame.get("is_final") is True)


def _object(data: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.MsgspecError:
        return None
