"""Clients that begin a session and then fall silent: each of their waits has an end."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.gateway.conftest import Start
from tests.gateway.server import Gateway

HEAD = (
    b"GET /api/v1/voice/streaming/stream/s1 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
)
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
LIMIT_S = 0.3
REASON = b"nothing was sent for too long"
GOODBYE = bytes([0x88, 2 + len(REASON)]) + struct.pack("!H", 1000) + REASON
ANSWER = bytes([0x88, 0x82, 0, 0, 0, 0]) + struct.pack("!H", 1000)


@asynccontextmanager
async def connected(
    gateway: Gateway,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        async with asyncio.timeout(3):
            yield reader, writer
    finally:
        writer.close()


async def drip(writer: asyncio.StreamWriter, sent: bytes) -> None:
    """Send a byte now and then."""
    for byte in sent:
        writer.write(bytes([byte]))
        await asyncio.sleep(LIMIT_S / 10)


@pytest.mark.parametrize("rest", [b"", KEY])
async def test_half_a_handshake_is_closed_however_busily_it_goes_on(
    start: Start, rest: bytes
) -> None:
    gateway = start(request_timeout_s=LIMIT_S)
    began_s = time.monotonic()
    async with connected(gateway) as (reader, writer):
        writer.write(HEAD)
        dripping = asyncio.create_task(drip(writer, rest))
        answer = await reader.read()
        dripping.cancel()
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_late"
    assert time.monotonic() - began_s >= LIMIT_S * 0.9
    await asyncio.to_thread(gateway.wait_until, lambda: not gateway.connections())


async def test_who_says_nothing_after_the_handshake_is_closed_as_idle(start: Start) -> None:
    gateway = start(session_idle_s=LIMIT_S, request_timeout_s=LIMIT_S / 3)
    began_s = time.monotonic()
    async with connected(gateway) as (reader, writer):
        writer.write(HEAD + KEY + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert b"connection_established" in await reader.readuntil(GOODBYE)
        assert time.monotonic() - began_s >= LIMIT_S * 0.9, "no longer the limit of a handshake"
        writer.write(ANSWER)
        assert await reader.read() == b""
    await asyncio.to_thread(gateway.wait_until, lambda: not gateway.connections())
