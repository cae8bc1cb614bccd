"""Whatever is sent, in whatever order, through whatever losses: nothing is left behind.

The sequences are Hypothesis's; SEIKETSU_FUZZ is how many. The gateway is a process of its own, and
what is new to it goes to the provider over WebSockets.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import aiohttp
import msgspec
import psutil
import pytest
import pytest_asyncio
from hypothesis import strategies as st
from redis.asyncio import Redis
from yarl import URL

from benchmarks.stack import Stack, open_stack
from tests.e2e.live import SOCKET, nothing_is_left
from tests.e2e.told_tasks import tasks_of
from tests.e2e.wanderer import Wanderer
from tests.gateway.session_sequences import (
    Lose,
    Pause,
    Steps,
    made,
    sentences,
    sequences_of,
    weighted,
)

SEQUENCES = int(os.environ.get("SEIKETSU_FUZZ", "300"))
TURNS = 6
SESSIONS = 48
EMULATOR = (
    *("--audio", "clips", "--latency", "flash", "--concurrency", "60", "--seed", "5"),
    *("--credits", str(10**9)),
)
KNOWN = [f"The {word} door is open." for word in ("red", "blue", "old", "new", "small", "large")]
"""Soon kept."""
WARM = ("elevenlabs-reader Socket._read", "elevenlabs-writer Socket._write")
"""Of each warm socket: tasks that it has as long as it is open."""
LEFT_S = 10.0

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(60 + SEQUENCES / 10),
]

pauses = st.sampled_from([0.0, 0.05, 0.2, 0.4]).map(Pause)
losses = st.sampled_from([Lose("begin"), Lose("resume"), Lose("take over")])
syllables = ["".join(pair) for pair in itertools.product("bdfgklmnprst", "aeiou")]
names = map("".join, itertools.product(syllables, repeat=4))
new = sentences.map(lambda text: f"{text[:-1]} {next(names)}.")
"""Each only once, for Hypothesis likes to draw again what it has drawn before. What it draws next
must not hang on it: all names are of one length."""
sequences = sequences_of(
    weighted((4, new), (1, st.sampled_from(KNOWN))),
    weighted((3, pauses), (1, losses)),
    turns=TURNS,
)


class Left(msgspec.Struct, frozen=True):
    """What the gateway has where nobody is there."""

    tasks: Counter[str]
    """Of its loop, without the two of each warm socket to the provider."""
    files: int
    """Open ones that are no sockets."""
    kept: frozenset[bytes]
    """Keys in the state database that stay there."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with open_stack(
        emulator=EMULATOR, voice_processes=1, command="tests.e2e.told_tasks"
    ) as opened:
        yield opened


async def wander(stack: Stack, found: Sequence[Steps]) -> list[Wanderer]:
    """Take all sequences, many clients at once, and leave: each second one without a goodbye."""
    clients = [
        Wanderer(stack, f"any{number}", hurried=number % 4 > 1) for number in range(SESSIONS)
    ]

    async def one(number: int) -> None:
        for sequence in found[number::SESSIONS]:
            await clients[number].run(sequence)
        await clients[number].aclose(goodbye=number % 2 == 0)

    async with asyncio.TaskGroup() as group:
        for number in range(SESSIONS):
            group.create_task(one(number))
    return clients


async def connected(stack: Stack) -> int:
    """How many sessions the gateway counts and lists."""
    url = f"{stack.base_url}/api/v1/voice/streaming/health/detailed"
    async with aiohttp.ClientSession() as http, http.get(url) as reply:
        found = (await reply.json())["streaming_connections"]
    return int(found["active_count"]) + len(found["connections"])


async def left(stack: Stack, sockets: int) -> Left:
    """Wait until nobody is there any more; `sockets`: how many of the provider's are warm."""
    gateway, port = psutil.Process(stack.gateway_pid), URL(stack.base_url).port
    async with asyncio.timeout(LEFT_S):
        while any(found.laddr.port == port and found.raddr for found in gateway.net_connections()):
            await asyncio.sleep(0.05)
        while await connected(stack):
            await asyncio.sleep(0.05)
        while any("RequestResponse" in name for name in await tasks_of(stack)):  # the one above
            await asyncio.sleep(0.05)
    tasks = Counter(await tasks_of(stack))
    tasks.subtract(dict.fromkeys(WARM, sockets))
    async with Redis.from_url(stack.state.url) as state:
        kept = {key async for key in state.scan_iter() if await state.pttl(key) == -1}
    files = gateway.num_fds() - len(gateway.net_connections("all"))
    return Left(tasks, files, frozenset(kept))


async def test_whatever_is_asked_in_whatever_order_nothing_is_left(stack: Stack) -> None:
    assert stack.emulator is not None
    before = await left(stack, sockets=0)
    began_s = time.monotonic()
    found = made(sequences, SEQUENCES)
    made_s = time.monotonic()
    clients = await wander(stack, found)
    lasted_s = time.monotonic() - made_s
    heard = sum((client.heard for client in clients), Counter[str]())
    closed = sum((client.closed for client in clients), Counter[int]())
    print(f"\n{len(found)} sequences, made in {made_s - began_s:.1f} s, sent in {lasted_s:.1f} s:")
    print(f"{sum(c.sent for c in clients)} frames on {sum(c.opened for c in clients)} connections")
    print(f"{heard.total()} messages came: {dict(heard)}; closed with {dict(closed) or None}")
    warm = await nothing_is_left(stack)
    after = await left(stack, sockets=warm)
    until_s = time.monotonic() + LEFT_S
    while after != before and time.monotonic() < until_s:
        await asyncio.sleep(0.1)
        after = await left(stack, sockets=warm)
    print(f"{warm} sockets stay warm, {after.tasks.total()} tasks, {after.files} files")
    assert after == before

    assert closed.keys() <= {1008, 4009}
    assert heard["internal_error"] == 0
    for kind in (
        *("speech_started", "audio_chunk", "alignment", "speech_finished", "interrupted"),
        *("accepted", "pong", "configured", "invalid_request", "resumed", "taken_over"),
    ):
        assert heard[kind] > 0, (kind, heard)
    sockets = await stack.emulator.sockets()
    assert {socket.route for socket in sockets} == {SOCKET}
    assert sum(socket.opened for socket in sockets) > SEQUENCES / 20
    measured = (await stack.performance())["measured"]
    assert measured["cached"] > 0
    assert measured["record_failures"] == 0

    await stack.stop_gateway()
    assert {socket.closed_by for socket in await stack.emulator.sockets()} == {"client"}
    assert (await stack.emulator.state())["sockets"]["open"] == 0
    assert b'"level":"error"' not in stack.log.read_bytes()
