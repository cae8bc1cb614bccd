"""A conversation with a whole installation, and what quiet ones cost it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import psutil

from benchmarks.decoders import decoder_for
from benchmarks.stack import Stack, open_stack
from core.conversation.playout import GRACE_S

FIRST = 100
"""Kept open, so that what the process holds already serves none of the measured."""
SESSIONS = 400
TALKERS = 100
TURNS = 10
MOST_KB = 40.0
TRIM_S = 0.3
"""So often the gateway gives free memory back: what it takes is what it needs."""


async def test_a_conversation_with_a_real_voice_and_what_quiet_ones_cost() -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        open_stack(voice_processes=1, env={"SEIKETSU_TRIM_EVERY": str(TRIM_S)}) as stack,
        aiohttp.ClientSession(connector=connector) as client,
        AsyncExitStack() as closing,
    ):
        await _talks(stack, client)
        kilobytes = await _cost_kb(stack, client, closing)
        print(f"\n{kilobytes:.1f} KB for each of {SESSIONS} quiet sessions")
        assert kilobytes <= MOST_KB
        kilobytes = await _talked_kb(stack, client, closing)
        print(f"{kilobytes:.1f} KB for each of {TALKERS} that have talked and were interrupted")
        assert kilobytes <= MOST_KB


def _url(stack: Stack, session_id: str) -> str:
    return f"{stack.base_url}/api/v1/voice/streaming/stream/{session_id}"


async def _talks(stack: Stack, client: aiohttp.ClientSession) -> None:
    async with client.ws_connect(_url(stack, "one") + "?language=en") as socket:
        assert (await socket.receive_json())["type"] == "connection_established"
        cached = []
        for _ in range(2):
            await socket.send_json({"type": "synthesize", "text": "Welcome to our office."})
            reply = await socket.receive_json()
            assert reply["type"] == "audio_response", reply
            metadata = reply["metadata"]
            decoder = decoder_for(metadata["format"])
            audio = bytes.fromhex(reply["audio_data"])
            samples = len(decoder.feed(audio)) + len(decoder.finish())
            assert (
                abs(samples / decoder.rate_hz * 1000 - metadata["duration_ms"]) < 120
            )  # with padding
            assert metadata["provider"] == "local"
            assert metadata["first_audio_ms"] < 2000
            cached.append(metadata["cached"])
        assert cached == [False, True]
    found = await _detailed(stack, client)
    assert found["overall_health"]["overall_status"] == "healthy"
    assert found["performance_summary"]["cache_hit_rate"] == 50.0


async def _detailed(stack: Stack, client: aiohttp.ClientSession) -> dict[str, dict[str, object]]:
    url = f"{stack.base_url}/api/v1/voice/streaming/health/detailed"
    async with client.get(url) as reply:
        found: dict[str, dict[str, object]] = await reply.json()
        return found


async def _cost_kb(stack: Stack, client: aiohttp.ClientSession, closing: AsyncExitStack) -> float:
    """What one quiet session adds to the memory of the gateway, in KB."""
    process = psutil.Process(stack.gateway_pid)
    await _open(stack, client, closing, range(FIRST))
    before = await _rss(process)
    await _open(stack, client, closing, range(FIRST, FIRST + SESSIONS))
    grown = await _rss(process) - before
    found = await _detailed(stack, client)
    assert found["streaming_connections"]["active_count"] == FIRST + SESSIONS
    return grown / SESSIONS / 1024


async def _talked_kb(stack: Stack, client: aiohttp.ClientSession, closing: AsyncExitStack) -> float:
    """What a session that has spoken and was interrupted adds once it is quiet, in KB."""
    process = psutil.Process(stack.gateway_pid)
    await _talk(stack, client, closing, range(20))
    before = await _rss(process)
    await _talk(stack, client, closing, range(20, 20 + TALKERS))
    return (await _rss(process) - before) / TALKERS / 1024


async def _rss(process: psutil.Process) -> int:
    await asyncio.sleep(2 * TRIM_S)
    return int(process.memory_info().rss)


async def _talk(
    stack: Stack, client: aiohttp.ClientSession, closing: AsyncExitStack, numbers: range
) -> None:
    """Open sessions that each speak some turns, of which the last is interrupted."""
    for number in numbers:
        url = _url(stack, f"t{number}") + "?language=en&audio_encoding=binary"
        socket = await closing.enter_async_context(client.ws_connect(url, compress=0))
        for turn in range(TURNS):
            name = f"turn-{turn}"
            text = {"type": "text", "text": "Yes, it is.", "utterance_id": name}
            await socket.send_json({**text, "command_id": f"c{turn}"})
            await socket.send_json({"type": "end"})
            await _until(socket, "speech_finished")
            if turn < TURNS - 1:
                heard = {"type": "playback", "utterance_id": name, "offset_ms": 60_000}
                await socket.send_json(heard)
        await socket.send_json({"type": "interrupt"})
        await _until(socket, "interrupted")
    await asyncio.sleep(GRACE_S + 0.2)  # so long what was said last is known as a whole


async def _until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> None:
    async with asyncio.timeout(10):
        while True:
            message = await socket.receive()
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
            if message.type is aiohttp.WSMsgType.TEXT and message.json()["type"] == kind:
                return


async def _open(
    stack: Stack, client: aiohttp.ClientSession, closing: AsyncExitStack, numbers: range
) -> None:
    """Open sessions that are each pinged once."""
    for number in numbers:
        socket = await closing.enter_async_context(
            client.ws_connect(_url(stack, f"s{number}"), compress=0)
        )
        await socket.receive_json()
        await socket.send_json({"type": "ping"})
        assert (await socket.receive_json())["type"] == "pong"
    await asyncio.sleep(0.2)
