"""What all vendor routes share: the call's record, and refusals turned into answers."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from benchmarks.emulator.calls import Call
from benchmarks.emulator.errors import ERRORS, Refusal, Unprocessable
from benchmarks.emulator.faults import FaultRule
from benchmarks.emulator.state import Emulator, state_of

Work = Callable[[web.Request, Emulator, Call], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def recorded(route: str, work: Work) -> Handler:
    """A handler that checks the key, does `work`, and logs the call however it ends."""

    async def handle(request: web.Request) -> web.StreamResponse:
        emulator = state_of(request)
        call = emulator.calls.begin(route)
        try:
            emulator.account.check_key(request.headers.get("xi-api-key"))
            return await work(request, emulator, call)
        except Refusal as refusal:
            call.status, call.code = refusal.http_status, refusal.kind.code or refusal.code
            return emulator.answer(refusal.body(secrets.token_hex(16)), refusal.http_status)
        except Unprocessable as wrong:
            call.status, call.code = 422, "unprocessable"
            return emulator.answer({"detail": list(wrong.fields)}, 422)
        except (asyncio.CancelledError, ConnectionError):
            call.aborted = not (emulator.stopping or call.hung_up)
            raise
        finally:
            call.ended_s = time.monotonic()

    return handle


def drawn(emulator: Emulator, call: Call) -> FaultRule | None:
    """The fault of this call, if any.

    Raises:
        Refusal: the fault is one of the vendor's errors.
    """
    fault = emulator.faults.draw(call.route, call.voice_id)
    if fault is not None:
        call.fault = fault.kind
        if fault.kind in ERRORS:
            raise Refusal(fault.kind)
    return fault
