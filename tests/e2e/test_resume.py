"""Speaking sessions whose gateway is ended or killed: heard from outside, on another gateway.

SEIKETSU_RESUME_SESSIONS says how many speak at once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from benchmarks.stack import Stack, open_stack
from benchmarks.wordcode import matches_segments
from core.children import Child
from core.settings import SpeechSettings
from core.synthesis.live import after_marks
from core.text.clauses import ClauseCutter
from core.text.languages import LANGUAGES, Language
from core.text.segment import segment
from gateway.greeting import wait_until_ready
from gateway.server import open_listener
from tests.e2e.live import tokens_of
from tests.e2e.regained import Returning

pytestmark = pytest.mark.asyncio(loop_scope="module")

SESSIONS = int(os.environ.get("SEIKETSU_RESUME_SESSIONS", "20"))
EMULATOR = ("--audio", "coded", "--latency", "flash", "--concurrency", "60", "--seed", "5")
_STOP_S = 12.0

WRITTEN: dict[Language, tuple[str, str]] = {
    "en": (
        "The flat on {0} street has two rooms. It is free on {1}. Would you like it?",
        "We meet on {0} street.",
    ),
    "es": (
        "El piso de la calle {0} tiene dos camas. Está libre el {1}. ¿Le gusta la idea?",
        "Nos vemos en la calle {0}.",
    ),
    "zh": (
        "{0}街的房子有两个房间。房子很安静，{1}有空。您想不想来看看？",
        "我们在{0}街见面。",
    ),
}
STREETS: dict[Language, Sequence[str]] = {
    "en": ("Oak", "Elm", "Ash", "Pine", "Birch", "Maple", "Cedar", "Willow"),
    "es": ("Luna", "Sol", "Prado", "Goya", "Real", "Toledo", "Mayor", "Serrano"),
    "zh": "东南西北山水林海",
}
DAYS: dict[Language, Sequence[str]] = {
    "en": ("Monday", "Friday"),
    "es": ("lunes", "viernes"),
    "zh": ("星期一", "星期五"),
}
TOKENS = 16
"""Pieces that a text comes in; in the middle of them the gateway ends."""
SEGMENT_CHARS = SpeechSettings().max_segment_chars
FORMATS = ("pcm_8000", "mp3", "ulaw")


class Kind(msgspec.Struct, frozen=True):
    """What a session is like, and what is said in it."""

    language: Language
    output_format: str
    written: bool
    """As a language model writes; otherwise the whole texts are asked for."""
    kept: bool
    """The first text was said once before."""
    texts: dict[str, str]
    """By the id of their utterance."""

    def starts(self, name: str) -> set[int]:
        """Where clauses of that text begin."""
        text = self.texts[name]
        if not self.written:
            return {start for start, _ in segment(text, self.language, max_chars=SEGMENT_CHARS)}
        cutter = ClauseCutter(self.language, max_chars=SEGMENT_CHARS)
        clauses = cutter.feed(text) + cutter.flush()
        ends = itertools.accumulate(len(clause) for clause in clauses)
        return {0, *(after_marks(text, end) for end in ends)} - {len(text)}


def kind_of(number: int, day: int) -> Kind:
    """The session of that number; on another day the same is said in other words."""
    language = LANGUAGES[number % 3]
    street = STREETS[language][number // 3 % 8]
    a, b = (text.format(street, DAYS[language][day]) for text in WRITTEN[language])
    return Kind(
        language=language,
        output_format=FORMATS[number // 3 % 3],
        written=number % 2 == 0,
        kept=number % 4 in (1, 2),
        texts={"a": a, "b": b},
    )


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


async def say_once(caller: Returning, kind: Kind) -> None:
    """Have the first of its texts kept."""
    await caller.say("synthesize", text=kind.texts["a"])
    await caller.until("audio_response", 1)


async def speak(caller: Returning, kind: Kind, seed: int) -> None:
    for name, text in kind.texts.items():
        if not kind.written:
            await caller.say("synthesize", text=text, stream=True, utterance_id=name)
            continue
        # The first sentence at once: of a text that is slow to come pieces are said that are none.
        begun = max(sorted(kind.starts(name))[:2]) + 3
        rest = text[begun:]
        for token in (text[:begun], *tokens_of(rest, min(len(rest), TOKENS), seed=seed)):
            await caller.say("text", text=token, utterance_id=name)
            await asyncio.sleep(0.07)
    if kind.written:
        await caller.say("end")


@asynccontextmanager
async def speaking(two: Two, kinds: Sequence[Kind]) -> AsyncIterator[list[Returning]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        callers = [
            Returning(
                http,
                f"s{number}",
                lambda: two.base,
                language="en" if kind.language == "en" else "auto",
                output_format=kind.output_format,
            )
            for number, kind in enumerate(kinds)
        ]
        talkers = list(zip(callers, kinds, strict=True))
        await asyncio.gather(*(say_once(c, kind) for c, kind in talkers if kind.kept))
        talking = [
            asyncio.create_task(speak(caller, kind, number))
            for number, (caller, kind) in enumerate(talkers)
        ]
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
        while not all(any(caller.files.get("a", ())) for caller in callers):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)


def check_words(callers: list[Returning], kinds: Sequence[Kind]) -> None:
    """Every word of every text is heard once and in order; what went on did so at the start of a
    clause, and by then exactly what comes before had been heard."""
    for caller, kind in zip(callers, kinds, strict=True):
        assert not list(caller.of("error")), list(caller.of("error"))
        for name, text in kind.texts.items():
            verdict = matches_segments(text, caller.words(name))
            assert verdict.ok, (kind, name, verdict, list(caller.of("speech_resumed")))
        for event in caller.of("speech_resumed"):
            name, at = event["utterance_id"], event["from_char"]
            assert at in kind.starts(name), (kind, name, at)
            before = caller.words(name, slice(0, -1))
            assert matches_segments(kind.texts[name][:at], before).ok, (kind, name, at)


async def test_a_gateway_that_ends_drops_no_word_and_repeats_none(two: Two) -> None:
    kinds = [kind_of(number, 0) for number in range(SESSIONS)]
    async with speaking(two, kinds) as callers:
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
    check_words(callers, kinds)


async def test_after_a_kill_every_session_goes_on_at_the_start_of_its_clause(two: Two) -> None:
    kinds = [kind_of(number, 1) for number in range(SESSIONS)]
    async with speaking(two, kinds) as callers:
        await heard(callers)
        two.end_first(signal.SIGKILL)
    resumed = [event for caller in callers for event in caller.of("speech_resumed")]
    dropped = [ms for caller in callers for ms in caller.dropped_ms]
    print(
        f"\n{SESSIONS} sessions: {len(resumed)} utterances went on in their middle, "
        f"at most {max(dropped):.0f} ms of audio was sent twice"
    )
    assert [caller.closed for caller in callers] == [[1006]] * SESSIONS
    assert len(resumed) == SESSIONS
    check_words(callers, kinds)
