"""The retry: when a second call is made and when it must not be."""

from __future__ import annotations

import time
from contextlib import aclosing

import pytest

from core.errors import Busy, ProviderRejected, ProviderUnavailable, SeiketsuError
from core.providers.base import SpeechCall
from core.resilience.retry import Retry
from tests.fakes import FakeVoice, call_of, segment_of

DOWN = ProviderUnavailable("down", provider="elevenlabs")


async def heard(voice: FakeVoice, call: SpeechCall, tries: int = 2, pause_s: float = 0.01) -> bytes:
    retry = Retry(voice, tries=tries, pause_s=pause_s)
    async with aclosing(retry.stream("Hello.", segment_of(), call)) as chunks:
        return b"".join([chunk.pcm async for chunk in chunks])


async def test_a_retryable_failure_is_tried_again() -> None:
    voice = FakeVoice(error_before=[DOWN])
    call = call_of()
    assert await heard(voice, call) == b"".join(voice.pieces)
    assert voice.calls == 2
    assert call.trace.attempts[0].tries == 2


async def test_the_last_error_is_raised_when_the_tries_are_used_up() -> None:
    voice = FakeVoice(error_before=[DOWN, DOWN, None])
    with pytest.raises(ProviderUnavailable):
        await heard(voice, call_of())
    assert voice.calls == 2


async def test_a_refusal_is_not_tried_again() -> None:
    voice = FakeVoice(error_before=[ProviderRejected("no", provider="elevenlabs")])
    with pytest.raises(ProviderRejected):
        await heard(voice, call_of())
    assert voice.calls == 1


async def test_nothing_is_tried_again_once_a_chunk_was_heard() -> None:
    voice = FakeVoice(error_after=DOWN)
    with pytest.raises(SeiketsuError):
        await heard(voice, call_of())
    assert voice.calls == 1


async def test_no_pause_is_begun_that_the_deadline_would_cut() -> None:
    voice = FakeVoice(error_before=[DOWN])
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        await heard(voice, call_of(first_audio_s=0.2), pause_s=1.0)
    assert time.monotonic() - began < 0.15
    assert voice.calls == 1


async def test_a_provider_without_room_is_told_to_the_caller_at_once() -> None:
    voice = FakeVoice(error_before=[Busy(retry_after_s=0.4)])
    began = time.monotonic()
    with pytest.raises(Busy) as caught:
        await heard(voice, call_of())
    assert time.monotonic() - began < 0.15
    assert caught.value.retry_after_s == 0.4
    assert voice.calls == 1
