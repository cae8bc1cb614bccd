"""The connection of one session: the two ASGI callables, with their bounds."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from litestar.types import Receive, Send

from gateway.errors import error_reply

Close = tuple[int, str]
"""Code and reason."""
_ORDERLY: Final = frozenset({1000, 1001, 1005})
"""Codes of clients that will not come back to their session."""
_LAST_WORD_S: Final = 0.1


class Wire:
    """The two ASGI callables of one connection, with their bounds."""

    __slots__ = (
        *("_kept", "_receive", "_send", "_waiting", "_woken"),
        *("accepted", "fenced", "gone", "leaving", "orderly"),
    )

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive: Any = receive
        self._send: Any = send
        self._kept: Any = None
        self._waiting: asyncio.Timeout | None = None
        self._woken = False
        self.accepted = False
        self.leaving = False
        """The session was asked to come to its close."""
        self.fenced = False
        """Another connection goes on with the session."""
        self.gone = False
        """The client is not there any more."""
        self.orderly = False
        """It has closed its session."""

    async def receive(self, within_s: float) -> Any:
        """The next message; None when none came in time or somebody woke the reader."""
        if self._woken:
            return None
        if self._kept is not None:
            message, self._kept = self._kept, None
            return message
        try:
            async with asyncio.timeout(within_s) as self._waiting:
                message = await self._receive()
                if message["type"] != "websocket.receive":
                    self.note_goodbye(message)
                return message
        except TimeoutError:
            return None
        finally:
            self._waiting = None

    def keep(self, message: Any) -> None:
        """Give that message to the next who receives: it came just as the reader was woken."""
        self._kept = message

    def wake(self) -> None:
        """Let the reader look up from its waiting, now and from now on."""
        if self._woken:
            return
        self._woken = True
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    def listen_on(self) -> None:
        """Let the reader wait again; to be called once it knows why it was woken."""
        self._woken = False

    def leave(self) -> None:
        """Ask the session to come to its close."""
        self.leaving = True
        self.wake()

    def fence(self) -> None:
        """Another connection goes on with the session."""
        self.fenced = True
        self.wake()

    def note_goodbye(self, message: Any) -> None:
        """The client is gone, which is what the message says. The first counts: the server tells of
        a lost connection twice, and the second time as of one that was closed."""
        if self.gone:
            return
        self.gone = True
        self.orderly = message.get("code") in _ORDERLY

    async def listen_for_goodbye(self) -> None:
        """Find out whether a client that is gone has closed its session."""
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                while not self.gone:
                    message = await self._receive()
                    if message["type"] != "websocket.receive":
                        self.note_goodbye(message)
        except TimeoutError:
            self.gone = True

    async def send(self, event: Any) -> None:
        """Send an ASGI event. Raises `OSError` when the client left."""
        await self._send(event)

    async def send_frame(self, data: bytes, *, binary: bool) -> None:
        """Send a frame. Raises `OSError` when the client left."""
        if binary:
            await self._send({"type": "websocket.send", "bytes": data})
        else:
            await self._send({"type": "websocket.send", "text": data.decode()})

    async def close(self, how: Close, within_s: float, first: bytes | None = None) -> None:
        """Say goodbye, if the client still listens; `first` an event."""
        code, reason = how
        try:
            async with asyncio.timeout(within_s):
                if first is not None:
                    await self.send_frame(first, binary=False)
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (OSError, TimeoutError):
            return

    async def refuse(self, error: Exception, request_id: str) -> None:
        """Answer the handshake with the status and the body that every error has."""
        status, headers, body = error_reply(error, request_id)
        prefix = "websocket.http.response"
        try:
            await self._send({"type": f"{prefix}.start", "status": status, "headers": headers})
            await self._send({"type": f"{prefix}.body", "body": body, "more_body": False})
        except OSError:
            return
