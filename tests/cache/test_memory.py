from __future__ import annotations

import os
import time
import timeit
import tracemalloc
from collections import OrderedDict

import pytest
from aiocache import BaseCache
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.cache import envelope
from core.cache.envelope import EncodedClause, SegmentEntry
from core.cache.memory import LARGEST_SHARE, SLOT_BYTES, MemoryTier
from tests.cache.conftest import rendition_entry, segment_entry

KEYS = st.sampled_from([f"k{i}" for i in range(8)])
MAX_BYTES = 40_000


def charge(key: str, audio_bytes: int) -> int:
    return envelope.memory_bytes(segment_entry(bytes(audio_bytes))) + len(key) + SLOT_BYTES


class Lru(RuleBasedStateMachine):
    """The tier against a plain model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.tier = MemoryTier(MAX_BYTES, clock=lambda: self.now_s)
        self.model: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @rule(key=KEYS, size=st.integers(0, 6_000), ttl_s=st.none() | st.integers(1, 10))
    def put(self, key: str, size: int, ttl_s: int | None) -> None:
        kept = self.tier.put(key, segment_entry(bytes(size)), ttl_s)
        self.model.pop(key, None)
        assert kept == (charge(key, size) * LARGEST_SHARE <= MAX_BYTES)
        if kept:
            self.model[key] = (size, float("inf") if ttl_s is None else self.now_s + ttl_s)
            while sum(charge(k, s) for k, (s, _) in self.model.items()) > MAX_BYTES:
                self.model.popitem(last=False)

    @rule(key=KEYS)
    def peek(self, key: str) -> None:
        found = self.tier.peek(key)
        if key in self.model and self.model[key][1] > self.now_s:
            assert isinstance(found, SegmentEntry)
            assert len(found.audio) == self.model[key][0]
            self.model.move_to_end(key)
        else:
            assert found is None
            self.model.pop(key, None)

    @rule(key=KEYS)
    def discard(self, key: str) -> None:
        assert self.tier.discard(key) == (self.model.pop(key, None) is not None)

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.now_s += seconds

    @precondition(lambda self: len(self.model) > 3)
    @rule()
    def clear(self) -> None:
        self.tier.clear_all()
        self.model.clear()

    @invariant()
    def accounts_are_exact(self) -> None:
        assert len(self.tier) == len(self.model)
        expected = sum(charge(key, size) for key, (size, _) in self.model.items())
        assert self.tier.used_bytes == expected <= MAX_BYTES


TestLru = Lru.TestCase
TestLru.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(("count", "audio_bytes"), [(2_000, 0), (1_000, 700), (150, 24_000)])
def test_the_accounts_are_what_the_entries_take(count: int, audio_bytes: int) -> None:
    tier = MemoryTier(1 << 40)
    stored = [
        envelope.encode(make(os.urandom(audio_bytes)))
        for make in (segment_entry, rendition_entry)
        for _ in range(count // 2)
    ]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for i, value in enumerate(stored):
            tier.put(f"sk1:acme:seg:{i:032x}", envelope.decode(value), 3600)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    print(f"{audio_bytes} bytes of audio: charged {tier.used_bytes}, taken {taken}")
    assert 0.9 < tier.used_bytes / taken < 1.15


async def test_it_is_an_aiocache() -> None:
    now_s = 0.0
    tier = MemoryTier(1_000_000, ttl_s=5, clock=lambda: now_s)
    assert isinstance(tier, BaseCache)
    entry, other = segment_entry(), rendition_entry()
    assert await tier.set("a", entry)
    assert await tier.get("a") is entry, "nothing is copied"
    await tier.add("b", other, ttl=1)
    with pytest.raises(ValueError, match="taken"):
        await tier.add("b", other)
    assert await tier.multi_get(["a", "b", "c"]) == [entry, other, None]
    assert await tier.exists("b")
    now_s = 2.0
    assert not await tier.exists("b")
    assert await tier.expire("a", 100)
    assert not await tier.expire("b", 100)
    now_s = 50.0
    assert await tier.get("a") is entry
    assert await tier.get("b", default=other) is other
    assert await tier.multi_set([("x:1", entry), ("x:2", entry)])
    await tier.clear(namespace="x:")
    assert await tier.multi_get(["a", "x:1", "x:2"]) == [entry, None, None]
    assert await tier.delete("a") == 1
    assert await tier.delete("a") == 0
    await tier.clear()
    assert tier.used_bytes == 0


def test_a_new_entry_that_is_too_large_also_drops_the_old_one() -> None:
    tier = MemoryTier(80_000)
    assert tier.put("a", segment_entry(bytes(1000)), None)
    assert not tier.put("a", segment_entry(bytes(20_000)), None)
    assert tier.peek("a") is None
    assert tier.used_bytes == 0


def test_a_look_costs_next_to_nothing() -> None:
    tier = MemoryTier(10_000_000)
    for i in range(500):
        tier.put(f"sk1:acme:ren:{i:032x}", rendition_entry(), 3600)
    key = f"sk1:acme:ren:{77:032x}"
    costs_us = timeit.repeat(lambda: tier.peek(key), number=5_000, repeat=9)
    middle_us = sorted(costs_us)[4] / 5_000 * 1e6
    print(f"peek: {middle_us:.2f} µs")
    assert middle_us < 3.0


async def test_the_aiocache_get_stays_cheap() -> None:
    tier = MemoryTier(10_000_000)
    await tier.set("key", rendition_entry())
    costs_us = []
    for _ in range(9):
        began = time.perf_counter()
        for _ in range(2_000):
            await tier.get("key")
        costs_us.append((time.perf_counter() - began) / 2_000 * 1e6)
    middle_us = sorted(costs_us)[4]
    print(f"BaseCache.get: {middle_us:.2f} µs")
    assert middle_us < 12.0


def test_an_encoded_clause_is_charged_with_all_its_parts() -> None:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    clause = EncodedClause(1_000, tuple((9_600 + n, os.urandom(800 + n)) for n in range(50)))
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert envelope.memory_bytes(clause) == pytest.approx(taken, rel=0.1)
