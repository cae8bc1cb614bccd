"""`/v1/text-to-speech/{voice_id}/stream-input` and `/multi-stream-input`: upgrade and close."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from aiohttp import WSMsgType, web

from benchmarks.emulator.errors import ERRORS, Refusal, Unprocessable
from benchmarks.emulator.faults import AT_HANDSHAKE, SOCKET_ROUTES
from benchmarks.emulator.routes.answering import Handler
from benchmarks.emulator.sending import LONGEST_HANG_S, hang_up, reset
from benchmarks.emulator.sockets.asked import SocketAsked, public_query, read_upgrade
from benchmarks.emulator.sockets.ending import Ends
from benchmarks.emulator.sockets.frames import close_reason
from benchmarks.emulator.sockets.line import Line
from benchmarks.emulator.sockets.log import SocketNote
from benchmarks.emulator.state import Emulator, state_of

_HANDSHAKE_S: Final = 0.21
"""192-228 ms from the upgrade request to a usable socket, as recorded."""
_CLOSE_S: Final = 1.0
"""How long the client's own close frame is waited for."""
_MAX_MESSAGE_BYTES: Final = 1024 * 1024


def add_routes(app: web.Application) -> None:
    """Both sockets."""
    for route in SOCKET_ROUTES:
        app.router.add_get(f"/v1/text-to-speech/{{voice_id}}/{route}", _handler(route))


def _handler(route: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        emulator = state_of(request)
        if not web.WebSocketResponse().can_prepare(request).ok:
            return emulator.answer({"detail": "Not Found"}, 404)
        voice_id = request.match_info["voice_id"]
        note = emulator.sockets.begin(route, voice_id, public_query(request))
        try:
            asked = read_upgrade(request, emulator.account.plan.rank)
            await _handshake(request, emulator, note)
            return await _serve(request, emulator, asked, note)
        except Refusal as refusal:
            note.status, note.error = refusal.http_status, refusal.kind.code or refusal.code
            return emulator.answer(refusal.body(secrets.token_hex(16)), refusal.http_status)
        except Unprocessable as wrong:
            note.status, note.error = 422, "unprocessable"
            return emulator.answer({"detail": list(wrong.fields)}, 422)
        finally:
            emulator.sockets.closed(note)

    return handle


async def _handshake(request: web.Request, emulator: Emulator, note: SocketNote) -> None:
    """The time it takes, and its faults.

    Raises:
        Refusal: the fault is one of the vendor's errors.
    """
    if emulator.settings.latency != "none":
        await asyncio.sleep(_HANDSHAKE_S)
    fault = emulator.faults.draw(note.route, note.voice_id, among=AT_HANDSHAKE)
    if fault is None:
        return
    note.fault = fault.kind
    if fault.kind in ERRORS:
        raise Refusal(fault.kind)
    delay_s = LONGEST_HANG_S if fault.delay_ms is None else fault.delay_ms / 1000
    await asyncio.sleep(delay_s)


async def _serve(
    request: web.Request, emulator: Emulator, asked: SocketAsked, note: SocketNote
) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(
        timeout=_CLOSE_S, compress=False, max_msg_size=_MAX_MESSAGE_BYTES
    )
    socket.headers.update(emulator.transport_headers())
    await socket.prepare(request)
    emulator.sockets.accepted(note)
    task = asyncio.current_task()
    assert task is not None
    emulator.serving.add(task)
    line = Line(emulator, socket, asked, note, many=note.route.startswith("multi"))
    try:
        ends = await line.run()
        await _end(request, emulator, socket, note, ends)
    finally:
        emulator.serving.discard(task)
        if note.closed_by is None:
            note.closed_by = "emulator" if emulator.stopping else "lost"
    return socket


async def _end(
    request: web.Request,
    emulator: Emulator,
    socket: web.WebSocketResponse,
    note: SocketNote,
    ends: Ends,
) -> None:
    """Close as wanted; the close frame comes a while after the last frame, as recorded."""
    if ends.cut is not None or ends.code is not None:
        note.closed_by = "emulator"
    if ends.cut == "silent":
        # Nothing is read any more, so pings are not answered either.
        await asyncio.sleep(LONGEST_HANG_S)
    if ends.cut is not None:
        await (reset if ends.cut == "reset" else hang_up)(request)
    if ends.code is None:
        note.close_code = socket.close_code
        note.closed_by = "lost" if note.close_code in (None, 1006) else "client"
        return
    note.error, note.close_code = ends.error, ends.code
    if ends.frame is not None:
        await socket.send_frame(ends.frame, WSMsgType.TEXT)
    try:
        async with asyncio.timeout(emulator.settings.close_ms / 1000):
            while (await socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
                pass
    except TimeoutError:
        pass
    await socket.close(code=ends.code, message=close_reason(ends.reason))
