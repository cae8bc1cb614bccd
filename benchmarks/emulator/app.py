"""Puts the emulator together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from benchmarks.emulator.routes import account, control, sockets, speech
from benchmarks.emulator.state import STATE, Emulator, EmulatorSettings, state_of

_MAX_BODY_BYTES: Final = 4 * 1024 * 1024


def make_app(settings: EmulatorSettings) -> web.Application:
    """The application; its speaker is started and closed with it."""
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app[STATE] = Emulator(settings)
    app.cleanup_ctx.append(_speaker)
    app.on_shutdown.append(_note_stop)
    for routes in (speech, sockets, account, control):
        routes.add_routes(app)
    app.router.add_route("*", "/{tail:.*}", _unknown)
    return app


async def _speaker(app: web.Application) -> AsyncIterator[None]:
    speaker = app[STATE].speaker
    await speaker.start()
    yield
    await speaker.aclose()


async def _note_stop(app: web.Application) -> None:
    emulator = app[STATE]
    emulator.stopping = True
    for task in list(emulator.serving):
        task.cancel()


async def _unknown(request: web.Request) -> web.Response:
    return state_of(request).answer({"detail": "Not Found"}, 404)
