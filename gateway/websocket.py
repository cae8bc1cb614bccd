"""uvicorn's WebSocket protocol with bounds on clients that only write.

uvicorn itself answers pings however much waits to be sent already, and collects the pieces of a
message however many there are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

_MAX_PIECES: Final = 256
"""Frames that one message may come in."""

ANSWER_S: Final = 1.0
"""A client that is there answers a ping within this; one that comes back waits no longer."""
_IS_THERE: Final = "seiketsu.is_there"

_log = logging.getLogger("uvicorn.websocket")


def take_is_there(scope: Any) -> Callable[[], Awaitable[bool]] | None:
    """What asks the client of a connection for a sign of life; to be taken once, since a scope that
    held its own connection would have to be found by the garbage collector."""
    found: Callable[[], Awaitable[bool]] | None = scope.get("extensions", {}).pop(_IS_THERE, None)
    return found


def edge_websocket(send_stall_s: float) -> type[WebSocketsSansIOProtocol]:
    """A class for `uvicorn.Config(ws=...)`.

    While more waits to be sent than the transport's limit (64 KB) nothing is read from the client;
    after `send_stall_s` of that the connection is reset. Lines about handshakes are not logged:
    their URLs may carry a token, and at level debug the frames carry texts.
    """

    class EdgeWebSocket(WebSocketsSansIOProtocol):
        _stall: asyncio.TimerHandle | None = None
        _asked: asyncio.Event | None = None

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if _log.level == logging.NOTSET:
                _log.setLevel(logging.WARNING)
            self.logger = _log
            self.conn.logger = _log
            self.conn.debug = False

        def handle_connect(self, event: Request) -> None:
            super().handle_connect(event)
            if not self.close_sent:
                extensions: Any = self.scope["extensions"]
                extensions[_IS_THERE] = self.is_there

        def data_received(self, data: bytes) -> None:
            self._end_asking()
            super().data_received(data)

        async def is_there(self) -> bool:
            """Whether the client gives a sign of life within `ANSWER_S`."""
            if self.conn.state is State.CONNECTING or self.read_paused:
                return True  # it has only begun, or sent what is still to be read
            if self.conn.state is not State.OPEN or self.transport.is_closing():
                return False
            if self._asked is None:
                self._asked = asyncio.Event()
                self.conn.send_ping(b"")
                self.transport.write(b"".join(self.conn.data_to_send()))
            asked = self._asked
            try:
                async with asyncio.timeout(ANSWER_S):
                    await asked.wait()
            except TimeoutError:
                return False
            finally:
                if self._asked is asked:
                    self._asked = None
            return self.conn.state is State.OPEN and not self.disconnected

        async def send(self, message: Any) -> None:
            await self.writable.wait()
            if self.close_sent and self.handshake_complete:
                # The server itself has begun to close; uvicorn would call it a fault of ours.
                raise ClientDisconnected
            await super().send(message)
            if message["type"] == "websocket.accept" and self.handshake_complete:
                # They have been read: 5 KB of every session, or as much as a stranger sends.
                self.scope["headers"] = []
                self.request.headers.clear()
                self.response.headers.clear()
            if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
                # A handshake refused with a body is complete; uvicorn would log it as an error.
                self.handshake_complete = True

        def pause_writing(self) -> None:
            super().pause_writing()
            if not self.transport.is_closing():
                self.transport.pause_reading()
            if self._stall is None:
                self._stall = self.loop.call_later(send_stall_s, self.transport.abort)

        def resume_writing(self) -> None:
            self._drop_stall()
            super().resume_writing()
            if not self.read_paused and not self.transport.is_closing():
                self.transport.resume_reading()

        def connection_lost(self, exc: Exception | None) -> None:
            self._drop_stall()
            self._end_asking()
            if self.conn.close_rcvd is None:
                # uvicorn says 1005, as of a client that has closed without a code.
                self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
            super().connection_lost(exc)

        def handle_cont(self, event: Frame) -> None:
            if len(self.frames) >= _MAX_PIECES:
                self.conn.fail(1008, "a message in too many pieces")
                self.handle_parser_exception()
                return
            super().handle_cont(event)

        def _end_asking(self) -> None:
            if self._asked is not None:
                self._asked.set()
                self._asked = None

        def _drop_stall(self) -> None:
            if self._stall is not None:
                self._stall.cancel()
                self._stall = None

    return EdgeWebSocket
