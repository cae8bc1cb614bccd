"""Sessions whose provider dies in the middle of a text, and clients that misbehave."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from benchmarks.emulator.faults import SPEECH_ROUTES
from benchmarks.stack import Stack, open_stack
from benchmarks.wordcode import UNREADABLE, matches_segments, word_hash, words_of
from core.settings import GatewaySettings
from gateway.docs.session import CLOSE_CODES
from tests.e2e.live import EMULATOR, FULL, SOCKET, Caller, call, quiet, struck, tokens_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]

LIMITS = {"SEIKETSU_SEND_STALL": "3", "SEIKETSU_SESSION_IDLE": "2"}
FIRST = "The house on the hill {} is still free. "
REST = "The {} house has four rooms and a large garden with old trees behind it. It is old."
NEXT = "And this is what was asked after it."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with open_stack(emulator=EMULATOR, env=LIMITS, voice_processes=1) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def http(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session
    assert stack.emulator is not None
    await stack.emulator.clear_faults()


ERROR = {"kind": "error_frame"}
"""Of one utterance alone: its socket is not lost."""
RESET = {"kind": "reset"}
DEATHS: tuple[dict[str, Any], ...] = (
    {"kind": "error_frame", "with_context": False, "code": 1008},
    {"kind": "silent"},
    {"kind": "close", "code": 1011},
    {"kind": "truncate", "end": "abort"},
)
REST_S = 5.2
"""After a young socket was lost texts go over HTTP for about so long, and no socket is struck."""


def name_of(fault: dict[str, Any]) -> str:
    return str(fault["kind"]).partition("_")[0] + "-code" * ("code" in fault)


async def meet(stack: Stack, fault: dict[str, Any]) -> None:
    """Let the next utterance on a socket meet the fault."""
    assert stack.emulator is not None
    await stack.emulator.set_fault(**fault, routes=[SOCKET], count=1)


async def was_met(stack: Stack, fault: dict[str, Any], since_s: float) -> None:
    """The fault struck once since then; wait until sockets are used again."""
    assert await struck(stack, since_s) == [fault["kind"]]
    if FULL:
        await asyncio.sleep(REST_S)


async def broken(caller: Caller, fault: Awaitable[None], *, name: str) -> str:
    """Write a text whose second sentence meets the fault, and another behind it; the text."""
    first = FIRST.format(name)
    for token in tokens_of(first, 10):
        await caller.say("text", text=token, utterance_id="a")
    await caller.hear("speech_started", utterance_id="a")
    await fault
    rest = REST.format(name)
    for token in tokens_of(rest, 20):
        await caller.say("text", text=token, utterance_id="a")
    await caller.say("end")
    await caller.say("text", text=NEXT, utterance_id="b")
    await caller.say("end")
    await caller.until(
        lambda: [*caller.of("speech_finished"), *caller.of("error", utterance_id="a")]
    )
    return first + rest


async def goes_on(caller: Caller, stack: Stack) -> None:
    """What was asked after it is spoken, and nothing is left in the gateway."""
    await caller.hear("speech_finished", utterance_id="b")
    verdict = matches_segments(NEXT, caller.words("b"))
    assert verdict.ok, verdict
    assert len(list(caller.of("error"))) <= 1
    await quiet(stack)


def told_once(caller: Caller, text: str) -> list[str]:
    """The words that were told with their times: each once and in order."""
    found = [w for e in caller.of("alignment", utterance_id="a") for w in e["words"]]
    starts = [word["char_start"] for word in found]
    assert starts == sorted(set(starts))
    assert [w["start_ms"] for w in found] == sorted(w["start_ms"] for w in found)
    return [text[word["char_start"] : word["char_end"]] for word in found]


@pytest.mark.parametrize("fault", [ERROR, *(DEATHS if FULL else ())], ids=name_of)
async def test_a_clause_of_which_nothing_was_heard_is_said_all_the_same(
    stack: Stack, http: aiohttp.ClientSession, fault: dict[str, Any]
) -> None:
    name = name_of(fault)
    fault, since_s = {"after_frames": 0, **fault}, time.monotonic()
    async with call(http, stack, f"dies-{name}", hurried=True) as caller:
        text = await broken(caller, meet(stack, fault), name=name)
        finished = await caller.hear("speech_finished", utterance_id="a")
        assert told_once(caller, text) == text.split()
        assert finished["metadata"]["text"] == text
        if not finished["metadata"]["fallback"]:
            verdict = matches_segments(text, caller.words("a"))
            assert verdict.ok, verdict
        await goes_on(caller, stack)
    await was_met(stack, fault, since_s)


async def test_clients_that_misbehave_end_alone_and_with_their_code(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    async with call(http, stack, "good") as caller:
        bad = asyncio.gather(_slow(stack), _silent(http, stack), _oversized(http, stack))
        text = FIRST.format("good") + "It is quite old, and nobody lives in it now."
        await caller.say("text", text=text, utterance_id="a")
        await caller.say("end")
        await caller.hear("speech_finished", utterance_id="a")
        verdict = matches_segments(text, caller.words("a"))
        assert verdict.ok, verdict
        assert not [gap for gap in caller.gaps("a") if gap.lasts_ms > 300]
        assert tuple(await bad) == (4008, 1000, 1009)
    assert {4008, 1000, 1009} <= CLOSE_CODES.keys()
    await quiet(stack)


async def _silent(http: aiohttp.ClientSession, stack: Stack) -> int | None:
    async with call(http, stack, "silent") as caller:
        return await caller.closed()


async def _oversized(http: aiohttp.ClientSession, stack: Stack) -> int | None:
    async with call(http, stack, "oversized") as caller:
        await caller.say("text", text="x" * GatewaySettings().max_frame_bytes)
        return await caller.closed()


async def _slow(stack: Stack) -> int | None:
    """Asks for much more than the system's buffers take, and reads it too late."""
    base = stack.base_url.replace("http://", "ws://")
    url = f"{base}/api/v1/voice/streaming/stream/slow?language=en&format=pcm"
    text = "This is going to be a long answer, and nobody is going to read it in time. Is it?"
    events: list[dict[str, Any]] = []
    async with connect(url, compression=None, proxy=None, max_queue=1, max_size=None) as socket:
        await socket.recv()
        for _ in range(9):
            await socket.send(json.dumps({"type": "synthesize", "text": text}))
        socket.transport.pause_reading()
        await asyncio.sleep(2.6)
        socket.transport.resume_reading()
        with suppress(ConnectionClosed):
            while True:
                events.append(json.loads(await socket.recv()))
    assert events[-1]["code"] == "client_too_slow"
    assert sum(event["type"] == "audio_response" for event in events) < 9
    return socket.close_code


@pytest.mark.parametrize("fault", [RESET, *((ERROR, *DEATHS) if FULL else ())], ids=name_of)
async def test_a_clause_that_breaks_off_while_it_is_heard_ends_the_text_with_an_error(
    stack: Stack, http: aiohttp.ClientSession, fault: dict[str, Any]
) -> None:
    name = f"late-{name_of(fault)}"
    fault, since_s = {"after_frames": 1, **fault}, time.monotonic()
    async with call(http, stack, name, hurried=True) as caller:
        text = await broken(caller, meet(stack, fault), name=name)
        error = await caller.hear("error")
        assert (error["code"], error["utterance_id"]) == ("stream_truncated", "a")
        assert not list(caller.of("speech_finished", utterance_id="a"))
        told = told_once(caller, text)
        assert told == text.split()[: len(told)]
        said = [word.word_hash for word in caller.words("a") if word.index != UNREADABLE]
        wanted = [word_hash(word) for word in words_of(text)]
        assert said == wanted[: len(said)]
        assert len(words_of(FIRST)) < len(said) < len(wanted)
        await goes_on(caller, stack)
    await was_met(stack, fault, since_s)


async def test_the_local_voice_takes_over_where_the_provider_is_gone(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    assert stack.emulator is not None
    gone = stack.emulator.set_fault("reset", routes=[SOCKET, *SPEECH_ROUTES])
    async with call(http, stack, "gone", hurried=True) as caller:
        text = await broken(caller, gone, name="gone")
        finished = await caller.hear("speech_finished", utterance_id="a")
        assert finished["metadata"]["fallback"] is True
        assert told_once(caller, text) == text.split()
        first = words_of(FIRST.format("gone"))
        heard = [word.word_hash for word in caller.words("a")]
        assert heard[: len(first)] == [word_hash(word) for word in first]
        rest = heard[len(first) :]
        assert rest.count(UNREADABLE) > len(rest) / 2, "the rest is another voice"
        await caller.hear("speech_finished", utterance_id="b")
    await quiet(stack)
