"""`/streaming/stream/{session_id}`: a conversation over a WebSocket, as plain ASGI.

The handler is the reader: a quiet session has no task but this one. The messages and the codes that
a session is closed with are described in `gateway/docs/session.py`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec
from litestar.enums import ScopeType
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import Receive, Scope, Send

from core.conversation.events import encode_event, error_event
from core.conversation.journal import Journal
from core.conversation.journal_records import restored
from core.conversation.journal_store import Hold, new_token
from core.conversation.outbox import ClientLost, Outbox
from core.conversation.parts import SessionParts
from core.conversation.registry import Connection
from core.conversation.session import Session
from core.conversation.state import SessionState
from core.errors import (
    Busy,
    ClientTooSlow,
    SeiketsuError,
    SessionExpired,
    SessionInUse,
    TakenOver,
)
from gateway.edge import Edge
from gateway.errors import (
    PathNotFound,
    UpgradeRequired,
    error_reply,
    log_unexpected,
    new_request_id,
)
from gateway.handshake import (
    Opening,
    accept_event,
    fixed,
    is_session_path,
    open_session,
    redeem,
)
from gateway.http import send_reply
from gateway.session_reading import Reading
from gateway.session_wire import Close, Wire
from gateway.websocket import take_is_there

FINISH_SHARE: Final = 0.75
"""Of SEIKETSU_DRAIN: how long a session may still speak what was asked when the gateway is going to
end. What is left then is answered with `busy`."""
STOP_SHARE: Final = 0.4
"""Of SEIKETSU_DRAIN: how long a session that can be regained may go on with an utterance."""
CLAUSE_SHARE: Final = 0.4
"""Of SEIKETSU_DRAIN: how long it may then take to the end of a clause; the rest goes elsewhere."""
SLOW_SHARE: Final = 2 / 3
"""Of SEIKETSU_SEND_STALL: a client that did not take for so long what waits for it is told that it
reads too slowly. The rest of the time it has to hear that, then the connection is cut."""

IDLE: Final[Close] = (1000, "nothing was sent for too long")
GOING_AWAY: Final[Close] = (1012, "the gateway is going to end; connect again")
HANDED_OVER: Final[Close] = (1012, "the gateway is going to end; the session goes on elsewhere")
TAKEN_OVER: Final[Close] = (4009, "another connection goes on with this session")
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
        max_frame_bytes=edge.settings.gateway.max_frame_bytes,
        max_waiting=edge.settings.gateway.session_queue,
    )


async def _serve(
    edge: Edge, parts: SessionParts, scope: Scope, receive: Receive, send: Send
) -> None:
    wire = Wire(receive, send)
    is_there = take_is_there(scope)
    try:
        if (await receive())["type"] != "websocket.connect":
            return
        if edge.draining.is_set():
            raise Busy("This gateway is going to end.", retry_after_s=1)
        opening = await open_session(edge, scope)
        connection = _connection(opening)
        connection.is_there = is_there
        takes_over = opening.resume_token is not None
        with edge.sessions.enter(connection, takes_over=takes_over, beside=opening.beside):
            await redeem(edge, opening)
            state, journal = await _begin(edge, opening)
            connection.journal = journal
            await wire.send(accept_event(opening))
            wire.accepted = True
            await _converse(edge, parts, state, connection, wire, journal, expired=opening.expired)
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


async def _begin(edge: Edge, opening: Opening) -> tuple[SessionState, Journal]:
    """A new session, or what there is of the one that is taken over.

    Raises:
        SessionInUse: another was faster.
        SessionExpired: another version of the gateway has written what there is.
        StoreError: the state database does not answer.
    """
    journals, session_id = edge.journals, opening.session_id
    tenant, key_id = opening.principal.tenant, opening.principal.key_id
    if opening.resume_token is None:
        state = SessionState(session_id, tenant, opening.config)
        return state, Journal(state, Hold(tenant, session_id, new_token()), journals, key_id)
    taken = await journals.take(tenant, session_id, opening.resume_token)
    if taken is None:
        raise SessionInUse()
    try:
        state = restored(session_id, tenant, taken.fields, opening.last_sequence)
    except msgspec.MsgspecError as error:
        raise SessionExpired() from error
    state.config = fixed(state.config, opening)
    return state, Journal(state, taken.hold, journals, key_id, resumed=True)


async def _converse(
    edge: Edge,
    parts: SessionParts,
    state: SessionState,
    connection: Connection,
    wire: Wire,
    journal: Journal,
    *,
    expired: bool,
) -> None:
    gateway = edge.settings.gateway
    slow_s = gateway.send_stall_s * SLOW_SHARE
    outbox = Outbox(
        wire.send_frame, slow_s=slow_s, next_sequence=state.next_sequence, on_lost=wire.wake
    )
    session = Session(state, connection, parts, outbox, journal=journal)
    ending: Close | None = None
    connection.end = wire.leave
    journal.on_fenced = wire.fence
    if edge.draining.is_set():  # since the handshake began
        wire.leave()
    try:
        await session.greet()
        if expired:
            await session.refuse(SessionExpired())
        ending = await _read(session, outbox, wire, gateway.session_idle_s)
        if ending is GOING_AWAY:
            ending = None  # cut short, it can be regained
            ending = await _leave(session, outbox, wire, gateway.drain_s)
        if ending is TAKEN_OVER:
            session.silence()
            await session.refuse(TakenOver())
        if ending is not None:
            await outbox.flush()
        elif journal.active:
            await wire.listen_for_goodbye()
    except ClientLost:
        ending = None
        await wire.listen_for_goodbye()
    finally:
        connection.end = None
        over = wire.orderly or ending in (IDLE, BAD_MESSAGES, GOING_AWAY)
        edge.journals.part(journal, ended=over)
        await session.aclose()
    if outbox.too_slow:
        event = error_event(ClientTooSlow())
        event.sequence = state.next_sequence()
        await wire.close(TOO_SLOW, gateway.send_stall_s - slow_s, first=encode_event(event))
    elif ending is not None:
        await wire.close(ending, gateway.send_stall_s)


async def _read(session: Session, outbox: Outbox, wire: Wire, idle_s: float) -> Close | None:
    """Read commands until the session ends; how it is to be closed, None when the client left."""
    reading = Reading(session.handle, session.refuse)
    while True:
        message = await wire.receive(idle_s)
        if outbox.lost:
            return None
        if wire.fenced:
            return TAKEN_OVER
        if wire.leaving:
            wire.keep(message)
            return GOING_AWAY
        if message is None:
            if session.speaking:
                continue
            return IDLE
        if message["type"] != "websocket.receive":
            wire.note_goodbye(message)
            return None
        if not await reading.take(message):
            return BAD_MESSAGES


async def _leave(session: Session, outbox: Outbox, wire: Wire, drain_s: float) -> Close | None:
    """Come to the end of a session whose gateway is going to end, and listen meanwhile; as `_read`.

    Raises:
        ClientLost: the client cannot be reached any more.
    """
    reading = Reading(session.handle_leaving, session.refuse)
    leaving = asyncio.create_task(_bring_to_end(session, drain_s), name="session-leaving")
    leaving.add_done_callback(lambda _: wire.wake())
    try:
        await asyncio.sleep(0)  # it has begun: what was read already is not refused, but goes on
        while not leaving.done():
            if outbox.lost:
                return None
            if wire.fenced:
                return TAKEN_OVER
            wire.listen_on()
            message = await wire.receive(drain_s)
            if message is None:
                continue
            if message["type"] != "websocket.receive":
                wire.note_goodbye(message)
                return None
            if not await reading.take(message):
                return BAD_MESSAGES
        return TAKEN_OVER if wire.fenced else leaving.result()
    finally:
        if leaving.cancel():
            await asyncio.wait((leaving,))
        if not leaving.cancelled():
            leaving.exception()  # that the client is lost is known here too


async def _bring_to_end(session: Session, drain_s: float) -> Close:
    began_s = time.monotonic()
    if await session.hand_over(drain_s * STOP_SHARE, drain_s * CLAUSE_SHARE):
        return HANDED_OVER
    await session.finish(max(0.0, drain_s * FINISH_SHARE - (time.monotonic() - began_s)))
    return GOING_AWAY


async def _not_a_websocket(scope: Scope, send: Send) -> None:
    here = is_session_path(scope)
    error = UpgradeRequired() if here else PathNotFound()
    status, headers, body = error_reply(error, new_request_id())
    if here:
        headers += [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    await send_reply(send, status, headers, body)
