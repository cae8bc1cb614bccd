from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable
from typing import cast

import pytest
import structlog.testing
from redis.asyncio import Redis

from core.cache import envelope
from core.cache.outage import LATE_ANSWERS, PAUSE_S, OutageGate
from core.cache.shared import SharedTier
from core.embedded import EmbeddedRedis
from core.errors import StoreError
from core.redis import open_redis
from tests.cache.conftest import TIMEOUT_S, TTL_S, rendition_entry, segment_entry


@pytest.fixture
def tier(client: Redis) -> SharedTier:
    return SharedTier(client, timeout_s=TIMEOUT_S, ttl_s=TTL_S, max_concurrent=8)


async def calls(watcher: Redis) -> dict[str, int]:
    """How often the server was asked each command since it began."""
    stats = await watcher.info("commandstats")
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}


async def took_s(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def test_entries_come_back_in_the_order_of_their_keys(tier: SharedTier) -> None:
    one, two = segment_entry(), rendition_entry()
    assert await tier.store("one", one, 60)
    assert await tier.store("two", two, None)
    fetched = await tier.fetch(["two", "none", "one", "two"])
    assert fetched.entries == [two, None, one, two]
    assert fetched.trips == 1
    assert tier.counters.faults == tier.counters.damaged == 0


async def test_only_get_and_set_with_px_are_used(tier: SharedTier, watcher: Redis) -> None:
    await watcher.config_resetstat()
    await tier.store("k", segment_entry(), 1.5)
    await tier.fetch(["k", "l", "m"])
    seen = await calls(watcher)
    seen.pop("config|resetstat", None)
    seen.pop("config", None)  # older servers count both under one name
    seen.pop("info", None)
    assert seen == {"set": 1, "get": 3}
    assert 0 < await watcher.pttl("k") <= 1500


@pytest.mark.parametrize("count", [1, 5, 40])
async def test_any_number_of_keys_is_one_round_trip(
    count: int, client: Redis, redis_cache: EmbeddedRedis, watcher: Redis
) -> None:
    """The server has read and answered all commands of a trip in one go: one write each way."""
    tier = SharedTier(client, timeout_s=TIMEOUT_S, ttl_s=TTL_S)
    keys = [f"k{i}" for i in range(count)]
    for key in keys:
        await tier.store(key, segment_entry(), 60)
    async with watcher.monitor() as monitor:
        fetched = await tier.fetch(keys)
        lines = [await asyncio.wait_for(monitor.next_command(), 2) for _ in keys]
    assert all(entry == segment_entry() for entry in fetched.entries)
    assert [line["command"] for line in lines] == [f"GET {key}" for key in keys]
    assert lines[-1]["time"] - lines[0]["time"] < 0.005


async def test_damaged_and_foreign_values_are_misses_and_counted(
    tier: SharedTier, watcher: Redis
) -> None:
    stored = envelope.encode(segment_entry())
    await watcher.set("cut", stored[:-1])
    await watcher.set("flipped", stored[:50] + bytes([stored[50] ^ 4]) + stored[51:])
    await watcher.set("newer", bytes([envelope.VERSION + 1]) + stored[1:])
    await watcher.set("empty", b"")
    await cast("Awaitable[int]", watcher.rpush("list", b"x"))
    await watcher.set("whole", stored)
    fetched = await tier.fetch(["cut", "flipped", "newer", "empty", "list", "whole", "absent"])
    assert fetched.entries == [None] * 5 + [segment_entry(), None]
    assert tier.counters.damaged == 5
    assert not tier.gate.closed, "the server answered"


async def test_the_aiocache_interface(tier: SharedTier, watcher: Redis) -> None:
    entry = segment_entry()
    assert await tier.set("a", entry)
    assert TTL_S * 1000 - 5000 < await watcher.pttl("a") <= TTL_S * 1000
    assert await tier.get("a") == entry
    assert await tier.get("b") is None
    assert await tier.multi_set([("b", entry), ("c", entry)], ttl=60)
    assert await tier.multi_get(["a", "b", "x"]) == [entry, entry, None]
    assert await tier.exists("c")
    assert await tier.expire("c", 0.001)
    await asyncio.sleep(0.01)
    assert not await tier.exists("c")
    assert await tier.delete("a") == 1
    await cast("Awaitable[int]", watcher.rpush("list", b"x"))
    with pytest.raises(StoreError):
        await tier.get("list")


async def test_a_refused_write_is_counted_and_no_outage(
    tier: SharedTier, watcher: Redis, redis_cache: EmbeddedRedis
) -> None:
    before = (await watcher.config_get("maxmemory*"))["maxmemory"]
    await watcher.config_set("maxmemory-policy", "noeviction")
    await watcher.config_set("maxmemory", 1)
    try:
        assert not await tier.store("k", segment_entry(), 60)
    finally:
        await watcher.config_set("maxmemory", before)
        await watcher.config_set("maxmemory-policy", "allkeys-lfu")
    assert tier.counters.refused == 1
    assert not tier.gate.closed
    assert await tier.store("k", segment_entry(), 60)


async def test_a_dead_server_costs_one_question_and_one_log_line(
    tier: SharedTier, redis_cache: EmbeddedRedis
) -> None:
    await tier.store("k", segment_entry(), 60)
    with structlog.testing.capture_logs() as logs:
        redis_cache.kill()
        for _ in range(100):
            fetched = await tier.fetch(["k"])
            assert fetched.entries == [None]
        assert tier.counters.faults == 1
        assert tier.counters.skipped == 99
        with pytest.raises(StoreError):
            await tier.get("k")
        assert await took_s(tier.fetch(["k"])) < 0.005
        await redis_cache.start()
        await asyncio.sleep(PAUSE_S + 0.05)
        assert (await tier.fetch(["k"])).trips == 1
    assert [line["event"] for line in logs] == ["store_out", "store_back"]
    assert not tier.gate.closed
    assert redis_cache.url not in str(logs)
    assert await tier.store("k", segment_entry(), 60)


async def test_a_hanging_server_is_waited_for_three_times_at_most(
    tier: SharedTier, redis_cache: EmbeddedRedis
) -> None:
    await tier.store("k", segment_entry(), 60)
    assert redis_cache.child is not None
    redis_cache.child.signal(signal.SIGSTOP)
    waits = [await took_s(tier.fetch(["k"])) for _ in range(20)]
    print("waits in ms:", [round(w * 1000, 1) for w in waits])
    assert max(waits) < TIMEOUT_S + 0.05
    assert all(wait < 0.005 for wait in waits[LATE_ANSWERS:])
    await asyncio.sleep(PAUSE_S)
    probes = await asyncio.gather(*(took_s(tier.fetch(["k"])) for _ in range(20)))
    assert sum(wait > 0.01 for wait in probes) == 1, "one probe, the others do not wait"
    redis_cache.child.signal(signal.SIGCONT)
    await asyncio.sleep(PAUSE_S + 0.05)
    assert (await tier.fetch(["k"])).entries == [segment_entry()]


async def test_answers_of_cancelled_questions_reach_nobody_else(
    tier: SharedTier, redis_cache: EmbeddedRedis
) -> None:
    """A connection left in the middle of an answer must not serve the next question."""
    for i in range(20):
        await tier.store(f"k{i}", segment_entry(bytes([i]) * 20_000), 60)
    for round_ in range(60):
        asked = [asyncio.create_task(tier.fetch([f"k{i}", "none"])) for i in range(20)]
        await asyncio.sleep(round_ * 0.0001)
        for task in asked[::2]:
            task.cancel()
        results = await asyncio.gather(*asked, return_exceptions=True)
        for i, result in enumerate(results):
            if not isinstance(result, BaseException):
                assert result.entries == [segment_entry(bytes([i]) * 20_000), None]
            else:
                assert isinstance(result, asyncio.CancelledError)
    assert tier.counters.faults == 0


async def test_more_questions_than_places_are_no_outage(redis_cache: EmbeddedRedis) -> None:
    client = open_redis(redis_cache.url, timeout_s=TIMEOUT_S, max_connections=2)
    tier = SharedTier(client, timeout_s=2.0, ttl_s=TTL_S, max_concurrent=2)
    await tier.store("k", segment_entry(bytes(50_000)), 60)
    results = await asyncio.gather(*(tier.fetch(["k"]) for _ in range(100)))
    assert all(r.entries[0] is not None for r in results)
    assert tier.counters.faults == 0
    await client.aclose()


async def test_waiting_for_a_place_is_bounded_and_not_the_servers_fault(
    redis_cache: EmbeddedRedis,
) -> None:
    client = open_redis(redis_cache.url, timeout_s=5.0, max_connections=2)
    tier = SharedTier(client, timeout_s=0.3, ttl_s=TTL_S, max_concurrent=1)
    await tier.fetch(["k"])
    assert redis_cache.child is not None
    redis_cache.child.signal(signal.SIGSTOP)
    first = asyncio.create_task(tier.store("k", segment_entry(), 60))
    await asyncio.sleep(0.01)
    fetched = await asyncio.gather(*(tier.fetch(["k"]) for _ in range(5)))
    assert all(f.trips == 0 for f in fetched)
    assert not tier.gate.closed
    redis_cache.child.signal(signal.SIGCONT)
    assert await first
    assert tier.counters.faults == 0
    assert tier.counters.skipped == 5
    await client.aclose()


def test_the_gate_opens_for_one_probe_at_a_time() -> None:
    now_s = 100.0
    gate = OutageGate("test", clock=lambda: now_s)
    for _ in range(LATE_ANSWERS - 1):
        gate.failed(TimeoutError(), late=True)
        assert gate.allow()
    gate.answered()
    for _ in range(LATE_ANSWERS - 1):
        gate.failed(TimeoutError(), late=True)
        assert not gate.closed, "late answers count in a row"
    gate.failed(TimeoutError(), late=True)
    assert gate.closed
    assert not gate.allow()
    now_s += PAUSE_S
    assert [gate.allow(), gate.allow()] == [True, False]
    gate.failed(ConnectionError(), late=False)
    now_s += PAUSE_S / 2
    assert not gate.allow()
    now_s += PAUSE_S / 2
    assert gate.allow()
    gate.answered()
    assert gate.allow()
    assert gate.outages == 1
    gate.failed(ConnectionError(), late=False)
    assert gate.closed
