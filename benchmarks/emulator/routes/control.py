"""`/_emulator/`: faults and the call log. No part of the vendor's API, and without a key."""

from __future__ import annotations

import msgspec
from aiohttp import web

from benchmarks.emulator.faults import read_rules
from benchmarks.emulator.state import state_of


def add_routes(app: web.Application) -> None:
    """Faults (GET, PUT, DELETE), calls and sockets (GET, DELETE) and what runs now (GET)."""
    app.router.add_get("/_emulator/faults", _faults)
    app.router.add_put("/_emulator/faults", _set_faults)
    app.router.add_delete("/_emulator/faults", _clear_faults)
    app.router.add_get("/_emulator/calls", _calls)
    app.router.add_delete("/_emulator/calls", _clear_calls)
    app.router.add_get("/_emulator/sockets", _sockets)
    app.router.add_delete("/_emulator/sockets", _clear_sockets)
    app.router.add_get("/_emulator/state", _state)


def _json(value: object, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json")


async def _faults(request: web.Request) -> web.Response:
    return _json(state_of(request).faults.rules)


async def _set_faults(request: web.Request) -> web.Response:
    """One rule or a list of them replaces all rules in force."""
    try:
        rules = read_rules(await request.read())
    except ValueError as error:
        return _json({"error": str(error)}, 400)
    state_of(request).faults.replace(rules)
    return _json(rules)


async def _clear_faults(request: web.Request) -> web.Response:
    state_of(request).faults.replace([])
    return _json([])


async def _calls(request: web.Request) -> web.Response:
    log = state_of(request).calls
    return _json({"total": log.total, "calls": log.listing()})


async def _clear_calls(request: web.Request) -> web.Response:
    state_of(request).calls.clear()
    return _json({"total": 0, "calls": []})


async def _sockets(request: web.Request) -> web.Response:
    log = state_of(request).sockets
    return _json({**log.figures(), "sockets": log.listing()})


async def _clear_sockets(request: web.Request) -> web.Response:
    log = state_of(request).sockets
    log.clear()
    return _json({**log.figures(), "sockets": []})


async def _state(request: web.Request) -> web.Response:
    emulator = state_of(request)
    gates = {
        name: {
            "limit": gate.limit,
            "active": gate.active,
            "peak": gate.peak,
            "queued": gate.queued,
            "refused": gate.refused,
        }
        for name, gate in emulator.account.gates.items()
    }
    used = emulator.account.credits_used
    return _json({"credits_used": used, "gates": gates, "sockets": emulator.sockets.figures()})
