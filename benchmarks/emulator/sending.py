"""Puts a reply on the wire at its times, and the faults of the transport into it."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web

from benchmarks.emulator.calls import Call
from benchmarks.emulator.faults import FaultRule
from benchmarks.emulator.formats import encode
from benchmarks.emulator.latency import Timing
from benchmarks.emulator.speech import Encoded, Spoken, Wish

LONGEST_HANG_S: Final = 600.0
SLOW_MS: Final = 3_000


class Reply(msgspec.Struct, frozen=True):
    """A good reply before any fault of the transport."""

    headers: dict[str, str]
    pieces: list[bytes]
    timing: Timing
    streamed: bool
    """False: all at once when all is made, with a content-length."""
    by_line: bool
    """Pieces are lines: a clean cut falls between two of them."""


def spoil(spoken: Spoken, wish: Wish, kind: str, rng: random.Random) -> Spoken:
    """The same speech with the audio of a fault: zero, garbage or empty."""
    audio = spoken.audio
    if kind == "zero":
        body = encode(bytes(int(audio.duration_s * 24_000) * 2), wish.wire)
    elif kind == "garbage":
        body = rng.randbytes(sum(map(len, audio.pieces)))
    else:
        body = b""
    return Spoken(Encoded(body, audio.duration_s, wish.wire), spoken.times)


def break_json(pieces: Sequence[bytes], rng: random.Random) -> list[bytes]:
    """The same lines, none of them JSON any more."""
    return [
        b'{"audio_base64":' + rng.randbytes(max(0, len(p) // 2)).hex().encode() + b"\n"
        for p in pieces
    ]


async def send(
    request: web.Request, reply: Reply, call: Call, fault: FaultRule | None, began_s: float
) -> web.StreamResponse:
    """Send a reply; times count from `began_s` (`time.monotonic()`).

    Cancelled by the server when the client hangs up.
    """
    kind = fault.kind if fault is not None else None
    delay_s = 0.0
    if fault is not None and kind == "slow":
        delay_s = (SLOW_MS if fault.delay_ms is None else fault.delay_ms) / 1000
    if fault is not None and kind in ("silent", "reset") and not fault.headers:
        if kind == "silent":
            await _hang(request, call, None)
        await _reset(request, call)
    pieces, timing = reply.pieces, reply.timing
    if fault is not None and kind == "truncate" and fault.end == "clean":
        pieces = _cut_clean(pieces, fault.after_bytes, by_line=reply.by_line)
    breaks_at = _breaking_point(pieces, fault)
    if not reply.streamed:
        pieces = [b"".join(pieces)]
        timing = Timing(timing.total_s, timing.total_s)
    response = web.StreamResponse(headers=reply.headers)
    if not reply.streamed:
        response.content_length = len(pieces[0])
    await until(began_s + delay_s + timing.first_byte_s)
    call.status = 200
    await response.prepare(request)
    if fault is not None and kind == "silent":
        await _hang(request, call, None)
    step_s = (timing.total_s - timing.first_byte_s) / max(1, len(pieces) - 1)
    for at, piece in enumerate(pieces):
        if at:
            await until(began_s + delay_s + timing.first_byte_s + at * step_s)
        if breaks_at is not None and call.bytes_sent + len(piece) >= breaks_at:
            assert fault is not None
            head = piece[: breaks_at - call.bytes_sent]
            await _write(response, head, call)
            if kind == "reset":
                await _reset(request, call)
            if kind == "truncate":
                await _abort(request, call)
            paused_s = time.monotonic()
            await _hang(request, call, fault.delay_ms)
            delay_s += time.monotonic() - paused_s
            piece = piece[len(head) :]
            breaks_at = None
        await _write(response, piece, call)
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, data: bytes, call: Call) -> None:
    if not data:
        return
    await response.write(data)
    if call.first_byte_s is None:
        call.first_byte_s = time.monotonic()
    call.bytes_sent += len(data)


def _breaking_point(pieces: Sequence[bytes], fault: FaultRule | None) -> int | None:
    """The body byte at which a fault strikes."""
    if fault is None or fault.kind not in ("stall", "truncate", "reset"):
        return None
    if fault.kind == "truncate" and fault.end == "clean":
        return None
    whole = sum(map(len, pieces))
    default = 0 if fault.kind == "reset" else whole // 2
    return min(whole, default if fault.after_bytes is None else fault.after_bytes)


def _cut_clean(pieces: Sequence[bytes], after_bytes: int | None, *, by_line: bool) -> list[bytes]:
    """The pieces up to that byte; of lines only whole ones, at least one."""
    limit = sum(map(len, pieces)) // 2 if after_bytes is None else after_bytes
    kept: list[bytes] = []
    for piece in pieces:
        if len(piece) > limit:
            if by_line and kept:
                break
            kept.append(piece if by_line else piece[:limit])
            break
        kept.append(piece)
        limit -= len(piece)
    return kept


async def until(instant_s: float) -> None:
    """Sleep until an instant of `time.monotonic()`; at once when it has passed."""
    left_s = instant_s - time.monotonic()
    if left_s > 0:
        await asyncio.sleep(left_s)


async def _hang(request: web.Request, call: Call, delay_ms: int | None) -> None:
    """Send nothing: for a while, or until the client goes (and this task is cancelled)."""
    await asyncio.sleep(LONGEST_HANG_S if delay_ms is None else delay_ms / 1000)
    if delay_ms is None:
        await _abort(request, call)


async def _abort(request: web.Request, call: Call) -> None:
    """End the connection in mid-reply, with what was written delivered first."""
    call.hung_up = True
    await hang_up(request)


async def hang_up(request: web.Request) -> None:
    """End the connection, with what was written delivered first."""
    if request.transport is not None:
        request.transport.close()
    await _gone()


async def _reset(request: web.Request, call: Call) -> None:
    call.hung_up = True
    await reset(request)


async def reset(request: web.Request) -> None:
    """End the connection with a TCP reset."""
    if request.transport is not None:
        line = request.transport.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    await _gone()


async def _gone() -> None:
    """Wait to be cancelled, as the server does when a connection is lost."""
    await asyncio.sleep(LONGEST_HANG_S)
