"""The race: who is heard, when, and what a failure costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from core.errors import (
    AllProvidersFailed,
    Busy,
    DeadlineExceeded,
    ProviderRejected,
    ProviderUnavailable,
    StreamTruncated,
)
from core.providers.base import SpeechCall, SpokenText
from core.resilience.race import Race
from tests.fakes import FakeVoice, call_of, segment_of, tone

BOTH = ("elevenlabs", "local")


def voices() -> tuple[FakeVoice, FakeVoice]:
    return FakeVoice("elevenlabs", pieces=[tone(100, hz=300)] * 3), FakeVoice("local")


async def heard(
    race: Race,
    call: SpeechCall,
    text: SpokenText = "Hello there.",
    providers: tuple[str, ...] = BOTH,
) -> bytes:
    async with aclosing(race.stream(text, segment_of(providers=providers), call)) as chunks:
        return b"".join([chunk.pcm async for chunk in chunks])


async def test_the_first_arm_alone_is_called_when_it_is_in_time() -> None:
    asked, other = voices()
    call = call_of()
    assert await heard(Race([asked, other], reserve_s=1.0), call) == b"".join(asked.pieces)
    assert (asked.calls, other.calls) == (1, 0)
    assert call.trace.winner is not None
    assert call.trace.winner.provider == "elevenlabs"
    assert [a.outcome for a in call.trace.attempts] == ["won"]


async def test_a_silent_arm_loses_when_the_reserve_is_reached() -> None:
    asked, other = voices()
    asked.silent = True
    call = call_of(first_audio_s=0.5)
    began = time.monotonic()
    assert await heard(Race([asked, other], reserve_s=0.3), call) == b"".join(other.pieces)
    assert 0.19 <= time.monotonic() - began < 0.45
    assert [a.outcome for a in call.trace.attempts] == ["lost", "won"]
    assert (asked.open, asked.closed_early) == (0, 1)


async def test_an_arm_that_fails_gives_way_at_once() -> None:
    asked, other = voices()
    asked.error_before = [ProviderRejected("no", provider="elevenlabs")]
    call = call_of()
    began = time.monotonic()
    assert await heard(Race([asked, other], reserve_s=0.1), call) == b"".join(other.pieces)
    assert time.monotonic() - began < 0.5
    assert call.trace.attempts[0].error_code == "provider_rejected"


async def test_the_late_first_arm_still_wins_over_a_slower_second() -> None:
    asked, other = voices()
    asked.first_after_s = 0.3
    other.first_after_s = 0.5
    call = call_of(first_audio_s=1.0)
    assert await heard(Race([asked, other], reserve_s=0.9), call) == b"".join(asked.pieces)
    assert [a.outcome for a in call.trace.attempts] == ["won", "lost"]


async def test_after_the_first_chunk_a_failure_is_truncation_and_no_second_voice() -> None:
    asked, other = voices()
    asked.error_after = ProviderUnavailable("gone", provider="elevenlabs")
    call = call_of()
    stream = Race([asked, other], reserve_s=1.0).stream("Hi.", segment_of(providers=BOTH), call)
    assert [(await anext(stream)).pcm for _ in asked.pieces] == asked.pieces
    with pytest.raises(StreamTruncated):
        await anext(stream)
    assert other.calls == 0


async def test_a_stream_that_stops_is_truncated_at_the_deadline() -> None:
    asked, _ = voices()
    asked.gate = asyncio.Event()
    with pytest.raises(StreamTruncated):
        await heard(
            Race([asked], reserve_s=1.0),
            call_of(first_audio_s=0.1, whole_s=0.3),
            providers=("elevenlabs",),
        )
    assert asked.open == 0


async def test_when_all_fail_the_causes_are_told() -> None:
    asked, other = voices()
    asked.error_before = [ProviderRejected("no", provider="elevenlabs")]
    other.error_before = [ProviderUnavailable("down", provider="local", retry_after_s=3.0)]
    with pytest.raises(AllProvidersFailed) as caught:
        await heard(Race([asked, other], reserve_s=1.0), call_of())
    assert [cause.code for cause in caught.value.causes] == [
        "provider_rejected",
        "provider_unavailable",
    ]
    assert caught.value.retry_after_s == 3.0


async def test_when_none_has_room_the_caller_hears_when_the_first_will_have() -> None:
    asked, other = voices()
    asked.error_before = [Busy("full", retry_after_s=4.0)]
    other.error_before = [Busy("full", retry_after_s=1.5)]
    with pytest.raises(Busy) as caught:
        await heard(Race([asked, other], reserve_s=1.0), call_of())
    assert caught.value.retry_after_s == 1.5


async def test_no_room_at_one_and_a_fault_of_the_other_is_a_failure() -> None:
    asked, other = voices()
    asked.error_before = [ProviderUnavailable("down", provider="elevenlabs")]
    other.error_before = [Busy("full", retry_after_s=1.5)]
    with pytest.raises(AllProvidersFailed) as caught:
        await heard(Race([asked, other], reserve_s=1.0), call_of())
    assert caught.value.retry_after_s == 1.5


async def test_when_all_are_silent_the_deadline_ends_it() -> None:
    asked, other = voices()
    asked.silent = other.silent = True
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await heard(Race([asked, other], reserve_s=0.1), call_of(first_audio_s=0.3))
    assert time.monotonic() - began < 0.6
    assert (asked.open, other.open) == (0, 0)


async def test_leaving_early_closes_every_arm() -> None:
    asked, other = voices()
    asked.gate = asyncio.Event()
    stream = Race([asked, other], reserve_s=1.0).stream(
        "Hi.", segment_of(providers=BOTH), call_of()
    )
    await anext(stream)
    await stream.aclose()
    assert asked.open == 0


async def test_a_text_still_being_written_reaches_the_second_arm_whole() -> None:
    asked, other = voices()
    asked.error_before = [ProviderUnavailable("down", provider="elevenlabs")]

    async def text() -> AsyncGenerator[str, None]:
        for piece in ("Hello ", "there."):
            await asyncio.sleep(0.01)
            yield piece

    await heard(Race([asked, other], reserve_s=1.0), call_of(), text=text())
    assert asked.texts == other.texts == ["Hello there."]


async def test_only_providers_of_the_segment_run() -> None:
    asked, other = voices()
    await heard(Race([asked, other], reserve_s=2.0), call_of(), providers=("local",))
    assert (asked.calls, other.calls) == (0, 1)
