"""ElevenLabs over WebSocket, against the emulator: what is shared, what ends, what is freed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from benchmarks.emulator.process import EmulatorProcess
from benchmarks.emulator.sockets.log import SocketNote
from benchmarks.wordcode import decode, matches_segments
from core.errors import (
    ProviderBusy,
    ProviderError,
    ProviderSilent,
    ProviderUnavailable,
    StreamTruncated,
)
from core.providers import elevenlabs_pool
from core.providers.base import SpeechCall, SpokenText
from core.providers.elevenlabs_http import open_elevenlabs_http
from core.providers.elevenlabs_socket import MAX_CONTEXTS
from core.providers.elevenlabs_ws import ElevenLabsWebSocket, open_elevenlabs_websocket
from core.settings import UpstreamSettings
from core.speech import Attempt, AudioChunk, SegmentPlan, WordTiming
from tests.contract.test_provider import call_of, segment_of
from tests.providers.socket_faults import FAULTS

TEXT = "The house by the lake has a new roof and a large garden."
SEGMENT = segment_of(TEXT, "elevenlabs")
LONG = " ".join(["Another sentence about the garden and the house."] * 12)
ROUTES = ["multi-stream-input"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[EmulatorProcess]:
    options = ("--audio", "coded", "--latency", "none", "--key", "k", "--concurrency", "200")
    async with EmulatorProcess(*options, "--close-ms", "20") as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module")
async def emulator(running: EmulatorProcess) -> EmulatorProcess:
    await running.clear_faults()
    await running.clear_sockets()
    return running


def settings_of(emulator: EmulatorProcess) -> UpstreamSettings:
    url = f"{emulator.url}/v1/"
    return UpstreamSettings(api_key="k", base_url=url, timeout_s=5.0, stall_timeout_s=0.4)


@pytest_asyncio.fixture(loop_scope="module")
async def upstream(emulator: EmulatorProcess) -> AsyncIterator[ElevenLabsWebSocket]:
    provider = open_elevenlabs_websocket(settings_of(emulator))
    yield provider
    await provider.aclose()
    assert (provider.pool.sockets, provider.pool.contexts) == (0, 0)


async def chunks_of(
    provider: ElevenLabsWebSocket,
    call: SpeechCall | None = None,
    segment: SegmentPlan = SEGMENT,
    text: SpokenText | None = None,
) -> list[AudioChunk]:
    stream = provider.stream(text or segment.text, segment, call or call_of())
    async with aclosing(stream) as chunks:
        return [chunk async for chunk in chunks]


async def heard(provider: ElevenLabsWebSocket, call: SpeechCall | None = None) -> bytes:
    return b"".join(chunk.pcm for chunk in await chunks_of(provider, call))


def words_in(chunks: list[AudioChunk]) -> list[WordTiming]:
    return [word for chunk in chunks for word in chunk.words]


async def pieces(text: str, size: int, pause_s: float = 0.0) -> AsyncGenerator[str, None]:
    for start in range(0, len(text), size):
        await asyncio.sleep(pause_s)
        yield text[start : start + size]


async def until_quiet(emulator: EmulatorProcess) -> list[SocketNote]:
    """All sockets, once no context counts any more at the provider."""
    async with asyncio.timeout(8):
        while True:
            notes = await emulator.sockets()
            if not any(note.active for note in notes):
                return notes
            await asyncio.sleep(0.01)


async def test_an_utterance_is_a_context_that_ends_with_its_final_frame(
    emulator: EmulatorProcess, upstream: ElevenLabsWebSocket
) -> None:
    call = call_of()
    verdict = matches_segments(TEXT, decode(await heard(upstream, call), 24_000))
    assert verdict.ok, verdict
    (record,) = call.trace.attempts
    assert (record.transport, record.tries) == ("websocket", 1)
    assert record.region == "europe-west4"
    (socket,) = await emulator.sockets()
    assert socket.query == {
        "model_id": "eleven_flash_v2_5",
        "output_format": "pcm_24000",
        "language_code": "en",
        "auto_mode": "true",
        "sync_alignment": "true",
        "inactivity_timeout": "180",
    }
    (context,) = socket.contexts
    assert context.closed_by_client_s is not None
    assert context.final_s is not None
    assert context.text_chars == len(TEXT) + 2


async def test_words_are_timed_on_the_utterances_own_clock(
    emulator: EmulatorProcess, upstream: ElevenLabsWebSocket
) -> None:
    segment = segment_of(LONG, "elevenlabs")
    http = open_elevenlabs_http(settings_of(emulator), on_concurrency=lambda _: None)
    async with aclosing(http.stream(LONG, segment, call_of())) as stream:
        expected = words_in([chunk async for chunk in stream])
    await http.aclose()
    found = words_in(await chunks_of(upstream, segment=segment))
    assert [LONG[w.char_start : w.char_end] for w in found] == LONG.split()
    assert not any(word.estimated for word in found)
    for word, other in zip(found, expected, strict=True):
        assert (word.char_start, word.char_end) == (other.char_start, other.char_end)
        assert abs(word.start_ms - other.start_ms) <= 3
        assert abs(word.end_ms - other.end_ms) <= 3


@pytest.mark.parametrize("size", [1, 3, 11])
async def test_a_text_cut_anywhere_is_spoken_in_whole_words(
    upstream: ElevenLabsWebSocket, size: int
) -> None:
    chunks = await chunks_of(upstream, text=pieces(TEXT, size))
    coded = decode(b"".join(chunk.pcm for chunk in chunks), 24_000)
    verdict = matches_segments(TEXT, coded)
    assert verdict.ok, verdict
    words = words_in(chunks)
    assert [TEXT[word.char_start : word.char_end] for word in words] == TEXT.split()
    assert [word.start_ms for word in words] == sorted(word.start_ms for word in words)


async def test_a_long_text_whose_pieces_are_all_there_is_sent_at_the_sockets_pace(
    upstream: ElevenLabsWebSocket,
) -> None:
    words = [f"word{number}" for number in range(300)]

    async def at_once() -> AsyncGenerator[str, None]:
        for word in words:
            yield f"{word} "

    chunks = await chunks_of(upstream, text=at_once())
    assert [word.text for word in words_in(chunks)] == words


async def test_speech_begins_before_the_text_ends(upstream: ElevenLabsWebSocket) -> None:
    go_on = asyncio.Event()

    async def written() -> AsyncGenerator[str, None]:
        yield "The house by the lake "
        await go_on.wait()
        yield "has a new roof."

    stream = upstream.stream(written(), SEGMENT, call_of())
    async with aclosing(stream) as chunks:
        first = await anext(chunks)
        assert first.pcm
        # The text's author may think longer than a stream may stall.
        await asyncio.sleep(0.4)
        go_on.set()
        rest = [chunk async for chunk in chunks]
    assert [word.text for word in words_in([first, *rest])][-1] == "roof."


async def test_what_the_texts_source_raises_ends_the_speech(
    emulator: EmulatorProcess, upstream: ElevenLabsWebSocket
) -> None:
    async def broken() -> AsyncGenerator[str, None]:
        yield "The house "
        raise LookupError("no more")

    with pytest.raises(LookupError):
        await chunks_of(upstream, text=broken())
    (socket,) = await until_quiet(emulator)
    assert socket.closed_by_client == 1


async def test_four_utterances_share_a_socket_and_the_fifth_finds_one_open(
    emulator: EmulatorProcess, upstream: ElevenLabsWebSocket
) -> None:
    await emulator.set_fault("stall", after_frames=1, delay_ms=150, routes=ROUTES)
    segment = segment_of(LONG, "elevenlabs")
    streams = [upstream.stream(LONG, segment, call_of()) for _ in range(MAX_CONTEXTS + 1)]
    for stream in streams[:MAX_CONTEXTS]:
        await anext(stream)
    assert upstream.pool.contexts == MAX_CONTEXTS
    assert upstream.pool.sockets == 2
    await anext(streams[-1])
    for stream in streams:
        await stream.aclose()
    notes = await until_quiet(emulator)
    assert sum(note.opened for note in notes) == MAX_CONTEXTS + 1
    assert len(notes) == 2
    assert max(note.most_active for note in notes) <= MAX_CONTEXTS


async def test_a_seed_and_the_language_are_the_sockets(
    emulator: EmulatorProcess, upstream: ElevenLabsWebSocket
) -> None:
    (attempt,) = SEGMENT.attempts
    attempt = Attempt(
        "elevenlabs", "", attempt.voice, "eleven_multilingual_v2", "en", None, "key", 7
    )
    await chunks_of(
        upstream, segment=SegmentPlan(0, TEXT, 0, len(TEXT), SEGMENT.source_offsets, (attempt,))
    )
    await heard(upstream)
    seeded, plain = await emulator.sockets()
    assert seeded.query["seed"] == "7"
    assert "language_code" not in seeded.query
    assert "seed" not in plain.query


@pytest.mark.parametrize(("fault", "kind"), FAULTS, ids=str)
async def test_every_fault_becomes_its_error_and_the_next_utterance_is_spoken(
    emulator: EmulatorProcess,
    upstream: ElevenLabsWebSocket,
    fault: dict[str, Any],
    kind: type[ProviderError],
) -> None:
    await emulator.set_fault(**fault, routes=ROUTES)
    segment = segment_of(LONG, "elevenlabs")
    began = time.monotonic()
    with pytest.raises(ProviderError) as caught:
        await chunks_of(upstream, call_of(first_audio_s=0.7, whole_s=5.0), segment)
    assert type(caught.value) is kind, caught.value
    assert time.monotonic() - began < 2.5
    assert caught.value.retryable is (kind in (ProviderBusy, ProviderUnavailable))
    assert "garden" not in str(caught.value)
    await emulator.clear_faults()
    if fault["kind"] != "unanswered":
        assert await heard(upstream)


async def test_one_contexts_failure_is_not_its_neighbours(
    emulator: EmulatorProcess, upstream: ElevenLabsWebSocket
) -> None:
    segment = segment_of(LONG, "elevenlabs")
    await heard(upstream)
    await emulator.set_fault("error_frame", error="internal_error", count=1, routes=ROUTES)
    ended = await asyncio.gather(
        *(chunks_of(upstream, segment=segment) for _ in range(3)), return_exceptions=True
    )
    failed = [found for found in ended if isinstance(found, BaseException)]
    assert [type(error) for error in failed] == [ProviderUnavailable]
    assert [len(words_in(e)) for e in ended if isinstance(e, list)] == [len(LONG.split())] * 2
    assert (await emulator.sockets())[0].opened == 4


async def test_a_socket_that_stays_mute_takes_no_more_utterances(
    emulator: EmulatorProcess, upstream: ElevenLabsWebSocket
) -> None:
    await emulator.set_fault("stall", after_frames=0, count=1, routes=ROUTES)
    with pytest.raises(ProviderSilent):
        await chunks_of(upstream, call_of(first_audio_s=0.3, whole_s=5.0))
    assert await heard(upstream)
    assert [note.opened for note in await emulator.sockets()] == [1, 1]


async def test_a_lost_socket_fails_only_its_own_contexts(
    emulator: EmulatorProcess, upstream: ElevenLabsWebSocket
) -> None:
    segment = segment_of(LONG, "elevenlabs")
    other = segment_of(LONG, "elevenlabs")
    spanish = Attempt(
        "elevenlabs", "", SEGMENT.attempts[0].voice, "eleven_flash_v2_5", "es", None, "key"
    )
    other = SegmentPlan(0, LONG, 0, len(LONG), other.source_offsets, (spanish,))
    await emulator.set_fault("truncate", after_frames=1, count=1, routes=ROUTES)
    lost, whole = await asyncio.gather(
        chunks_of(upstream, segment=segment),
        chunks_of(upstream, segment=other),
        return_exceptions=True,
    )
    if isinstance(whole, BaseException):
        lost, whole = whole, lost
    assert isinstance(lost, StreamTruncated)
    assert isinstance(whole, list)
    assert len(words_in(whole)) == len(LONG.split())


async def test_two_hundred_cancelled_utterances_leave_nothing_open(
    emulator: EmulatorProcess,
) -> None:
    patient = msgspec.structs.replace(settings_of(emulator), stall_timeout_s=5.0)
    upstream = open_elevenlabs_websocket(patient)
    await emulator.set_fault("stall", after_frames=1, delay_ms=250, routes=ROUTES)
    rng = random.Random(5)
    segment = segment_of(LONG, "elevenlabs")
    tasks_before = len(asyncio.all_tasks())

    async def interrupted(written: bool) -> bool:
        text: SpokenText = pieces(LONG, 5, 0.001) if written else LONG
        task = asyncio.create_task(chunks_of(upstream, segment=segment, text=text))
        await asyncio.sleep(rng.uniform(0.0, 0.15))
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    for _ in range(10):
        ended = [interrupted(number % 2 == 0) for number in range(20)]
        assert sum(await asyncio.gather(*ended)) > 15
    notes = await until_quiet(emulator)
    assert max(note.most_active for note in notes) <= MAX_CONTEXTS
    contexts = [context for note in notes for context in note.contexts]
    assert len(contexts) > 100
    assert all(context.closed_by_client_s is not None for context in contexts)
    assert all(context.final_s is not None for context in contexts)
    async with asyncio.timeout(3):
        while upstream.pool.contexts:
            await asyncio.sleep(0.01)
        # Those above the idle bound are still being closed.
        while len(asyncio.all_tasks()) - tasks_before > 2 * upstream.pool.sockets:
            await asyncio.sleep(0.01)
    assert upstream.pool.sockets <= elevenlabs_pool.MAX_IDLE
    assert await heard(upstream)
    await upstream.aclose()


async def test_idle_sockets_are_closed_before_the_vendor_does_it(
    emulator: EmulatorProcess,
) -> None:
    pool = elevenlabs_pool.SocketPool(
        f"{emulator.url}/v1", "k", stall_s=0.4, max_sockets=4, idle_s=0.15
    )
    provider = ElevenLabsWebSocket(pool, settings_of(emulator))
    await heard(provider)
    assert pool.sockets == 1
    async with asyncio.timeout(2):
        while pool.sockets:
            await asyncio.sleep(0.01)
        while (notes := await emulator.sockets())[0].closed_s is None:
            await asyncio.sleep(0.01)
    (note,) = notes
    assert (note.closed_by, note.close_code) == ("client", 1000)
    assert await heard(provider)
    await provider.aclose()


async def test_a_new_voice_takes_the_place_of_the_socket_that_was_idle_longest(
    emulator: EmulatorProcess,
) -> None:
    pool = elevenlabs_pool.SocketPool(f"{emulator.url}/v1", "k", stall_s=0.4, max_sockets=2)
    provider = ElevenLabsWebSocket(pool, settings_of(emulator))
    (attempt,) = SEGMENT.attempts

    def in_language(language: str) -> SegmentPlan:
        own = Attempt("elevenlabs", "", attempt.voice, attempt.model, language, None, "key")
        return SegmentPlan(0, TEXT, 0, len(TEXT), SEGMENT.source_offsets, (own,))

    for language in ("en", "es", "en", "zh"):
        await chunks_of(provider, segment=in_language(language))
    closed = [n.query["language_code"] for n in await emulator.sockets() if n.closed_s]
    assert closed == ["es"]
    await emulator.set_fault("stall", after_frames=1, delay_ms=150, routes=ROUTES)
    streams = [
        provider.stream(LONG, in_language(language), call_of()) for language in ("en", "zh", "es")
    ]
    for stream in streams[:2]:
        await anext(stream)
    with pytest.raises(ProviderBusy):
        await anext(streams[2])
    for stream in streams:
        await stream.aclose()
    await provider.aclose()
