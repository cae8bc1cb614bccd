"""The limiter: bounded, ordered, and never losing a place."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing

import msgspec
import pytest

from core.deadline import Deadline
from core.errors import Busy, ProviderRejected
from core.speech import SegmentPlan
from core.synthesis.limiter import Limited, Limiter, LocalLanes
from tests import fakes


def deadline(s: float = 1.0) -> Deadline:
    return Deadline.after(first_audio_s=s, whole_s=10)


async def hold(limiter: Limiter, s: float, seen: list[int]) -> None:
    async with limiter.place(deadline()):
        seen.append(limiter.in_use)
        await asyncio.sleep(s)


async def test_never_more_than_the_limit() -> None:
    limiter = Limiter("test", limit=3, cap=50, queue_limit=100)
    seen: list[int] = []
    await asyncio.gather(*(hold(limiter, 0.01, seen) for _ in range(30)))
    assert len(seen) == 30
    assert max(seen) == 3
    assert (limiter.in_use, limiter.waiting) == (0, 0)


async def test_a_full_queue_refuses_with_a_hint() -> None:
    limiter = Limiter("test", limit=1, cap=50, queue_limit=2)
    tasks = [asyncio.create_task(hold(limiter, 0.2, [])) for _ in range(3)]
    await asyncio.sleep(0.01)
    with pytest.raises(Busy) as caught:
        await hold(limiter, 0, [])
    assert caught.value.retry_after_s is not None
    assert 0.1 <= caught.value.retry_after_s < 5
    await asyncio.gather(*tasks)


async def test_a_wait_ends_at_the_deadline() -> None:
    limiter = Limiter("test", limit=1, cap=50, queue_limit=5)
    task = asyncio.create_task(hold(limiter, 0.3, []))
    await asyncio.sleep(0.01)
    with pytest.raises(Busy):
        async with limiter.place(deadline(0.05)):
            pass
    assert limiter.waiting == 0
    await task
    assert limiter.in_use == 0


async def test_who_is_due_earliest_goes_first() -> None:
    limiter = Limiter("test", limit=1, cap=50, queue_limit=9)
    order: list[str] = []

    async def one(name: str, due_s: float) -> None:
        async with limiter.place(deadline(due_s)):
            order.append(name)
            await asyncio.sleep(0.01)

    await asyncio.gather(one("a", 6), one("b", 6), one("c", 2), one("d", 3))
    assert order == ["a", "c", "d", "b"]


async def test_the_providers_own_limit_is_followed_up_to_the_cap() -> None:
    limiter = Limiter("test", limit=2, cap=5, queue_limit=50)
    seen: list[int] = []
    tasks = [asyncio.create_task(hold(limiter, 0.05, seen)) for _ in range(8)]
    await asyncio.sleep(0.01)
    assert limiter.in_use == 2
    limiter.follow(60)
    await asyncio.sleep(0.01)
    assert limiter.in_use == 5
    limiter.follow(1)
    await asyncio.gather(*tasks)
    assert limiter.in_use == 0
    assert limiter.limit == 1


async def test_no_place_is_lost_whoever_is_cancelled() -> None:
    limiter = Limiter("test", limit=3, cap=50, queue_limit=200)
    dice = random.Random(7)
    tasks = [asyncio.create_task(hold(limiter, 0.002, [])) for _ in range(150)]
    for task in tasks:
        if dice.random() < 0.5:
            await asyncio.sleep(0)
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (limiter.in_use, limiter.waiting) == (0, 0)


def local_attempt(voice: str) -> SegmentPlan:
    attempt = msgspec.structs.replace(fakes.attempt("local"), voice=voice)
    return msgspec.structs.replace(fakes.segment_of(), attempts=(attempt,))


async def test_a_slow_voice_holds_no_place_of_a_quick_one_and_waits_for_none() -> None:
    quick = Limiter("local", limit=1, cap=1, queue_limit=9)
    slow = Limiter("local_slow", limit=3, cap=3, queue_limit=0)
    voice = fakes.FakeVoice("local")
    voice.gate = asyncio.Event()
    limited = Limited(voice, LocalLanes(quick, slow))

    async def heard(name: str) -> int:
        stream = limited.stream("Hi.", local_attempt(name), fakes.call_of())
        async with aclosing(stream) as chunks:
            return len([chunk async for chunk in chunks])

    names = ["kokoro/zf_xiaobei"] * 3 + ["hibari/heart"]
    tasks = [asyncio.create_task(heard(name)) for name in names]
    await asyncio.sleep(0.01)
    assert voice.open == 4
    assert (quick.in_use, slow.in_use) == (1, 3)
    with pytest.raises(Busy):
        await heard("kokoro/zf_xiaobei:-200")
    voice.gate.set()
    assert await asyncio.gather(*tasks) == [3, 3, 3, 3]
    assert (quick.in_use, slow.in_use) == (0, 0)


async def test_a_segment_without_an_attempt_takes_no_place() -> None:
    limiter = Limiter("local", limit=1, cap=1, queue_limit=0)
    limited = Limited(fakes.FakeVoice("local"), limiter)
    with pytest.raises(ProviderRejected):
        await anext(limited.stream("Hi.", fakes.segment_of(), fakes.call_of()))
    assert limiter.in_use == 0
