"""Which way a text goes to ElevenLabs, and what the whole product makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from benchmarks.emulator.process import EmulatorProcess
from core.deadline import Deadline
from core.embedded import EmbeddedRedis
from core.providers.base import SpeechCall, SpeechProvider
from core.providers.elevenlabs import ElevenLabs, open_elevenlabs
from core.resilience.retry import Retry
from core.runtime import open_runtime
from core.settings import RedisSettings, Settings, UpstreamSettings, load_settings
from core.speech import AttemptTrace, SegmentPlan, SpeechRequest
from tests.contract.test_provider import call_of, segment_of, written

TEXT = "The house by the lake has a new roof and a large garden."
SEGMENT = segment_of(TEXT, "elevenlabs")
SOCKETS = ["multi-stream-input"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[EmulatorProcess]:
    options = ("--audio", "coded", "--latency", "none", "--key", "k", "--close-ms", "20")
    async with EmulatorProcess(*options) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module")
async def emulator(running: EmulatorProcess) -> EmulatorProcess:
    await running.clear_faults()
    await running.clear_sockets()
    return running


@asynccontextmanager
async def opened(emulator: EmulatorProcess, **fields: Any) -> AsyncIterator[ElevenLabs]:
    settings = UpstreamSettings(api_key="k", base_url=f"{emulator.url}/v1", **fields)
    provider = open_elevenlabs(settings, on_concurrency=lambda _: None)
    try:
        yield provider
    finally:
        await provider.aclose()


async def spoken(
    provider: SpeechProvider,
    segment: SegmentPlan = SEGMENT,
    *,
    arriving: bool = True,
    iterated: bool = False,
) -> AttemptTrace:
    """The record of one utterance that came to its end."""
    call: SpeechCall = msgspec.structs.replace(call_of(), arriving=arriving)
    text = written(segment.text) if iterated else segment.text
    async with aclosing(provider.stream(text, segment, call)) as chunks:
        assert [chunk async for chunk in chunks]
    (record,) = call.trace.attempts
    return record


async def test_text_that_is_arriving_goes_over_the_socket_and_other_text_does_not(
    emulator: EmulatorProcess,
) -> None:
    async with opened(emulator) as provider:
        assert (await spoken(provider)).transport == "websocket"
        assert (await spoken(provider, arriving=False)).transport == "http"
        assert (await spoken(provider, arriving=False, iterated=True)).transport == "websocket"
        assert provider.gauges() == {"elevenlabs_sockets": 1, "elevenlabs_contexts": 0}


async def test_without_websockets_everything_goes_over_http(emulator: EmulatorProcess) -> None:
    off = load_settings({"ELEVEN_LABS_WEBSOCKET": "off"}).upstream.websocket
    async with opened(emulator, websocket=off) as provider:
        assert (await spoken(provider)).transport == "http"
        assert (await spoken(provider, iterated=True)).transport == "http"
    assert await emulator.sockets() == []


@pytest.mark.parametrize("fault", [{"kind": "reset"}, {"kind": "service_unavailable"}], ids=str)
async def test_what_a_lost_socket_did_not_say_is_said_over_http(
    emulator: EmulatorProcess, fault: dict[str, Any]
) -> None:
    await emulator.set_fault(**fault, count=1, routes=SOCKETS)
    async with opened(emulator) as provider:
        retried = Retry(provider, tries=2, pause_s=0.01)
        record = await spoken(retried)
        assert (record.transport, record.tries) == ("http", 2)
        # For a while whole texts do not try again what has just failed.
        assert (await spoken(retried)).transport == "http"
        assert len(await emulator.sockets()) == 1


async def test_a_model_without_websockets_is_asked_over_http_from_then_on(
    emulator: EmulatorProcess,
) -> None:
    (attempt,) = SEGMENT.attempts
    attempt = msgspec.structs.replace(attempt, model="eleven_v3")
    segment = msgspec.structs.replace(SEGMENT, attempts=(attempt,))
    async with opened(emulator) as provider:
        retried = Retry(provider, tries=2, pause_s=0.01)
        assert (await spoken(retried, segment, iterated=True)).transport == "http"
        record = await spoken(retried, segment, iterated=True)
        assert (record.transport, record.tries) == ("http", 1)
    assert [note.status for note in await emulator.sockets()] == [400]


async def test_a_segment_of_an_arriving_utterance_finds_its_way_through_the_product(
    emulator: EmulatorProcess,
    redis_state: EmbeddedRedis,
    redis_cache: EmbeddedRedis,
    tmp_path: Path,
) -> None:
    settings = Settings(
        data_dir=tmp_path,
        redis=RedisSettings(state_url=redis_state.url, cache_url=redis_cache.url),
        upstream=UpstreamSettings(api_key="k", base_url=f"{emulator.url}/v1"),
    )
    async with open_runtime(settings) as runtime:
        for arriving, transport in ((True, "websocket"), (False, "http")):
            deadline = Deadline.after(first_audio_s=5.0, whole_s=9.0)
            listener = runtime.board.join(
                SEGMENT, deadline, work_class="live", share=False, keep=None, arriving=arriving
            )
            async with aclosing(listener.chunks(deadline)) as chunks:
                assert [chunk async for chunk in chunks]
            (record,) = listener.flight.trace.attempts
            assert (record.transport, record.outcome) == (transport, "won")
            listener.close()
        gauges = runtime.gauges()
        assert (gauges["elevenlabs_sockets"], gauges["elevenlabs_contexts"]) == (1, 0)
        assert gauges["elevenlabs_in_use"] == 0
    assert [note.closed_by for note in await emulator.sockets()] == ["client"]


async def test_a_socket_is_there_when_the_first_clause_is(
    emulator: EmulatorProcess,
    redis_state: EmbeddedRedis,
    redis_cache: EmbeddedRedis,
    tmp_path: Path,
) -> None:
    settings = Settings(
        data_dir=tmp_path,
        redis=RedisSettings(state_url=redis_state.url, cache_url=redis_cache.url),
        upstream=UpstreamSettings(api_key="k", base_url=f"{emulator.url}/v1"),
    )
    request = SpeechRequest(tenant="default", text="", agent_id="agent_123", language="en")

    async with open_runtime(settings) as runtime:

        async def writing() -> AsyncIterator[str]:
            yield "The "
            async with asyncio.timeout(5):
                while not await emulator.sockets():
                    await asyncio.sleep(0.01)
            yield "house by the lake has a new roof."

        trace = runtime.service.new_trace("r1", request)
        speech = runtime.service.converse(request, writing(), trace, lead_s=lambda: 0.0)
        async with aclosing(speech) as pieces:
            assert [piece async for piece in pieces]
        assert [note.most_active for note in await emulator.sockets()] == [1]
