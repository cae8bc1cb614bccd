"""A state database whose memory is bounded: what is refused when it is full, and what is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from core.errors import NoAudioRoom, StoreError
from core.job_store import AUDIO_SHARE, JobStore
from core.job_upkeep import JobUpkeep
from core.jobs import audio_name
from core.redis import Keys
from core.settings import JobSettings
from tests.workers.storing import SPOKEN, Caller, end_leases, make, take


@pytest.fixture
async def bounded(state: Redis) -> AsyncIterator[Redis]:
    """The database with a bound far over what it holds; the server is other tests' too."""
    await state.config_set("maxmemory", "64mb")
    yield state
    await state.config_set("maxmemory", "0")


async def fill(state: Redis) -> None:
    for number in range(20):
        await state.set(f"ballast{number}", b"x" * 100_000)
    await state.config_set("maxmemory", "1mb")
    with pytest.raises(OutOfMemoryError):
        await state.set("more", b"x")


async def test_a_full_database_ends_what_was_begun_and_begins_nothing(
    store: JobStore, upkeep: JobUpkeep, bounded: Redis
) -> None:
    ref = await make(store, "one", "two", "three", "four")
    beaten, finished, late = [await take(store, ref) for _ in range(3)]
    await end_leases(bounded, ref)
    await fill(bounded)
    assert await store.beat(ref, [beaten, finished]) == set(), "renewed although it is full"
    assert (await upkeep.sweep(Caller())).returned == 1
    assert not await store.finish(ref, late, SPOKEN)
    assert await store.finish(ref, finished, SPOKEN)
    await store.put_off(ref, beaten, pause_s=60, spent=False)
    with pytest.raises(StoreError, match="full"):
        await store.take(ref)
    with pytest.raises(StoreError, match="full"):
        await make(store, "more")
    counts = (await store.read(ref)).counts
    assert (counts.queued, counts.running, counts.succeeded) == (3, 0, 1)
    await store.cancel(ref)
    assert await store.remove(ref)


async def test_audio_is_refused_while_the_database_is_full(store: JobStore, bounded: Redis) -> None:
    ref = await make(store, "one")
    lease = await take(store, ref)
    await fill(bounded)
    with pytest.raises(StoreError, match="full"):
        await store.keep_audio(ref, lease, b"x")
    assert not await bounded.exists(Keys.result("acme", audio_name(ref, 0).hex()))


async def test_the_audio_of_all_tenants_takes_its_share_of_the_memory_and_no_more(
    bounded: Redis,
) -> None:
    await bounded.config_set("maxmemory", "16mb")
    share = int(16 * 1024 * 1024 * AUDIO_SHARE)
    store = JobStore(bounded, JobSettings(ttl_s=60))
    mine, theirs = await make(store, *["t"] * 10), await make(store, "one", tenant="other")
    for part in [(share - 100_000) // 10] * 9 + [share - 100_000 - (share - 100_000) // 10 * 9]:
        await store.keep_audio(mine, await take(store, mine), b"x" * part)
    assert await store.audio_room("other") == 100_000
    lease = await take(store, theirs)
    with pytest.raises(NoAudioRoom, match="all jobs"):
        await store.keep_audio(theirs, lease, b"x" * 100_001)
    await store.keep_audio(theirs, lease, b"x" * 50_000)
    with pytest.raises(NoAudioRoom, match="all jobs"):
        await make(store, "more", tenant="third")
    await store.cancel(mine)
    assert await store.remove(mine)
    assert await store.audio_room("third") == share - 50_000
    key = Keys.audio_room(None, "bytes")
    assert int(await cast(Awaitable[bytes], bounded.hget(key, "total"))) == 50_000
    assert 0 < await bounded.pttl(key) <= 60_000


async def test_without_a_bound_only_the_tenants_own_matters(state: Redis) -> None:
    store = JobStore(state, JobSettings(audio_bytes=123_456))
    assert await store.audio_room("acme") == 123_456
