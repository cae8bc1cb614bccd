"""Sending audio while it is being made, to a client that may leave, stall or never have been there.

The headers go out with the first piece, so whatever fails before it still gets a proper error body.
After it a failure ends the connection without the closing chunk: the client's HTTP library reports
an incomplete reply, and half a sentence is never taken for a whole one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeVar

import structlog
from litestar.types import Receive, Send

from core.errors import BadAudio
from gateway.errors import Headers
from gateway.http import ClientGone

CLOSE_TIMEOUT_S: Final = 5.0
"""Longest time that work whose client has left may take to end."""

T = TypeVar("T")

_log = structlog.get_logger("seiketsu.gateway")


class StreamBroken(Exception):
    """The audio failed after its first piece was sent; the cause is chained.

    Whoever catches it returns without another `send`: the server then closes the connection in the
    middle of the reply.
    """


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` as long as the client is there; leaves no task behind, however it ends.

    Raises:
        ClientGone: the client left; `work` was cancelled and has ended.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        await _end(working, watching)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Task[Any]) -> None:
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        _, late = await asyncio.wait(running, timeout=CLOSE_TIMEOUT_S)
        if late:
            _log.error("work_does_not_end", tasks=len(late))
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception() is not None:
            # Seen here, so that asyncio does not report it as lost when nobody is left to tell.
            task.exception()


async def send_audio(
    send: Send, chunks: AsyncGenerator[bytes, None], head: Callable[[], Headers]
) -> int:
    """Send every piece as it comes and return the bytes sent; `chunks` is closed in any case.

    `head` is asked for the headers when the first piece is there.

    Raises:
        StreamBroken: a failure after the first piece.
        Exception: whatever `chunks` raised before it; nothing has been sent then.
        BadAudio: `chunks` ended without a piece.
    """
    sent_bytes = 0
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                if not chunk:
                    continue
                if not sent_bytes:
                    await send({"type": "http.response.start", "status": 200, "headers": head()})
                sent_bytes += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except Exception as error:
        if sent_bytes:
            raise StreamBroken from error
        raise
    if not sent_bytes:
        raise BadAudio("The speech held no audio.", provider="gateway")
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return sent_bytes
