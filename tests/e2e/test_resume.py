"""Speaking sessions whose gateway is ended or killed: heard from outside, on another gateway.

SEIKETSU_RESUME_SESSIONS says how many speak at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio

from benchmarks.stack import Stack, open_stack
from benchmarks.wordcode import decode, matches_segments, words_of
from core.children import Child
from gateway.greeting import wait_until_ready
from gateway.server import open_listener
from tests.e2e.live import tokens_of
from tests.e2e.regained import RATE_HZ, Returning

pytestmark = pytest.mark.asyncio(loop_scope="module")

SESSIONS = int(os.environ.get("SEIKETSU_RESUME_SESSIONS", "20"))
EMULATOR = ("--audio", "coded", "--latency", "flash", "--concurrency", "60", "--seed", "5")
STREETS = ("Oak", "Elm", "Ash", "Pine", "Birch", "Maple", "Cedar", "Willow")
_STOP_S = 12.0


def text_of(number: int) -> str:
    street = STREETS[number % len(STREETS)]
    return f"The flat on {street} street has two rooms. It is quiet and sunny. Would you like it?"


def behind_of(number: int) -> str:
    return f"We meet on {STREETS[number % len(STREETS)]} street."


class Two:
    """A gateway that may be ended, and another."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.base = stack.base_url
        self._first = stack.base_url
        self._second = ""
        self._child: Child | None = None

    async def start_second(self) -> None:
        with open_listener("127.0.0.1", 0) as listener, self.stack.log.open("ab") as output:
            fd = listener.fileno()
            command = [sys.executable, "-m", "gateway.cli", "serve", "--fd", str(fd)]
            self._child = Child(command, env=self.stack.env, pass_fds=[fd], output=output)
            self._second = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await wait_until_ready(self._second, 30.0)

    async def begin(self) -> None:
        """Both run, and the first is the one to call."""
        if self.base != self._first:
            await self.stack.stop_gateway()
            await self.stack.start_gateway()
            self.base = self._first = self.stack.base_url

    def end_first(self, number: signal.Signals) -> None:
        """The second is the one to call."""
        os.kill(self.stack.gateway_pid, number)
        self.base = self._second

    async def aclose(self) -> None:
        if self._child is not None:
            await self._child.end(_STOP_S)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateways() -> AsyncIterator[Two]:
    async with open_stack(emulator=EMULATOR, voice_processes=1) as stack:
        opened = Two(stack)
        try:
            await opened.start_second()
            yield opened
        finally:
            await opened.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def two(gateways: Two) -> Two:
    await gateways.begin()
    return gateways


async def speak(caller: Returning, number: int) -> None:
    """Half of them ask for whole texts, half write theirs as a language model does."""
    if number % 2:
        await caller.say("synthesize", text=text_of(number), stream=True, utterance_id="a")
        await caller.say("synthesize", text=behind_of(number), stream=True, utterance_id="b")
        return
    for name, text in (("a", text_of(number)), ("b", behind_of(number))):
        for token in tokens_of(text, len(text) // 3, seed=number):
            await caller.say("text", text=token, utterance_id=name)
            await asyncio.sleep(0.07)
    await caller.say("end")


@asynccontextmanager
async def speaking(two: Two) -> AsyncIterator[list[Returning]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        callers = [Returning(http, f"s{n}", lambda: two.base) for n in range(SESSIONS)]
        talking = [asyncio.create_task(speak(c, n)) for n, c in enumerate(callers)]
        try:
            yield callers
            await asyncio.gather(*talking)
            await asyncio.gather(*(caller.finished(2) for caller in callers))
        finally:
            for task in talking:
                task.cancel()
            await asyncio.gather(*(caller.aclose() for caller in callers))


async def heard(callers: list[Returning]) -> None:
    """Wait until all of them speak, and a moment."""
    async with asyncio.timeout(20):
        while not all(caller.audio.get("a") for caller in callers):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)


def check_words(callers: list[Returning]) -> None:
    """Every word of every text is heard once and in order."""
    for number, caller in enumerate(callers):
        assert not list(caller.of("error")), list(caller.of("error"))
        for name, text in (("a", text_of(number)), ("b", behind_of(number))):
            verdict = matches_segments(text, caller.words(name))
            assert verdict.ok, (number, name, verdict, list(caller.of("speech_resumed")))


async def test_a_gateway_that_ends_drops_no_word_and_repeats_none(two: Two) -> None:
    async with speaking(two) as callers:
        await heard(callers)
        two.end_first(signal.SIGTERM)
    resumed = [event for caller in callers for event in caller.of("speech_resumed")]
    dropped = [ms for caller in callers for ms in caller.dropped_ms]
    print(
        f"\n{SESSIONS} sessions: {len(resumed)} utterances went on in their middle, "
        f"at most {max(dropped, default=0):.1f} ms of audio was sent twice"
    )
    assert [caller.closed for caller in callers] == [[1012]] * SESSIONS
    assert all(len(list(caller.of("going_away"))) == 1 for caller in callers)
    assert len(resumed) >= SESSIONS / 4
    assert max(map(abs, dropped)) < 1.0
    check_words(callers)


async def test_after_a_kill_every_session_goes_on_at_the_start_of_its_clause(two: Two) -> None:
    async with speaking(two) as callers:
        await heard(callers)
        two.end_first(signal.SIGKILL)
    resumed = [(c, n, e) for n, c in enumerate(callers) for e in c.of("speech_resumed")]
    dropped = [ms for caller in callers for ms in caller.dropped_ms]
    print(
        f"\n{SESSIONS} sessions: {len(resumed)} utterances went on in their middle, "
        f"at most {max(dropped):.0f} ms of audio was sent twice"
    )
    assert [caller.closed for caller in callers] == [[1006]] * SESSIONS
    assert len(resumed) == SESSIONS
    check_words(callers)
    for caller, number, event in resumed:
        text = text_of(number) if event["utterance_id"] == "a" else behind_of(number)
        kept = bytes(caller.audio[event["utterance_id"]])[: 16 * event["offset_ms"]]
        before = words_of(text[: event["from_char"]])
        assert matches_segments(" ".join(before), decode(kept, RATE_HZ) if kept else []).ok
        assert not before or " " in text[event["from_char"] - 1 : event["from_char"] + 1]
