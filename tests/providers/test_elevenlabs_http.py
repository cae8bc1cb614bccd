"""ElevenLabs over HTTP, against the emulator: what is noted, what faults become, what is freed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from benchmarks.emulator.process import EmulatorProcess
from benchmarks.wordcode import decode, matches_segments
from core.errors import (
    BadAudio,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderSilent,
    ProviderUnavailable,
    StreamTruncated,
)
from core.providers.base import SpeechCall
from core.providers.elevenlabs_http import ElevenLabsHttp, open_elevenlabs_http
from core.settings import UpstreamSettings
from core.speech import SegmentPlan
from core.synthesis.limiter import Limited, Limiter
from tests.contract.test_provider import call_of, segment_of

TEXT = "The house by the lake has a new roof and a large garden."
SEGMENT = segment_of(TEXT, "elevenlabs")


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[EmulatorProcess]:
    options = ("--audio", "coded", "--latency", "flash", "--key", "k", "--plan", "creator")
    async with EmulatorProcess(*options) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module")
async def emulator(running: EmulatorProcess) -> EmulatorProcess:
    await running.clear_faults()
    await running.clear_calls()
    return running


class Upstream:
    def __init__(self, provider: ElevenLabsHttp, limits: list[int]) -> None:
        self.provider = provider
        self.limits = limits


@pytest_asyncio.fixture(loop_scope="module")
async def upstream(emulator: EmulatorProcess) -> AsyncIterator[Upstream]:
    limits: list[int] = []
    settings = UpstreamSettings(
        api_key="k", base_url=f"{emulator.url}/v1/", timeout_s=2.0, stall_timeout_s=0.3
    )
    provider = open_elevenlabs_http(settings, on_concurrency=limits.append)
    yield Upstream(provider, limits)
    await provider.aclose()


async def heard(
    upstream: Upstream, call: SpeechCall | None = None, segment: SegmentPlan = SEGMENT
) -> bytes:
    stream = upstream.provider.stream(segment.text, segment, call or call_of())
    async with aclosing(stream) as chunks:
        return b"".join([chunk.pcm async for chunk in chunks])


async def test_the_reply_is_whole_and_its_headers_are_in_the_trace(
    emulator: EmulatorProcess, upstream: Upstream
) -> None:
    call = call_of()
    verdict = matches_segments(TEXT, decode(await heard(upstream, call), 24_000))
    assert verdict.ok, verdict
    (record,) = call.trace.attempts
    (seen,) = await emulator.calls()
    assert record.request_id == seen.request_id
    assert record.credits == seen.credits > 0
    assert record.region
    assert record.concurrency_limit == 10
    assert upstream.limits == [10]
    assert (seen.route, seen.output_format) == ("stream/with-timestamps", "pcm_24000")


async def test_connections_are_kept_and_used_again(
    emulator: EmulatorProcess, upstream: Upstream
) -> None:
    for _ in range(4):
        await heard(upstream)
    connector = upstream.provider._session.connector
    assert connector is not None
    assert sum(len(items) for items in connector._conns.values()) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "silent"}, ProviderSilent),
        ({"kind": "silent", "headers": True}, ProviderSilent),
        ({"kind": "reset"}, ProviderUnavailable),
        ({"kind": "reset", "headers": True}, ProviderUnavailable),
        ({"kind": "stall", "after_bytes": 90_000}, StreamTruncated),
        ({"kind": "truncate", "after_bytes": 90_000}, StreamTruncated),
        ({"kind": "truncate", "after_bytes": 90_000, "end": "clean"}, StreamTruncated),
        ({"kind": "empty"}, BadAudio),
        ({"kind": "broken_json"}, BadAudio),
        ({"kind": "concurrent_limit_exceeded"}, ProviderBusy),
        ({"kind": "rate_limit_exceeded"}, ProviderBusy),
        ({"kind": "system_busy"}, ProviderBusy),
        ({"kind": "internal_error"}, ProviderUnavailable),
        ({"kind": "service_unavailable"}, ProviderUnavailable),
        ({"kind": "quota_exceeded"}, ProviderRejected),
        ({"kind": "invalid_api_key"}, ProviderRejected),
        ({"kind": "voice_not_found"}, ProviderRejected),
        ({"kind": "subscription_required"}, ProviderRejected),
    ],
    ids=str,
)
async def test_every_fault_becomes_its_error_in_time_and_frees_the_place(
    emulator: EmulatorProcess, upstream: Upstream, fault: dict[str, Any], kind: type[ProviderError]
) -> None:
    await emulator.set_fault(**fault)
    began = time.monotonic()
    with pytest.raises(ProviderError) as caught:
        await heard(upstream, call_of(first_audio_s=0.8, whole_s=2.0))
    assert type(caught.value) is kind
    assert time.monotonic() - began < 2.2
    assert caught.value.retryable is (kind in (ProviderBusy, ProviderUnavailable))
    async with asyncio.timeout(2):
        while any(call.ended_s is None for call in await emulator.calls()):
            await asyncio.sleep(0.02)
    await emulator.clear_faults()
    assert await heard(upstream)


async def test_leaving_frees_the_providers_place_at_once(
    emulator: EmulatorProcess, upstream: Upstream
) -> None:
    text = " ".join(["Another sentence about the garden and the house."] * 12)
    stream = upstream.provider.stream(text, segment_of(text, "elevenlabs"), call_of())
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(1):
        while any(call.ended_s is None for call in await emulator.calls()):
            await asyncio.sleep(0.01)
    (seen,) = await emulator.calls()
    assert seen.aborted


async def test_a_provider_that_is_not_there_is_unavailable() -> None:
    settings = UpstreamSettings(api_key="k", base_url="http://127.0.0.1:9/v1")
    provider = open_elevenlabs_http(settings, on_concurrency=lambda _: None)
    with pytest.raises(ProviderUnavailable):
        await anext(provider.stream(TEXT, SEGMENT, call_of()))
    await provider.warm()
    await provider.aclose()


async def test_a_redirect_carries_neither_key_nor_text_elsewhere() -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"location": "/somewhere/else"})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = UpstreamSettings(
        api_key="k", base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    )
    provider = open_elevenlabs_http(settings, on_concurrency=lambda _: None)
    with pytest.raises(ProviderRejected):
        await anext(provider.stream(TEXT, SEGMENT, call_of()))
    await provider.aclose()
    await runner.cleanup()
    assert len(asked) == 1


async def test_behind_the_limiter_the_provider_never_has_to_refuse(
    emulator: EmulatorProcess, upstream: Upstream
) -> None:
    limiter = Limiter("elevenlabs", limit=4, cap=50, queue_limit=200)
    upstream.provider._on_concurrency = limiter.follow
    limited = Limited(upstream.provider, limiter)

    async def one(number: int) -> int:
        segment = segment_of(f"This is sentence number {number}.", "elevenlabs")
        async with aclosing(limited.stream(segment.text, segment, call_of())) as chunks:
            return sum([len(chunk.pcm) async for chunk in chunks])

    sizes = await asyncio.gather(*(one(number) for number in range(40)))
    assert all(sizes)
    calls = await emulator.calls()
    assert [call.status for call in calls] == [200] * 40
    assert limiter.limit == 10
    assert max(overlap(calls)) == 10


def overlap(calls: list[Any]) -> list[int]:
    return [
        sum(other.started_s <= call.started_s < other.ended_s for other in calls) for call in calls
    ]
