from __future__ import annotations

import asyncio
import signal
import time
import timeit

import msgspec
from redis.asyncio import Redis

from core.cache.envelope import RenditionEntry
from core.cache.memory import MemoryTier
from core.cache.outage import PAUSE_S
from core.cache.shared import SharedTier
from core.cache.tiered import SpeechCache
from core.embedded import EmbeddedRedis
from core.redis import Keys, open_redis
from core.speech import SpeechPlan
from tests.cache.conftest import (
    TIMEOUT_S,
    TTL_S,
    open_cache,
    plan,
    rendition_entry,
    segment_entry,
    trace,
)


async def gets(watcher: Redis) -> int:
    stats = await watcher.info("commandstats")
    return int(stats.get("cmdstat_get", {"calls": 0})["calls"])


async def admit(
    cache: SpeechCache,
    asked: SpeechPlan,
    *,
    rendition: bool = False,
    created_unix_s: float = 0.0,
) -> None:
    for segment in asked.segments:
        key = segment.attempts[0].voice_key
        cache.admit_segment(asked.tenant, key, segment_entry(key.encode(), created_unix_s))
    if rendition:
        entry = rendition_entry(created=created_unix_s)
        cache.admit_rendition(asked.tenant, asked.rendition_key, entry)
    assert await cache.drain(2)


async def test_nothing_there_is_one_round_trip(cache: SpeechCache, watcher: Redis) -> None:
    record = trace()
    before = await gets(watcher)
    found = await cache.lookup(plan(), record)
    assert (found.rendition, found.rendition_source, found.segments) == (None, None, {})
    assert record.redis_trips == 1
    assert await gets(watcher) - before == 4, "the rendition and three segments"
    assert cache.counters.misses == 3


async def test_what_memory_has_costs_no_round_trip(cache: SpeechCache, watcher: Redis) -> None:
    await admit(cache, plan())
    before, record = await gets(watcher), trace()
    found = await cache.lookup(plan(), record)
    assert {i: source for i, (_, source) in found.segments.items()} == dict.fromkeys(
        range(3), "memory"
    )
    assert found.segments[1][0].audio == b"v1"
    await admit(cache, plan(), rendition=True)
    found = await cache.lookup(plan(), record)
    assert found.rendition == rendition_entry()
    assert (found.rendition_source, found.segments) == ("memory", {})
    assert record.redis_trips == 0
    assert await gets(watcher) == before
    assert cache.counters.memory_hits == 4


async def test_only_what_memory_lacks_is_asked_for(
    cache: SpeechCache, other_process: SpeechCache, watcher: Redis
) -> None:
    await admit(other_process, plan(("v0", "v1")))
    await admit(cache, plan(("v2",)))
    async with watcher.monitor() as monitor:
        record = trace()
        found = await cache.lookup(plan(("v2", "v0", "v9", "v1", "v0")), record)
        asked = [(await asyncio.wait_for(monitor.next_command(), 2))["command"] for _ in range(4)]
    names = [Keys.rendition("acme", "r0"), *(Keys.segment("acme", k) for k in ("v0", "v9", "v1"))]
    assert asked == [f"GET {name}" for name in names]
    assert {i: (entry.audio, source) for i, (entry, source) in found.segments.items()} == {
        0: (b"v2", "memory"),
        1: (b"v0", "redis"),
        3: (b"v1", "redis"),
        4: (b"v0", "redis"),
    }
    assert record.redis_trips == 1
    again = await cache.lookup(plan(("v0", "v1")), record)
    assert {source for _, source in again.segments.values()} == {"memory"}
    assert record.redis_trips == 1


async def test_a_rendition_from_redis_needs_no_segments(
    cache: SpeechCache, other_process: SpeechCache
) -> None:
    await admit(other_process, plan(), rendition=True)
    record = trace()
    found = await cache.lookup(plan(), record)
    assert found.rendition == rendition_entry()
    assert (found.rendition_source, found.segments) == ("redis", {})
    assert record.redis_trips == 1
    assert len(cache.memory) == 1, "the segments that came along are not kept"
    assert cache.peek_rendition("acme", "r0") == rendition_entry()
    assert cache.counters.misses == 0


async def test_what_a_fallback_would_say_is_not_looked_up(cache: SpeechCache) -> None:
    cache.admit_segment("acme", "local-v0", segment_entry())
    assert await cache.drain(2)
    assert (await cache.lookup(plan(("v0",)), trace())).segments == {}


async def test_one_owners_audio_is_not_anothers(
    cache: SpeechCache, other_process: SpeechCache
) -> None:
    await admit(cache, plan(), rendition=True)
    assert cache.peek_rendition("other", "r0") is None
    for asked in (cache, other_process):
        found = await asked.lookup(plan(tenant="other"), trace())
        assert (found.rendition, found.segments) == (None, {})


async def test_without_caching_nothing_is_read(cache: SpeechCache, watcher: Redis) -> None:
    await admit(cache, plan(), rendition=True)
    before, record = await gets(watcher), trace()
    found = await cache.lookup(plan(enable_caching=False), record)
    assert (found.rendition, found.segments, record.redis_trips) == (None, {}, 0)
    assert await gets(watcher) == before


async def test_an_entry_of_the_wrong_kind_is_a_miss(cache: SpeechCache, watcher: Redis) -> None:
    from core.cache import envelope

    await watcher.set(Keys.rendition("acme", "r0"), envelope.encode(segment_entry()))
    await watcher.set(Keys.segment("acme", "v0"), envelope.encode(rendition_entry()))
    found = await cache.lookup(plan(("v0",)), trace())
    assert (found.rendition, found.segments) == (None, {})


async def test_memory_does_not_make_an_entry_live_longer(client: Redis, watcher: Redis) -> None:
    now_s, unix_s = 0.0, 1_000_000.0
    memory = MemoryTier(1_000_000, clock=lambda: now_s)
    shared = SharedTier(client, timeout_s=TIMEOUT_S, ttl_s=TTL_S)
    cache = SpeechCache(memory, shared, ttl_s=TTL_S, clock=lambda: unix_s + now_s)
    await shared.store(
        Keys.segment("acme", "v0"), segment_entry(b"old", created=unix_s - TTL_S + 10), 10
    )
    assert (await cache.lookup(plan(("v0",)), trace())).segments[0][1] == "redis"
    assert (await cache.lookup(plan(("v0",)), trace())).segments[0][1] == "memory"
    await watcher.flushall()
    now_s = 11.0
    assert (await cache.lookup(plan(("v0",)), trace())).segments == {}


async def test_entries_live_as_long_in_redis_as_they_should(
    cache: SpeechCache, watcher: Redis
) -> None:
    await admit(cache, plan(("v0",)), rendition=True)
    for key in (Keys.segment("acme", "v0"), Keys.rendition("acme", "r0")):
        assert TTL_S * 1000 - 5000 < await watcher.pttl(key) <= TTL_S * 1000


async def test_a_dead_redis_is_a_miss_and_comes_back(
    cache: SpeechCache, redis_cache: EmbeddedRedis
) -> None:
    await admit(cache, plan(("kept",)))
    redis_cache.kill()
    record = trace()
    for _ in range(50):
        found = await cache.lookup(plan(("kept", "v1")), record)
        assert {i: source for i, (_, source) in found.segments.items()} == {0: "memory"}
    assert record.redis_trips == 1, "asked once, then left alone"
    await admit(cache, plan(("during",)))
    assert (await cache.lookup(plan(("during",)), trace())).segments[0][1] == "memory"
    assert cache.counters.dropped == 1
    await redis_cache.start()
    await asyncio.sleep(PAUSE_S + 0.05)
    written = cache.counters.written
    await admit(cache, plan(("after",)))
    assert cache.counters.written == written + 1


async def test_a_hanging_redis_slows_few_and_bounded(
    cache: SpeechCache, redis_cache: EmbeddedRedis
) -> None:
    await cache.lookup(plan(), trace())
    assert redis_cache.child is not None
    redis_cache.child.signal(signal.SIGSTOP)

    async def timed(key: str) -> float:
        began = time.perf_counter()
        found = await cache.lookup(plan((key,), key), trace())
        assert (found.rendition, found.segments) == (None, {})
        return time.perf_counter() - began

    together = await asyncio.gather(*(timed(f"a{i}") for i in range(30)))
    later = [await timed(f"b{i}") for i in range(30)]
    print(
        f"hanging server: 30 at once waited {max(together) * 1000:.0f} ms at most, "
        f"the next 30 {max(later) * 1000:.1f} ms at most"
    )
    assert max(together) < TIMEOUT_S + 0.1
    assert max(later) < 0.01
    cache.admit_segment("acme", "v5", segment_entry())
    assert await cache.drain(2), "a write ends too"
    redis_cache.child.signal(signal.SIGCONT)
    await asyncio.sleep(PAUSE_S + 0.05)
    record = trace()
    await cache.lookup(plan(), record)
    assert record.redis_trips == 1
    assert not cache.shared.gate.closed


async def test_waiting_writes_are_bounded_in_number_and_bytes(
    client: Redis, redis_cache: EmbeddedRedis
) -> None:
    assert redis_cache.child is not None
    redis_cache.child.signal(signal.SIGSTOP)
    few = open_cache(client, max_pending_writes=5)
    for i in range(20):
        few.admit_segment("acme", f"v{i}", segment_entry())
    assert few.counters.dropped == 15
    small = open_cache(client, max_pending_bytes=25_000)
    for i in range(20):
        small.admit_segment("acme", f"v{i}", segment_entry(bytes(9_000)))
    assert small.counters.dropped == 18
    assert len(few.memory) == len(small.memory) == 20, "memory has them all the same"
    began = time.perf_counter()
    assert not await few.drain(0.02)
    assert time.perf_counter() - began < 0.2
    for cache in (few, small):
        await cache.aclose()
        assert await cache.drain(0)
    assert (few.counters.dropped, few.counters.written) == (20, 0)
    redis_cache.child.signal(signal.SIGCONT)


async def test_room_for_writes_comes_back(client: Redis, watcher: Redis) -> None:
    cache = open_cache(client, max_pending_writes=3)
    for _ in range(5):
        for i in range(3):
            cache.admit_segment("acme", f"v{i}", segment_entry())
        assert await cache.drain(2)
    assert (cache.counters.written, cache.counters.dropped) == (15, 0)
    assert cache._pending_bytes == 0
    assert await watcher.dbsize() == 3


async def test_lookups_under_load_match_the_servers_own_count(
    cache: SpeechCache, redis_cache: EmbeddedRedis, watcher: Redis
) -> None:
    await admit(cache, plan(tuple(f"v{i}" for i in range(20))))
    clients = [open_redis(redis_cache.url, timeout_s=1.0, max_connections=8) for _ in range(10)]
    readers = [open_cache(client, timeout_s=1.0) for client in clients]
    before = await gets(watcher)
    records = [trace() for _ in range(100)]
    found = await asyncio.gather(
        *(
            readers[i % 10].lookup(plan((f"v{i % 20}", f"w{i}"), f"r{i}"), record)
            for i, record in enumerate(records)
        )
    )
    hits = [f.segments[0][0].audio for f in found if 0 in f.segments]
    assert hits == [f"v{i % 20}".encode() for i in range(100)]
    assert all(record.redis_trips == 1 for record in records)
    from_redis = sum(f.segments[0][1] == "redis" for f in found)
    assert await gets(watcher) - before == 200 + from_redis
    for reader, client in zip(readers, clients, strict=True):
        assert reader.shared.counters.faults == 0
        await reader.aclose()
        await client.aclose()


async def test_the_hot_look_costs_next_to_nothing(cache: SpeechCache) -> None:
    cache.admit_rendition("acme", "r0", rendition_entry())
    await cache.drain(2)
    costs = timeit.repeat(lambda: cache.peek_rendition("acme", "r0"), number=5_000, repeat=9)
    middle_us = sorted(costs)[4] / 5_000 * 1e6
    print(f"peek_rendition: {middle_us:.2f} µs")
    assert middle_us < 6.0
    assert isinstance(cache.peek_rendition("acme", "r0"), RenditionEntry)


async def test_a_common_response_is_kept_longer(client: Redis, watcher: Redis) -> None:
    asked = plan()
    keys = [
        Keys.rendition(asked.tenant, asked.rendition_key),
        Keys.segment(asked.tenant, asked.segments[0].attempts[0].voice_key),
    ]
    cache = open_cache(client, common_ttl_s=10 * TTL_S)
    await admit(cache, asked, rendition=True)
    assert all([0 < await watcher.ttl(key) <= TTL_S for key in keys])
    # What a caller said first, and a pre-generation finds, is a common response from then on.
    common = msgspec.structs.replace(asked, common=True)
    found = await cache.lookup(common, trace())
    assert found.rendition is not None
    assert await cache.drain(2)
    assert await watcher.ttl(keys[0]) > 9 * TTL_S
    later = open_cache(client, common_ttl_s=10 * TTL_S)
    again = await later.lookup(asked, trace())
    assert again.rendition is not None
    assert again.rendition.common
    await cache.lookup(common, trace())
    assert not cache._writes, "it is common already"
    for one in (cache, later):
        await one.aclose()


async def test_a_common_response_is_spoken_anew_before_it_is_gone(
    client: Redis, watcher: Redis
) -> None:
    now_s = 1_000_000.0
    cache = open_cache(client, common_ttl_s=10 * TTL_S, clock=lambda: now_s)
    asked = plan()
    common = msgspec.structs.replace(asked, common=True)
    await admit(cache, asked, rendition=True, created_unix_s=now_s)
    now_s += 0.5 * TTL_S
    found = await cache.lookup(common, trace())
    assert found.rendition is not None
    assert await cache.drain(2)
    # The segments too, though the rendition alone was enough.
    segment = Keys.segment(asked.tenant, asked.segments[0].attempts[0].voice_key)
    assert 9 * TTL_S < await watcher.ttl(segment) <= 9.5 * TTL_S
    now_s += 6 * TTL_S
    assert (await cache.lookup(common, trace())).rendition is not None
    now_s += 1.5 * TTL_S
    old = await cache.lookup(common, trace())
    assert old.rendition is None
    assert not old.segments
    assert cache.peek_segment(common, 0) is None
    # Whoever calls meanwhile still hears it.
    assert (await cache.lookup(asked, trace())).rendition is not None
    await cache.aclose()
