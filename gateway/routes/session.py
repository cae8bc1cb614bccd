"""`/streaming/stream/{session_id}`: a conversation over a WebSocket, as plain ASGI.

The handler is the reader: a quiet session has no task but this one. The messages and the codes that
a session is closed with are described in `gateway/docs/session.py`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import Receive, Scope, Send

from core.conversation.commands import decode_command
from core.conversation.events import encode_event, error_event
from core.conversation.outbox import ClientLost, Outbox
from core.conversation.parts import SessionParts
from core.conversation.registry import Connection
from core.conversation.session import Session
from core.conversation.state import SessionState
from core.errors import Busy, ClientTooSlow, InvalidRequest, SeiketsuError
from gateway.edge import Edge
from gateway.errors import (
    PathNotFound,
    UpgradeRequired,
    error_reply,
    log_unexpected,
    new_request_id,
)
from gateway.handshake import Opening, accept_event, is_session_path, open_session
from gateway.http import send_reply
from gateway.websocket import MAX_FRAME_BYTES

MAX_BAD_MESSAGES: Final = 20
"""Messages in a row that cannot be read; then the session is closed."""
FINISH_SHARE: Final = 0.75
"""Of SEIKETSU_DRAIN: how long a session may still speak what was asked when the gateway is going to
end. What is left then is answered with `busy`."""
SLOW_SHARE: Final = 2 / 3
"""Of SEIKETSU_SEND_STALL: a client that did not take for so long what waits for it is told that it
reads too slowly. The rest of the time it has to hear that, then the connection is cut."""

Close = tuple[int, str]
IDLE: Final[Close] = (1000, "nothing was sent for too long")
GOING_AWAY: Final[Close] = (1001, "the gateway is going to end; connect again")
BAD_MESSAGES: Final[Close] = (1008, "too many messages that cannot be read")
TOO_SLOW: Final[Close] = (4008, "what waited was not read in time")
FAULT: Final[Close] = (1011, "a fault of the gateway")


def session_routes(edge: Edge) -> list[ASGIRouteHandler]:
    """The WebSocket route."""
    shared: list[SessionParts] = []

    # Mounted, since Litestar finds no plain route with a parameter for a request over HTTP.
    @asgi("/streaming/stream", name="stream_session", is_mount=True, copy_scope=False)
    async def stream_session(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            await _not_a_websocket(scope, send)
            return
        if not shared or shared[0].service is not edge.runtime.service:
            shared[:] = [_parts(edge)]
        await _serve(edge, shared[0], scope, receive, send)

    return [stream_session]


def _parts(edge: Edge) -> SessionParts:
    return SessionParts(
        service=edge.runtime.service,
        recorder=edge.runtime.recorder,
        place=edge.place,
        new_request_id=new_request_id,
        report=log_unexpected,
        max_text_chars=edge.settings.speech.max_text_chars,
        max_frame_bytes=MAX_FRAME_BYTES,
    )


async def _serve(
    edge: Edge, parts: SessionParts, scope: Scope, receive: Receive, send: Send
) -> None:
    wire = _Wire(receive, send)
    try:
        if (await receive())["type"] != "websocket.connect":
            return
        if edge.draining.is_set():
            raise Busy("This gateway is going to end.", retry_after_s=1)
        opening = await open_session(edge, scope)
        connection = _connection(opening)
        state = SessionState(opening.session_id, opening.principal.tenant, opening.config)
        with edge.sessions.enter(connection):
            await wire.send(accept_event(opening))
            wire.accepted = True
            await _converse(edge, parts, state, connection, wire)
    except (OSError, ClientLost):
        return  # the client left
    except Exception as error:
        request_id = new_request_id()
        if wire.accepted:
            log_unexpected(error, request_id)
            await wire.close(FAULT, edge.settings.gateway.send_stall_s)
            return
        code = error.code if isinstance(error, SeiketsuError) else "internal_error"
        parts.recorder.refuse(code)
        await wire.refuse(error, request_id)


def _connection(opening: Opening) -> Connection:
    return Connection(
        session_id=opening.session_id,
        tenant=opening.principal.tenant,
        key_id=opening.principal.key_id,
        voice_agent_id=opening.config.voice_agent_id,
        language=opening.config.language,
        connected_unix_s=time.time(),
    )


async def _converse(
    edge: Edge, parts: SessionParts, state: SessionState, connection: Connection, wire: _Wire
) -> None:
    gateway = edge.settings.gateway
    slow_s = gateway.send_stall_s * SLOW_SHARE
    outbox = Outbox(
        wire.send_frame, slow_s=slow_s, next_sequence=state.next_sequence, on_lost=wire.wake
    )
    session = Session(state, connection, parts, outbox)
    ending: Close | None = None
    connection.end = wire.leave
    if edge.draining.is_set():  # since the handshake began
        wire.leave()
    try:
        await session.greet()
        ending = await _read(session, outbox, wire, gateway.session_idle_s)
        if ending is GOING_AWAY:
            await session.finish(gateway.drain_s * FINISH_SHARE)
        elif ending is not None:
            await outbox.flush()
    except ClientLost:
        ending = None
    finally:
        connection.end = None
        await session.aclose()
    if outbox.too_slow:
        event = error_event(ClientTooSlow())
        event.sequence = state.next_sequence()
        await wire.close(TOO_SLOW, gateway.send_stall_s - slow_s, first=encode_event(event))
    elif ending is not None:
        await wire.close(ending, gateway.send_stall_s)


async def _read(session: Session, outbox: Outbox, wire: _Wire, idle_s: float) -> Close | None:
    """Read commands until the session ends; how it is to be closed, None when the client left."""
    bad = 0
    while True:
        message = await wire.receive(idle_s)
        if outbox.lost:
            return None
        if wire.leaving:
            return GOING_AWAY
        if message is None:
            if session.speaking:
                continue
            return IDLE
        if message["type"] != "websocket.receive":
            return None
        try:
            text = message.get("text")
            if text is None:
                raise InvalidRequest("Commands are JSON in text frames; this frame is binary.")
            command = decode_command(text)
        except InvalidRequest as error:
            bad += 1
            await session.refuse(error)
            if bad >= MAX_BAD_MESSAGES:
                return BAD_MESSAGES
            continue
        bad = 0
        await session.handle(command)


class _Wire:
    """The two ASGI callables of one connection, with their bounds."""

    __slots__ = ("_receive", "_send", "_waiting", "_woken", "accepted", "leaving")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive: Any = receive
        self._send: Any = send
        self._waiting: asyncio.Timeout | None = None
        self._woken = False
        self.accepted = False
        self.leaving = False
        """The session was asked to come to its close."""

    async def receive(self, within_s: float) -> Any:
        """The next message; None when none came in time or somebody woke the reader."""
        if self._woken:
            return None
        try:
            async with asyncio.timeout(within_s) as self._waiting:
                return await self._receive()
        except TimeoutError:
            return None
        finally:
            self._waiting = None

    def wake(self) -> None:
        """Let the reader look up from its waiting, now and from now on."""
        if self._woken:
            return
        self._woken = True
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    def leave(self) -> None:
        """Ask the session to come to its close."""
        self.leaving = True
        self.wake()

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


async def _not_a_websocket(scope: Scope, send: Send) -> None:
    here = is_session_path(scope)
    error = UpgradeRequired() if here else PathNotFound()
    status, headers, body = error_reply(error, new_request_id())
    if here:
        headers += [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    await send_reply(send, status, headers, body)
