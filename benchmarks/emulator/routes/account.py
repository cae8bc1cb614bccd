"""Voices, models, subscription and user."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from benchmarks.emulator.calls import Call
from benchmarks.emulator.catalogue import MODELS, VOICES, Voice
from benchmarks.emulator.errors import Refusal, Unprocessable, field
from benchmarks.emulator.faults import TRANSPORT
from benchmarks.emulator.latency import INSTANT
from benchmarks.emulator.routes.answering import Handler, drawn, recorded
from benchmarks.emulator.sending import Reply, send
from benchmarks.emulator.state import Emulator, state_of

Answer = Callable[[web.Request], Any]
_LARGEST_PAGE: Final = 100


def add_routes(app: web.Application) -> None:
    """All of them are GET."""
    add = app.router.add_get
    add("/v1/voices", _route("voices", _voices))
    add("/v2/voices", _route("voices", _search))
    add("/v1/voices/{voice_id}", _route("voices", _voice))
    add("/v1/models", _route("models", lambda _: [m.public() for m in MODELS.values()]))
    add("/v1/user", _route("user", lambda r: state_of(r).account.user()))
    add("/v1/user/subscription", _route("user", lambda r: state_of(r).account.subscription()))


def _route(name: str, answer: Answer) -> Handler:
    async def work(request: web.Request, emulator: Emulator, call: Call) -> web.StreamResponse:
        fault = drawn(emulator, call)
        body = msgspec.json.encode(answer(request))
        headers = {**emulator.transport_headers(), "content-type": "application/json"}
        reply = Reply(headers, [body], INSTANT, streamed=False, by_line=False)
        felt = fault if fault is not None and fault.kind in TRANSPORT else None
        return await send(request, reply, call, felt, time.monotonic())

    return recorded(name, work)


def _voices(_: web.Request) -> dict[str, Any]:
    return {"voices": [voice.public() for voice in VOICES.values()]}


def _voice(request: web.Request) -> dict[str, Any]:
    voice_id = request.match_info["voice_id"]
    voice = VOICES.get(voice_id)
    if voice is None:
        # The metadata endpoint answers 400 where synthesis answers 404.
        message = f"A voice with voice_id '{voice_id}' was not found."
        raise Refusal("voice_not_found", message, http_status=400)
    return voice.public()


def _search(request: web.Request) -> dict[str, Any]:
    query = request.query
    found = [voice for voice in VOICES.values() if _wanted(voice, query)]
    if query.get("sort") == "name":
        found.sort(key=lambda v: v.name, reverse=query.get("sort_direction") == "desc")
    size = query.get("page_size", "10")
    token = query.get("next_page_token") or "0"
    if not size.isdigit() or not 0 < int(size) <= _LARGEST_PAGE:
        raise Unprocessable(
            field("page_size", "Input should be 1 to 100", "int_parsing", where="query")
        )
    if not token.isdigit():
        raise Refusal("invalid_parameters", "The page token is not valid.", param="next_page_token")
    start, end = int(token), int(token) + int(size)
    more = end < len(found)
    return {
        "voices": [voice.public() for voice in found[start:end]],
        "has_more": more,
        "total_count": len(found),
        "next_page_token": str(end) if more else None,
    }


def _wanted(voice: Voice, query: Any) -> bool:
    ids = query.getall("voice_ids", [])
    text = (query.get("search") or "").casefold()
    category = query.get("category")
    return (
        (not ids or voice.voice_id in ids)
        and (category is None or voice.category == category)
        and (not text or text in f"{voice.name} {voice.description}".casefold())
    )
