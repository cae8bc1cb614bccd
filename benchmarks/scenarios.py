"""What is measured, one function each; figures by the listener, on real ports."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from benchmarks.emulator.latency import FLASH_FIRST_S
from benchmarks.emulator.process import EmulatorProcess
from benchmarks.hammer import hammer, request_bytes
from benchmarks.listener import Heard, listen
from benchmarks.phrases import phrases
from benchmarks.stack import EMULATOR_KEY, Stack
from benchmarks.stats import percentile
from core.children import Child
from gateway.server import open_listener

STREAM: Final = "/api/v1/voice/streaming/synthesize/streaming"
WHOLE: Final = "/api/v1/voice/synthesize"
VOICE: Final = "21m00Tcm4TlvDq8ikWAM"
MODEL: Final = "eleven_flash_v2_5"
TEN_WORDS: Final = "Would you like to visit the house on Saturday morning?"


class Times(msgspec.Struct):
    """What a scenario measured, in milliseconds, one value a request."""

    first_audio_ms: list[float] = msgspec.field(default_factory=list)
    whole_reply_ms: list[float] = msgspec.field(default_factory=list)
    underruns: int = 0
    failed: list[str] = msgspec.field(default_factory=list)
    providers: dict[str, int] = msgspec.field(default_factory=dict)

    def add(self, heard: Heard, *, to_the_end: bool) -> None:
        """Listen to a streamed reply and count it; underruns are found only `to_the_end`."""
        if not heard.complete:
            self.failed.append(heard.error or f"status {heard.status}")
            return
        listening = heard.listening(whole=to_the_end)
        if listening.first_audio_ms is None or listening.error:
            self.failed.append(listening.error or "nothing audible")
            return
        self.first_audio_ms.append(listening.first_audio_ms)
        self.whole_reply_ms.append(heard.total_ms)
        self.underruns += len(listening.underruns)
        provider = heard.headers.get("x-provider", "?")
        self.providers[provider] = self.providers.get(provider, 0) + 1


def body_of(text: str, **fields: Any) -> dict[str, Any]:
    """A synthesis request."""
    return {"text": text, "voice_agent_id": "agent_123", "language": "en"} | fields


async def speak_all(
    stack: Stack, bodies: Sequence[dict[str, Any]], concurrent: int, *, to_the_end: bool = False
) -> Times:
    """Have all of them streamed, `concurrent` at a time."""
    todo = iter(bodies)

    async def client(http: aiohttp.ClientSession) -> list[Heard]:
        url = stack.base_url + STREAM
        return [await listen(http, "POST", url, json=body) for body in todo]

    connector = aiohttp.TCPConnector(limit=concurrent)
    async with aiohttp.ClientSession(connector=connector) as http:
        heard = await asyncio.gather(*(client(http) for _ in range(concurrent)))
    times = Times()
    for one in itertools.chain(*heard):
        times.add(one, to_the_end=to_the_end)
    return times


async def cold(stack: Stack, *, rounds: int, concurrent: int, seed: int) -> Times:
    """Different texts nobody has spoken before."""
    return await speak_all(
        stack,
        [body_of(text) for text in phrases(rounds * concurrent, seed)],
        concurrent,
        to_the_end=True,
    )


async def cached(stack: Stack, *, requests: int, concurrent: int) -> Times:
    """Twenty texts that were spoken before, over and over."""
    texts = phrases(20, seed=11)
    await speak_all(stack, [body_of(text) for text in texts], 5)
    bodies = [body_of(text) for text in itertools.islice(itertools.cycle(texts), requests)]
    return await speak_all(stack, bodies, concurrent)


_COLOURS: Final = ("red", "blue", "green", "white", "black", "brown", "grey", "yellow")
"""Each makes a text of one segment."""


class Counts(msgspec.Struct, frozen=True):
    """Exact counts, each per request."""

    redis_trips_uncached: float
    redis_trips_memory_hit: float
    upstream_calls_uncached: float
    upstream_calls_cached: float
    upstream_calls_equal_20: float
    upstream_calls_second_format: float


async def counts(stack: Stack) -> Counts:
    """Round trips to Redis and calls upstream, counted by the servers that get them."""
    assert stack.emulator is not None
    emulator = stack.emulator
    texts = [f"The keys of the {colour} house are at the front desk." for colour in _COLOURS]

    async def spoken(bodies: Sequence[dict[str, Any]], concurrent: int) -> tuple[float, float]:
        before = await stack.performance()
        calls = len(await emulator.calls())
        times = await speak_all(stack, bodies, concurrent)
        if times.failed:
            raise RuntimeError(f"a request failed: {times.failed[0]}")
        after = await stack.performance()
        return (
            after["measured"]["redis_trips"] - before["measured"]["redis_trips"],
            len(await emulator.calls()) - calls,
        )

    fresh = [body_of(text) for text in texts]
    uncached_trips, uncached_calls = await spoken(fresh, 1)
    hit_trips, hit_calls = await spoken(fresh, 1)
    _, format_calls = await spoken([body_of(text, format="wav") for text in texts], 1)
    equal = body_of("The keys for the flat are kept at the front desk.")
    _, equal_calls = await spoken([equal] * 20, 20)
    count = len(texts)
    return Counts(
        redis_trips_uncached=uncached_trips / count,
        redis_trips_memory_hit=hit_trips / count,
        upstream_calls_uncached=uncached_calls / count,
        upstream_calls_cached=hit_calls / count,
        upstream_calls_equal_20=equal_calls,
        upstream_calls_second_format=format_calls / count,
    )


class Ratio(msgspec.Struct, frozen=True):
    """Two things measured in turn."""

    ours: list[float]
    theirs: list[float]

    @property
    def quotient(self) -> float:
        """Median of ours over median of theirs."""
        return percentile(self.ours, 0.5) / percentile(self.theirs, 0.5)

    @property
    def difference(self) -> float:
        """Median of what ours has over theirs, pair by pair."""
        return percentile([a - b for a, b in zip(self.ours, self.theirs, strict=True)], 0.5)


async def cached_throughput(
    stack: Stack, *, slices: int, seconds: float, connections: int
) -> Ratio:
    """Replies a second of a cached request, and of a bare handler with the same bytes."""
    body = msgspec.json.encode(body_of(TEN_WORDS))
    async with (
        aiohttp.ClientSession() as http,
        http.post(stack.base_url + STREAM, json=body_of(TEN_WORDS)) as reply,
    ):
        await reply.read()
    async with (
        aiohttp.ClientSession() as http,
        http.post(stack.base_url + STREAM, json=body_of(TEN_WORDS)) as reply,
    ):
        audio = await reply.read()
    headers = {"Content-Type": "application/json", "Accept": "audio/mpeg"}
    port = int(stack.base_url.rsplit(":", 1)[1])
    async with _bare_server(audio) as bare_port:
        ours_request = request_bytes(f"127.0.0.1:{port}", STREAM, body, headers)
        bare_request = request_bytes(f"127.0.0.1:{bare_port}", "/synthesize", body, headers)
        for target, request in ((port, ours_request), (bare_port, bare_request)):
            await hammer(target, request, connections=connections, seconds=0.5)
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(slices):
            one = await hammer(port, ours_request, connections=connections, seconds=seconds)
            other = await hammer(bare_port, bare_request, connections=connections, seconds=seconds)
            if one.body_bytes != other.body_bytes:
                raise RuntimeError("the two servers did not send the same bytes")
            ours.append(one.per_s)
            theirs.append(other.per_s)
    return Ratio(ours, theirs)


@asynccontextmanager
async def _bare_server(audio: bytes) -> AsyncIterator[int]:
    path = Path(f"/tmp/sk-bare-{id(audio)}.bin")  # noqa: S108 - one run's own bytes, removed after
    path.write_bytes(audio)
    with open_listener("127.0.0.1", 0) as listener:
        descriptor, port = listener.fileno(), int(listener.getsockname()[1])
        command = [sys.executable, "-m", "benchmarks.bare", "--fd", str(descriptor)]
        child = Child([*command, "--bytes", str(path)], pass_fds=[descriptor])
        try:
            async with (
                asyncio.timeout(20),
                aiohttp.ClientSession() as http,
                http.get(f"http://127.0.0.1:{port}/") as reply,
            ):
                await reply.read()
            yield port
        finally:
            await child.end(5)
            path.unlink(missing_ok=True)


_WARM_PAIRS: Final = 4
"""The first open the connections and load what both programs need."""
_EVERY_S: Final = FLASH_FIRST_S / 1.5
"""From one request to the next: the emulator's first byte comes half-way between two of them, so
that neither the beginning of a request nor its first byte meets that of another."""


async def added_first_byte(stack: Stack, emulator: EmulatorProcess, *, pairs: int) -> Ratio:
    """First audio through the gateway, and straight from the emulator, in turn."""
    url = f"{emulator.url}/v1/text-to-speech/{VOICE}/stream?output_format=pcm_24000"
    texts = [f"{text.split('.')[0]}." for text in phrases(pairs + _WARM_PAIRS, seed=5)]
    async with aiohttp.ClientSession() as http:

        async def direct(text: str) -> Heard:
            body, headers = {"text": text, "model_id": MODEL}, {"xi-api-key": EMULATOR_KEY}
            return await listen(http, "POST", url, json=body, headers=headers)

        async def through(text: str) -> Heard:
            body = body_of(text, format="pcm", enable_caching=False)
            return await listen(http, "POST", stack.base_url + STREAM, json=body)

        async with asyncio.TaskGroup() as group:
            began_s = time.monotonic()
            asked: list[asyncio.Task[Heard]] = []
            for text, ask in itertools.product(texts, (direct, through)):
                await asyncio.sleep(began_s + len(asked) * _EVERY_S - time.monotonic())
                asked.append(group.create_task(ask(text)))
    heard = [task.result() for task in asked[2 * _WARM_PAIRS :]]
    for one in heard[1::2]:
        if one.headers.get("x-provider") != "elevenlabs":
            raise RuntimeError(f"not the asked voice: {one.headers}")
    times = [one.listening("pcm_24000").first_audio_ms for one in heard]
    firsts = [first for first in times if first is not None]
    if len(firsts) < len(times):
        raise RuntimeError("nothing audible")
    return Ratio(ours=firsts[1::2], theirs=firsts[::2])
