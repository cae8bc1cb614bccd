"""A conversation with a whole installation, and what quiet ones cost it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import aiohttp
import psutil

from benchmarks.decoders import decoder_for
from benchmarks.stack import Stack, open_stack
from core.conversation.audio_frames import read_header
from core.conversation.playout import GRACE_S
from tests.e2e.told_memory import CAN_TELL, EXACTLY, bytes_in_use

FIRST = 50
"""Kept open, so that what the process holds already serves none of the measured."""
SESSIONS = 200
TALKERS = 20
GROUPS = 4
"""Of so many talkers, one after the other. The first makes that all is cached, and is not counted;
of the others the one that added least: what the process takes once, some 200 KB at a time, is not
a session's, and what a session keeps is in each."""
ANSWERS = (
    "Thank you for waiting. The apartment on the second floor has two bedrooms, a bright "
    "kitchen and a balcony that faces the garden. It was painted in spring, and the bathroom is "
    "new.",
    "Yes, it is still available. The rent is one thousand two hundred a month, and heating and "
    "water are included in that. The deposit is two months of rent, which you get back when you "
    "move out.",
    "Of course, I can arrange a visit for you. The owner is at the house on Saturday morning "
    "between nine and eleven. Would ten suit you, or do you prefer to come a little earlier "
    "than that?",
    "The nearest station is a walk of six minutes from the front door. There is a bus to the "
    "center every quarter of an hour, also on Sundays, and parking in the street is free for "
    "residents.",
    "I understand, a dog is no problem in this building. The landlord only asks that you tell "
    "him before you sign. There is a large park behind the church, and a vet just around the "
    "corner.",
    "Let me have a look at the papers. The kitchen was fitted four years ago with an oven, a "
    "fridge and a dishwasher, and all of them stay. The washing machine is shared and stands "
    "downstairs.",
    "The contract runs for at least one year, and after that you can end it at any time with "
    "three months of notice. If you would like a longer one, the owner is happy to talk about "
    "the price.",
    "There are two schools nearby, and the older one has a good name for music. The "
    "kindergarten in the next street still has places for autumn. I can send you the numbers of "
    "both if you wish.",
    "I am sorry, that house was let this morning. But there is a similar one at the lake, a "
    "little smaller, with a terrace and a garage. It costs less, and you could move in at once.",
    "Very well, I have written that down. You will get a message with the address and the name "
    "of my colleague who meets you there. Please bring a proof of income, and have a pleasant "
    "evening.",
)
"""As they are given on the telephone: some ten seconds each."""
REPORTED_MS = 400
"""After so much more audio the client says that it has played it: nothing waits for the clock."""
INTERRUPTED_MS = 3_000
MOST_KB = 40.0
TRIM_S = 0.3
"""So often the gateway gives free memory back: what it takes is what it needs."""


async def test_a_conversation_with_a_real_voice_and_what_quiet_ones_cost() -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        open_stack(
            voice_processes=1,
            env={"SEIKETSU_TRIM_EVERY": str(TRIM_S), **EXACTLY},
            command="tests.e2e.told_memory",
        ) as stack,
        aiohttp.ClientSession(connector=connector) as client,
        AsyncExitStack() as closing,
    ):
        await _talks(stack, client)
        if CAN_TELL:
            kilobytes = await _talked_kb(stack, client, closing)
            print(f"\n{kilobytes:.1f} KB for each of {TALKERS} that have talked")
            assert kilobytes <= MOST_KB
        kilobytes = await _cost_kb(stack, client, closing)
        print(f"{kilobytes:.1f} KB for each of {SESSIONS} quiet sessions")
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
    talked = GROUPS * TALKERS if CAN_TELL else 0
    assert found["streaming_connections"]["active_count"] == talked + FIRST + SESSIONS
    return grown / SESSIONS / 1024


async def _talked_kb(stack: Stack, client: aiohttp.ClientSession, closing: AsyncExitStack) -> float:
    """What a session that has spoken and was interrupted holds once it is quiet, in KB."""
    held: list[int] = []
    for group in range(GROUPS):
        await _talk(stack, client, closing, range(group * TALKERS, (group + 1) * TALKERS))
        held.append(await bytes_in_use(stack))
    grown = [after - before for before, after in pairwise(held)]
    return min(grown) / TALKERS / 1024


async def _rss(process: psutil.Process) -> int:
    await asyncio.sleep(2 * TRIM_S)
    return int(process.memory_info().rss)


async def _talk(
    stack: Stack, client: aiohttp.ClientSession, closing: AsyncExitStack, numbers: range
) -> None:
    """Open sessions that each are given all answers and interrupt the last one."""
    async with asyncio.TaskGroup() as group:
        for number in numbers:
            group.create_task(_talk_one(stack, client, closing, number))
    # So long what was said last is known as a whole; then it goes, once that is in the journal.
    await asyncio.sleep(GRACE_S + 1.0)


async def _talk_one(
    stack: Stack, client: aiohttp.ClientSession, closing: AsyncExitStack, number: int
) -> None:
    url = _url(stack, f"t{number}") + "?language=en&format=ulaw&audio_encoding=binary"
    socket = await closing.enter_async_context(client.ws_connect(url, compress=0))
    for turn, answer in enumerate(ANSWERS):
        name = f"turn-{turn}"
        text = {"type": "text", "text": answer, "utterance_id": name}
        await socket.send_json({**text, "command_id": f"c{turn}"})
        await socket.send_json({"type": "end"})
        interrupted = turn == len(ANSWERS) - 1
        told = await _played(socket, name, interrupted=interrupted)
        if interrupted:
            assert told["spoken_text"] + told["remaining_text"] == answer
            assert told["remaining_text"]


async def _played(
    socket: aiohttp.ClientWebSocketResponse, name: str, *, interrupted: bool
) -> dict[str, Any]:
    """Play an utterance, at once and to its end, or interrupt it; its last event."""
    reported_ms, interrupting = 0, False
    async with asyncio.timeout(20):
        while True:
            message = await socket.receive()
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
            if message.type is aiohttp.WSMsgType.TEXT:
                event: dict[str, Any] = message.json()
                if event["type"] in ("speech_finished", "interrupted"):
                    assert (event["type"] == "interrupted") is interrupted
                    return event
                continue
            header = read_header(message.data)
            played_ms = header.offset_ms + header.duration_ms
            if played_ms >= reported_ms + REPORTED_MS or header.last:
                reported_ms = played_ms
                heard = {"type": "playback", "utterance_id": name, "offset_ms": played_ms}
                await socket.send_json(heard)
                if interrupted and played_ms > INTERRUPTED_MS and not interrupting:
                    interrupting = True
                    await socket.send_json({"type": "interrupt"})


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
