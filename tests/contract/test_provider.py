"""One suite over every `SpeechProvider`: the leaves and the policies around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from benchmarks.emulator.process import EmulatorProcess
from core.audio.pcm import duration_ms
from core.deadline import Deadline
from core.errors import SeiketsuError
from core.providers.base import SpeechCall, SpeechProvider, SpokenText
from core.providers.elevenlabs import open_elevenlabs
from core.providers.elevenlabs_http import open_elevenlabs_http
from core.providers.elevenlabs_ws import open_elevenlabs_websocket
from core.providers.local import LocalProvider
from core.resilience.audible import Audible
from core.resilience.race import Race
from core.resilience.retry import Retry
from core.settings import UpstreamSettings
from core.speech import Attempt, AudioChunk, SegmentPlan, SegmentTrace
from core.synthesis.limiter import Limited, Limiter

TEXT = "The flat has two rooms, a balcony and a view. Would you like to see it?"
VOICES = {"local": "hibari/heart", "elevenlabs": "21m00Tcm4TlvDq8ikWAM"}
UPSTREAM = ("elevenlabs", "elevenlabs-websocket", "elevenlabs-both")
NAMES = ("local", *UPSTREAM, "retry", "limited", "audible", "race")


def segment_of(text: str, *providers: str) -> SegmentPlan:
    attempts = tuple(
        Attempt(name, "", VOICES[name], "eleven_flash_v2_5", "en", None, f"key-{name}")
        for name in providers
    )
    return SegmentPlan(0, text, 0, len(text), range(len(text) + 1), attempts)


def call_of(first_audio_s: float = 20.0, whole_s: float = 30.0) -> SpeechCall:
    deadline = Deadline.after(first_audio_s=first_audio_s, whole_s=whole_s)
    return SpeechCall(deadline=deadline, trace=SegmentTrace())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def emulator() -> AsyncIterator[EmulatorProcess]:
    async with EmulatorProcess("--audio", "coded", "--latency", "none", "--key", "k") as far:
        yield far


@pytest_asyncio.fixture(loop_scope="module")
async def provider(
    request: pytest.FixtureRequest, voice_server: Path, emulator: EmulatorProcess
) -> AsyncIterator[SpeechProvider]:
    local = LocalProvider(voice_server)
    if request.param in UPSTREAM:
        settings = UpstreamSettings(api_key="k", base_url=f"{emulator.url}/v1")
        upstream: SpeechProvider
        if request.param == "elevenlabs":
            upstream = open_elevenlabs_http(settings, on_concurrency=lambda _: None)
        elif request.param == "elevenlabs-websocket":
            upstream = open_elevenlabs_websocket(settings)
        else:
            upstream = open_elevenlabs(settings, on_concurrency=lambda _: None)
        yield upstream
        await upstream.aclose()
    else:
        limiter = Limiter("local", limit=2, cap=2, queue_limit=9)
        wrapped: dict[str, SpeechProvider] = {
            "local": local,
            "retry": Retry(local, tries=2, pause_s=0.01),
            "limited": Limited(local, limiter),
            "audible": Audible(local),
            "race": Race(
                [Audible(Limited(Retry(local, tries=2, pause_s=0.01), limiter))], reserve_s=1
            ),
        }
        yield wrapped[request.param]
        assert limiter.in_use == 0
    await local.aclose()


def planned(provider: SpeechProvider, text: str = TEXT) -> SegmentPlan:
    return segment_of(text, "elevenlabs" if provider.name == "elevenlabs" else "local")


async def chunks_of(
    provider: SpeechProvider, text: SpokenText = TEXT, call: SpeechCall | None = None
) -> list[AudioChunk]:
    stream = provider.stream(text, planned(provider), call or call_of())
    async with aclosing(stream) as chunks:
        return [chunk async for chunk in chunks]


async def written(text: str) -> AsyncGenerator[str, None]:
    for start in range(0, len(text), 7):
        await asyncio.sleep(0.001)
        yield text[start : start + 7]


pytestmark = pytest.mark.asyncio(loop_scope="module")

every = pytest.mark.parametrize("provider", NAMES, indirect=True)


@every
async def test_audio_is_canonical_and_words_are_all_there_in_order(
    provider: SpeechProvider,
) -> None:
    chunks = await chunks_of(provider)
    assert all(len(chunk.pcm) % 2 == 0 for chunk in chunks)
    samples = sum(len(chunk.pcm) for chunk in chunks) // 2
    assert 2_000 < duration_ms(samples) < 12_000
    words = [word for chunk in chunks for word in chunk.words]
    assert [TEXT[word.char_start : word.char_end] for word in words] == TEXT.split()
    assert [word.start_ms for word in words] == sorted(word.start_ms for word in words)
    assert all(0 <= word.start_ms <= word.end_ms <= duration_ms(samples) + 1 for word in words)
    assert not any(word.estimated for word in words)


@every
async def test_a_text_that_is_still_being_written_is_the_same_thing(
    provider: SpeechProvider,
) -> None:
    chunks = await chunks_of(provider, written(TEXT))
    words = [word for chunk in chunks for word in chunk.words]
    assert [TEXT[word.char_start : word.char_end] for word in words] == TEXT.split()
    assert [word.start_ms for word in words] == sorted(word.start_ms for word in words)


@every
async def test_leaving_after_the_first_chunk_leaves_nothing_behind(
    provider: SpeechProvider,
) -> None:
    stream = provider.stream(TEXT * 5, planned(provider, TEXT * 5), call_of())
    first = await anext(stream)
    assert first.pcm or first.words
    await stream.aclose()


@every
async def test_being_cancelled_leaves_nothing_behind(provider: SpeechProvider) -> None:
    task = asyncio.create_task(chunks_of(provider, TEXT * 20))
    await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@every
async def test_no_time_is_an_error_at_once(provider: SpeechProvider) -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(SeiketsuError):
        await chunks_of(provider, call=call_of(first_audio_s=0.0, whole_s=0.0))
    assert asyncio.get_running_loop().time() - began < 0.5


@every
async def test_a_segment_without_an_attempt_of_this_provider_is_refused(
    provider: SpeechProvider,
) -> None:
    other = "local" if provider.name == "elevenlabs" else "elevenlabs"
    stream = provider.stream(TEXT, segment_of(TEXT, other), call_of())
    with pytest.raises(SeiketsuError):
        await anext(stream)
    await stream.aclose()


@every
async def test_the_trace_says_who_was_asked(provider: SpeechProvider) -> None:
    call = call_of()
    await chunks_of(provider, call=call)
    (record,) = call.trace.attempts
    assert record.provider in ("local", "elevenlabs")
    assert record.tries == 1
    if record.provider == "elevenlabs":
        assert record.request_id
        assert record.region
        assert record.transport in ("http", "websocket")
    if record.transport == "http":
        assert record.credits
        assert record.concurrency_limit
