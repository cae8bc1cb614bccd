"""`POST /v1/text-to-speech/{voice_id}` and its three variants."""

from __future__ import annotations

import random
import secrets
import string
import time
from typing import Any

import msgspec
from aiohttp import web

from benchmarks.emulator.account import Gate
from benchmarks.emulator.asked import Asked, check, read_body
from benchmarks.emulator.calls import Call, text_hash, veiled
from benchmarks.emulator.faults import AUDIO, FaultRule
from benchmarks.emulator.latency import timing_of
from benchmarks.emulator.routes.answering import Handler, drawn, recorded
from benchmarks.emulator.sending import Reply, break_json, send, spoil
from benchmarks.emulator.speech import Spoken, Wish, alignment, json_lines, json_object
from benchmarks.emulator.state import Emulator, state_of
from core.text.words import spoken_length

_ALPHABET = string.ascii_letters + string.digits
_EXPOSED = (
    "request-id, history-item-id, character-cost, regeneration-count, generation-info, "
    "current-concurrent-requests, maximum-concurrent-requests, collect-preference"
)


class Variant(msgspec.Struct, frozen=True):
    """One of the four routes."""

    route: str
    streamed: bool
    timestamps: bool


VARIANTS = (
    Variant("convert", streamed=False, timestamps=False),
    Variant("stream", streamed=True, timestamps=False),
    Variant("with-timestamps", streamed=False, timestamps=True),
    Variant("stream/with-timestamps", streamed=True, timestamps=True),
)


def add_routes(app: web.Application) -> None:
    """The four routes, and 405 for other methods on them."""
    for variant in VARIANTS:
        tail = "" if variant.route == "convert" else f"/{variant.route}"
        path = f"/v1/text-to-speech/{{voice_id}}{tail}"
        app.router.add_post(path, _handler(variant))
        app.router.add_route("*", path, _wrong_method)


async def _wrong_method(request: web.Request) -> web.Response:
    return state_of(request).answer({"detail": "Method Not Allowed"}, 405)


def _handler(variant: Variant) -> Handler:
    async def speak(request: web.Request, emulator: Emulator, call: Call) -> web.StreamResponse:
        return await _speak(request, emulator, variant, call)

    return recorded(variant.route, speak)


async def _speak(
    request: web.Request, emulator: Emulator, variant: Variant, call: Call
) -> web.StreamResponse:
    account = emulator.account
    call.voice_id = request.match_info["voice_id"]
    body = read_body(await request.read())
    _note(call, request, body)
    asked = check(request, body, streamed=variant.streamed, rank=account.plan.rank)
    call.model_id, call.output_format = asked.model.model_id, asked.wire.name
    fault = drawn(emulator, call)
    gate = account.gate(asked.model.family)
    async with gate.place():
        price = account.price(asked.model, len(asked.text))
        account.charge(price)
        call.credits, call.request_id = price, _id()
        began_s = time.monotonic()
        reply = await _reply(emulator, asked, variant, gate, call, fault)
        return await send(request, reply, call, fault, began_s)


def _note(call: Call, request: web.Request, body: dict[str, Any]) -> None:
    text = body.get("text")
    if isinstance(text, str):
        call.text_chars, call.text_sha256 = len(text), text_hash(text)
    call.body = veiled(body)
    model_id = body.get("model_id")
    call.model_id = model_id if isinstance(model_id, str) else None
    call.output_format = request.query.get("output_format")


async def _reply(
    emulator: Emulator,
    asked: Asked,
    variant: Variant,
    gate: Gate,
    call: Call,
    fault: FaultRule | None,
) -> Reply:
    settings = emulator.settings
    rng = random.Random(f"{settings.seed}/{call.id}")
    chars = round(spoken_length(asked.text))
    timing = timing_of(settings.latency, asked.model.family, chars, rng, jitter=settings.jitter)
    seed = rng.getrandbits(32) if asked.seed is None else asked.seed
    wish = Wish(asked.text, asked.wire, asked.speed, seed)
    headers = _headers(emulator, gate, call, round(timing.first_byte_s * 1000))
    headers["content-type"] = "application/json" if variant.timestamps else asked.wire.content_type
    spoken = await emulator.speaker.speak(wish)
    kind = fault.kind if fault is not None else None
    if kind in AUDIO and not (kind == "broken_json" and variant.timestamps):
        spoken = spoil(spoken, wish, "garbage" if kind == "broken_json" else str(kind), rng)
    pieces = _pieces(asked.text, spoken, variant)
    if kind == "broken_json" and variant.timestamps:
        pieces = break_json(pieces, rng)
    return Reply(headers, pieces, timing, variant.streamed, by_line=variant.timestamps)


def _pieces(text: str, spoken: Spoken, variant: Variant) -> list[bytes]:
    if not variant.timestamps:
        return list(spoken.audio.pieces)
    if variant.streamed:
        return json_lines(text, spoken) or [json_object(b"", None, leading=False) + b"\n"]
    found = alignment(text, spoken.times, 0, len(text))
    return [json_object(spoken.audio.whole_base64, found, leading=True)]


def _headers(emulator: Emulator, gate: Gate, call: Call, latency_ms: int) -> dict[str, str]:
    assert call.request_id is not None
    return {
        **emulator.transport_headers(),
        "request-id": call.request_id,
        "history-item-id": _id(),
        "character-cost": str(call.credits),
        "current-concurrent-requests": str(gate.active),
        "maximum-concurrent-requests": str(gate.limit),
        "workspace-concurrent-requests": str(emulator.account.active),
        "tts-latency-ms": str(latency_ms),
        "collect-preference": "True",
        "vary": "Accept-Language",
        "access-control-expose-headers": _EXPOSED,
    }


def _id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(20))
