"""How a WebSocket to ElevenLabs is opened, and what it means when the answer is none."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from core.errors import ProviderUnavailable
from core.providers.elevenlabs_frames import MAX_FRAME_BYTES
from core.providers.elevenlabs_wire import error_of
from core.providers.elevenlabs_words import PROVIDER

_CONNECT_S: Final = 5.0
"""Longest handshake; a caller waits no longer than its own deadline."""
_HEARTBEAT_S: Final = 20.0
"""Pause between pings on a socket where nothing else happens: finds the half-open ones."""
_CLOSE_S: Final = 0.3
"""Longest wait for the vendor's close frame."""
_ERROR_BODY_BYTES: Final = 64 * 1024


class _Refused(aiohttp.ClientError):
    """The handshake was answered with something else than a WebSocket."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def open_session(api_key: str) -> aiohttp.ClientSession:
    """What sockets are opened with; whoever has it bounds their number and closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        headers={"xi-api-key": api_key},
        middlewares=(_only_websockets,),
    )


async def shake_hands(
    session: aiohttp.ClientSession, url: str
) -> aiohttp.ClientWebSocketResponse[bool]:
    """Open one socket.

    Raises:
        ProviderError: the vendor refused, cannot be reached or took too long.
    """
    try:
        async with asyncio.timeout(_CONNECT_S):
            return await session.ws_connect(
                url,
                compress=0,
                max_msg_size=MAX_FRAME_BYTES,
                autoping=False,
                heartbeat=_HEARTBEAT_S,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
            )
    except _Refused as refused:
        raise error_of(refused.status, refused.body) from refused
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise ProviderUnavailable(
            f"ElevenLabs cannot be reached ({type(error).__name__}).", provider=PROVIDER
        ) from error


async def _only_websockets(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Refuse every other answer: a redirect would carry the key to wherever it points, and the
    vendor's error stands in the body."""
    response = await handler(request)
    if response.status == 101:
        return response
    try:
        body = await response.content.read(_ERROR_BODY_BYTES)
    finally:
        response.close()
    raise _Refused(response.status, body)
