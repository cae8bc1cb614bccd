"""The pipeline in one process: real cache and encoders, voices with knobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import blockbuster
import msgspec
import pytest

from benchmarks.wordcode import decode, encode, matches_segments
from core.agents import AgentSnapshot
from core.audio.codecs import CodecPool
from core.audio.quality import expected_s
from core.cache.envelope import SegmentEntry
from core.cache.memory import MemoryTier
from core.cache.shared import SharedTier
from core.cache.tiered import SpeechCache
from core.deadline import Deadline
from core.embedded import EmbeddedRedis
from core.errors import AllProvidersFailed, DeadlineExceeded, ProviderUnavailable, StreamTruncated
from core.providers.base import SpeechProvider
from core.redis import open_redis
from core.resilience.race import Race
from core.settings import Settings, SpeechSettings, UpstreamSettings
from core.speech import AudioChunk, Provenance, SegmentPlan, SpeechRequest, SpeechTrace
from core.synthesis.flight import FlightBoard
from core.synthesis.plan import ChainLink, Planner
from core.synthesis.service import SpeechService, deadline_maker
from core.synthesis.voicing import ReplyParts
from tests.fakes import FakeVoice, call_of, silence, tone

TEXT = "  The flat has\ttwo large rooms.  Would you like to see it on Friday? I am here all day."
SPOKEN = "The flat has two large rooms. Would you like to see it on Friday? I am here all day."


class CodedVoice(FakeVoice):
    """Speaks word-coded audio of the very text it is given, with its timings."""

    mumbling = False
    """When set, hardly anything is said and then nothing, as if that were all."""

    def chunks_of(self, segment: SegmentPlan) -> list[AudioChunk]:
        if self.mumbling:
            return [AudioChunk(tone(60) + silence(3000))]
        pcm, words = encode(segment.text)
        half = len(pcm) // 4 * 2
        return [AudioChunk(pcm[:half], words), AudioChunk(pcm[half:])]


class Bench:
    def __init__(
        self,
        redis: EmbeddedRedis,
        asked: CodedVoice,
        other: SpeechProvider | None,
        codecs: CodecPool | None = None,
    ) -> None:
        self.settings = Settings()
        self.asked = asked
        self.other = other
        self.redis = open_redis(redis.url, timeout_s=0.2, max_connections=24)
        shared = SharedTier(self.redis, timeout_s=0.2, ttl_s=60)
        self.cache = SpeechCache(MemoryTier(16 * 1024 * 1024), shared, ttl_s=60)
        voices: list[SpeechProvider] = [asked] if other is None else [asked, other]
        self.board = FlightBoard(Race(voices, reserve_s=1.3), max_bytes=64 * 1024 * 1024)
        self.codecs = codecs or CodecPool()
        chain = [ChainLink("elevenlabs", "a", "1"), ChainLink("local", "")][: len(voices)]
        self.service = SpeechService(
            self.settings,
            Planner(AgentSnapshot(), chain, self.settings.speech),
            self.cache,
            ReplyParts(
                cache=self.cache,
                board=self.board,
                codecs=self.codecs,
                new_deadline=deadline_maker(self.settings),
                lookahead_segments=2,
            ),
        )

    async def settled(self) -> None:
        async with asyncio.timeout(3):
            while len(self.board):
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        await self.settled()
        assert self.board.held_bytes == 0
        assert self.asked.open == 0
        await self.cache.drain(2)
        await self.cache.aclose()
        await self.codecs.aclose()
        await self.redis.aclose()

    async def begin(self, text: str, **fields: Any) -> tuple[Any, SpeechTrace]:
        request = SpeechRequest(
            **(
                {"tenant": "t", "text": text, "agent_id": "agent_123", "output_format": "pcm"}
                | fields
            )
        )
        return await self.service.plan(request), self.service.new_trace("r", request)

    async def speak(self, text: str, **fields: Any) -> tuple[bytes, SpeechTrace]:
        plan, trace = await self.begin(text, **fields)
        deadline = self.service.new_deadline()
        return b"".join([b async for b in self.service.speak(plan, trace, deadline)]), trace

    async def whole(self, text: str, **fields: Any) -> tuple[Any, SpeechTrace]:
        plan, trace = await self.begin(text, **fields)
        return await self.service.whole(plan, trace, self.service.new_deadline()), trace


@pytest.fixture
async def bench(redis_cache: EmbeddedRedis) -> AsyncIterator[Bench]:
    made = Bench(redis_cache, CodedVoice("elevenlabs"), FakeVoice("local", pieces=[tone(900)]))
    made.codecs.open()
    yield made
    await made.close()


async def test_segments_are_joined_sample_by_sample_and_words_lead_to_the_callers_text(
    bench: Bench,
) -> None:
    entry, trace = await bench.whole(TEXT)
    assert len(trace.segments) == 3
    verdict = matches_segments(SPOKEN, decode(entry.audio, 24_000))
    assert verdict.ok, verdict
    assert [TEXT[w.char_start : w.char_end] for w in entry.words] == TEXT.split()
    starts = [w.start_ms for w in entry.words]
    assert starts == sorted(starts)
    for coded, word in zip(decode(entry.audio, 24_000), entry.words, strict=True):
        assert abs(coded.start_ms - word.start_ms) < 30
    assert entry.duration_ms == round(len(entry.audio) / 48)
    assert trace.provider == "elevenlabs"
    assert trace.redis_trips == 1


async def test_a_streamed_reply_is_the_same_as_a_whole_one(bench: Bench) -> None:
    streamed, _ = await bench.speak(TEXT, enable_caching=False)
    entry, _ = await bench.whole(TEXT, enable_caching=False)
    assert streamed == entry.audio


async def test_what_is_begun_ahead_is_due_when_what_is_before_it_was_heard(bench: Bench) -> None:
    plan, _ = await bench.begin(TEXT)
    _, second, _ = plan.segments
    for _ in range(2):
        await bench.speak(TEXT, enable_caching=False)
        await bench.whole(TEXT, enable_caching=False)
    texts, deadlines = bench.asked.texts, bench.asked.deadlines
    assert len(texts) == 12
    for asked in range(0, 12, 3):
        due_s = dict(zip(texts[asked : asked + 3], deadlines[asked : asked + 3], strict=True))
        first, later, last = (due_s[s.text].first_audio_at_s for s in plan.segments)
        streamed = asked % 6 == 0
        expected = [expected_s(s.text, "en") / 2 if streamed else 0.0 for s in plan.segments]
        assert later - first == pytest.approx(expected[0], abs=0.15)
        assert last - later == pytest.approx(expected[1], abs=0.05)
    assert expected_s(second.text, "en") > 1


async def test_a_broken_voice_gives_way_while_nothing_was_heard(bench: Bench) -> None:
    bench.asked.error_after = StreamTruncated("cut", provider="elevenlabs")
    entry, trace = await bench.whole(TEXT)
    assert entry.audio == tone(900) * 3
    assert trace.fallback
    assert trace.provider == "local"
    await bench.cache.drain(2)
    bench.asked.error_after = None
    again, after = await bench.whole(TEXT)
    assert not after.fallback
    assert not after.cached
    assert matches_segments(SPOKEN, decode(again.audio, 24_000)).ok


async def test_a_broken_voice_ends_the_stream_once_it_was_heard(bench: Bench) -> None:
    bench.asked.error_after = StreamTruncated("cut", provider="elevenlabs")
    plan, trace = await bench.begin(TEXT)
    stream = bench.service.speak(plan, trace, bench.service.new_deadline())
    assert await anext(stream)
    with pytest.raises(StreamTruncated):
        async for _ in stream:
            pass
    assert trace.error_code == "stream_truncated"
    assert isinstance(bench.other, FakeVoice)
    assert bench.other.calls == 0


async def test_a_segment_of_many_that_falls_back_marks_the_reply_and_is_not_kept(
    redis_cache: EmbeddedRedis,
) -> None:
    bench = Bench(redis_cache, CodedVoice("elevenlabs"), CodedVoice("local"))
    bench.codecs.open()
    bench.asked.error_before = [None, ProviderUnavailable("down", provider="elevenlabs")]
    _, trace = await bench.whole(TEXT)
    assert [s.fallback for s in trace.segments].count(True) == 1
    assert trace.fallback
    _, after = await bench.whole(TEXT)
    assert after.rendition_source is None
    assert not after.fallback
    assert sorted(s.source for s in after.segments) == ["flight", "memory", "memory"]
    await bench.close()


async def test_kept_segments_serve_another_format_and_another_text(bench: Bench) -> None:
    await bench.whole(TEXT)
    calls = bench.asked.calls
    entry, trace = await bench.whole(TEXT, output_format="wav")
    assert trace.cached
    assert entry.audio[:4] == b"RIFF"
    _, mixed = await bench.whole("I am here all day. And something new for you today.")
    assert [s.source for s in mixed.segments] == ["memory", "flight"]
    assert bench.asked.calls == calls + 1


async def test_leaving_early_keeps_what_was_paid_for(bench: Bench) -> None:
    plan, trace = await bench.begin(TEXT)
    stream = bench.service.speak(plan, trace, bench.service.new_deadline())
    await anext(stream)
    await stream.aclose()
    assert trace.error_code == "client_gone"
    await bench.settled()
    _, again = await bench.whole(TEXT)
    assert again.segments[0].source == "memory"


async def test_when_nobody_can_speak_the_error_says_so(redis_cache: EmbeddedRedis) -> None:
    down = ProviderUnavailable("down", provider="elevenlabs")
    made = Bench(redis_cache, CodedVoice("elevenlabs", error_before=[down] * 9), None)
    made.codecs.open()
    with pytest.raises(AllProvidersFailed):
        await made.whole(TEXT)
    await made.close()


async def test_the_loop_is_never_blocked(
    bench: Bench, never_blocks: blockbuster.BlockBuster
) -> None:
    for output_format in ("mp3", "wav", "pcm"):
        await bench.whole(TEXT, output_format=output_format)
        await bench.speak(TEXT + output_format, output_format=output_format)


async def test_a_text_still_being_written_is_spoken_whole(bench: Bench) -> None:
    async def written() -> AsyncIterator[str]:
        for piece in ("The flat has ", "two rooms."):
            await asyncio.sleep(0.002)
            yield piece

    plan, _ = await bench.begin("The flat has two rooms.")
    segment = plan.segments[0]
    race = Race([bench.asked], reserve_s=1.0)
    chunks = [chunk async for chunk in race.stream(written(), segment, call_of())]
    assert bench.asked.texts == ["The flat has two rooms."]
    assert chunks


async def test_a_kept_segment_that_cannot_be_read_is_spoken_anew(bench: Bench) -> None:
    plan, _ = await bench.begin("I am here all day.")
    key = plan.segments[0].attempts[0].voice_key
    damaged = SegmentEntry("flac", b"no flac at all", 4, (), Provenance("x", "x", "x", "en"))
    bench.cache.admit_segment("t", key, damaged)
    entry, trace = await bench.whole("I am here all day.")
    assert trace.segments[0].source == "flight"
    assert matches_segments("I am here all day.", decode(entry.audio, 24_000)).ok
    await bench.settled()
    _, again = await bench.whole("I am here all day.", output_format="wav")
    assert again.cached


async def test_equal_requests_without_caching_share_nothing(bench: Bench) -> None:
    replies = await asyncio.gather(
        *(bench.whole("I am here all day.", enable_caching=False) for _ in range(3))
    )
    assert bench.asked.calls == 3
    assert all(trace.segments[0].source == "flight" for _, trace in replies)


async def test_word_timings_point_into_the_text_of_whoever_asks(bench: Bench) -> None:
    for text in ("The flat has rooms.", "The    flat   has    rooms."):
        entry, _ = await bench.whole(text)
        assert [text[w.char_start : w.char_end] for w in entry.words] == text.split()
    assert bench.asked.calls == 1


async def test_what_cannot_be_the_text_is_spoken_by_the_next_voice_and_not_kept(
    bench: Bench,
) -> None:
    assert isinstance(bench.other, FakeVoice)
    bench.other.pieces = [encode("I am here all day.")[0]]
    bench.asked.mumbling = True
    _, trace = await bench.whole("I am here all day.")
    assert (trace.provider, trace.fallback) == ("local", True)
    _, heard = await bench.speak("I am here all day.")
    assert heard.provider == "elevenlabs"
    await bench.settled()
    _, again = await bench.whole("I am here all day.")
    assert not again.cached


async def test_a_follower_has_its_own_time(bench: Bench) -> None:
    bench.asked.silent = True
    plan, trace = await bench.begin("I am here all day.")
    short = Deadline.after(first_audio_s=0.2, whole_s=5)
    plan = msgspec.structs.replace(
        plan,
        segments=(plan.segments[0].without("local"),),
    )
    leader = asyncio.create_task(anext(bench.service.speak(plan, trace, short)))
    await asyncio.sleep(0.1)
    _, own = await bench.begin("I am here all day.")
    follower = asyncio.create_task(bench.service.whole(plan, own, bench.service.new_deadline()))
    await asyncio.sleep(0.02)
    bench.asked.silent = False
    with pytest.raises(DeadlineExceeded):
        await leader
    assert (await follower).audio


@pytest.mark.parametrize("timeout_ms", [300, 900])
def test_the_promise_is_the_settings(timeout_ms: int) -> None:
    speech = SpeechSettings(response_timeout_ms=timeout_ms)
    settings = Settings(speech=speech, upstream=UpstreamSettings(timeout_s=7.0))
    deadline = deadline_maker(settings)(None, "live")
    assert deadline.strict
    assert abs(deadline.first_audio_left_s() - timeout_ms / 1000) < 0.1
    assert abs(deadline.left_s() - 7.0) < 0.1
    later = deadline_maker(settings)(3.0, "live")
    assert abs(later.due_left_s() - timeout_ms / 1000 - 3) < 0.1
    assert not later.strict, "what follows is waited for: a pause is better than an end"
    for lead_s in (None, 3.0):
        patient = deadline_maker(settings)(lead_s, "bulk")
        assert patient.due_left_s() > 5
        assert patient.first_audio_left_s() > 30
        assert patient.left_s() > patient.first_audio_left_s() + 5
