"""Jobs in the state database: leases, results, counts, owners, and what is left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import cast

import pytest
from redis.asyncio import Redis

from core.embedded import EmbeddedRedis
from core.errors import JobEnded, JobNotFound, NoAudioRoom, StoreError, TooManyJobs, TooManyTexts
from core.job_store import JobStore
from core.job_upkeep import JobUpkeep
from core.jobs import JobRef, JobSpec, Lease, audio_name
from core.redis import Keys, open_redis
from core.settings import JobSettings
from tests.workers.storing import FAILED, SPOKEN, Caller, end_leases, make, take


async def test_every_text_is_handed_out_once_and_the_job_ends_with_the_last(
    store: JobStore,
) -> None:
    ref = await make(store)
    leases = [await take(store, ref) for _ in range(3)]
    assert [lease.text for lease in leases] == ["one", "two", "three"]
    assert await store.take(ref) is None
    assert (await store.read(ref)).counts.running == 3
    for lease in leases:
        assert await store.finish(ref, lease, SPOKEN if lease.index else FAILED)
    record = await store.read(ref)
    assert (record.status, record.counts.succeeded, record.counts.failed) == ("done", 2, 1)
    assert record.finished_unix_s is not None
    items = await store.items(record, 0, 200)
    assert [item.state for item in items] == ["failed", "done", "done"]
    assert items[1].result == SPOKEN


async def test_who_asks_again_for_a_reply_that_was_lost_gets_the_same_text(
    store: JobStore, upkeep: JobUpkeep, state: Redis
) -> None:
    ref = await make(store, "one", "two")
    first = await store.take(ref, "token")
    assert isinstance(first, Lease)
    assert await store.take(ref, "token") == first
    assert (await take(store, ref)).text == "two"
    await end_leases(state, ref)
    await upkeep.sweep(Caller())
    assert {(await take(store, ref)).text for _ in range(2)} == {"one", "two"}
    assert not await store.finish(ref, first, SPOKEN)


async def test_a_job_of_which_nothing_was_spoken_has_failed(store: JobStore) -> None:
    ref = await make(store, "one")
    await store.finish(ref, await take(store, ref), FAILED)
    assert (await store.read(ref)).status == "failed"


async def test_a_result_is_written_once_and_only_by_its_holder(store: JobStore) -> None:
    ref = await make(store, "one", "two")
    lease = await take(store, ref)
    stranger = Lease(lease.index, "another", lease.text, 1)
    assert not await store.finish(ref, stranger, FAILED)
    assert await store.finish(ref, lease, SPOKEN)
    assert not await store.finish(ref, lease, FAILED)
    record = await store.read(ref)
    assert (record.counts.succeeded, record.counts.failed) == (1, 0)


async def test_a_lease_that_ended_goes_to_somebody_else(
    store: JobStore, upkeep: JobUpkeep, state: Redis
) -> None:
    ref = await make(store, "one")
    silent = await take(store, ref)
    await end_leases(state, ref)
    assert (await upkeep.sweep(Caller())).returned == 1
    second = await take(store, ref)
    assert (second.text, second.taken) == ("one", 2)
    assert not await store.finish(ref, silent, FAILED)
    assert await store.finish(ref, second, SPOKEN)
    await end_leases(state, ref)
    assert (await upkeep.sweep(Caller())).returned == 0
    assert await store.take(ref) is None


async def test_a_renewed_lease_stays(store: JobStore, upkeep: JobUpkeep, state: Redis) -> None:
    ref = await make(store, "one", "two")
    mine, lost = await take(store, ref), await take(store, ref)
    await end_leases(state, ref)
    stranger = Lease(lost.index, "another", lost.text, 1)
    assert await store.beat(ref, [mine, stranger]) == {lost.index}
    assert (await upkeep.sweep(Caller())).returned == 1
    assert await store.finish(ref, mine, SPOKEN)


async def test_a_cancelled_job_begins_nothing_and_keeps_what_is_under_way(
    store: JobStore,
) -> None:
    ref = await make(store)
    lease, other = await take(store, ref), await take(store, ref)
    await store.cancel(ref)
    assert await store.take(ref) is None
    assert await store.finish(ref, lease, SPOKEN)
    record = await store.read(ref)
    counts = record.counts
    assert (record.status, counts.succeeded, counts.running, counts.cancelled) == (
        *("cancelled", 1, 1, 1),
    )
    states = [item.state for item in await store.items(record, 0, 10)]
    assert states == ["done", "running", "cancelled"]
    await store.give_back(ref, [other], unspent=True)
    record = await store.read(ref)
    assert (record.counts.running, record.counts.cancelled) == (0, 2)
    assert [item.state for item in await store.items(record, 0, 10)][1] == "cancelled"


async def test_what_a_dead_worker_held_of_a_cancelled_job_is_cancelled(
    store: JobStore, upkeep: JobUpkeep, state: Redis
) -> None:
    ref = await make(store)
    await take(store, ref)
    await store.cancel(ref)
    assert await state.zcard(Keys.open_jobs(None)) == 1
    await end_leases(state, ref)
    caller = Caller()
    assert (await upkeep.sweep(caller)).returned == 1
    assert caller.called == []
    record = await store.read(ref)
    assert (record.counts.running, record.counts.cancelled) == (0, 3)
    assert {item.state for item in await store.items(record, 0, 10)} == {"cancelled"}
    assert await state.zcard(Keys.open_jobs(None)) == 0, "nobody looks at it again"


async def test_a_job_that_has_ended_is_not_cancelled_and_loses_nothing(store: JobStore) -> None:
    ref = await make(store, "one")
    assert not await store.remove(ref), "it is unfinished"
    await store.finish(ref, await take(store, ref), SPOKEN)
    before = await store.read(ref)
    with pytest.raises(JobEnded):
        await store.cancel(ref)
    assert await store.read(ref) == before
    cancelled = await make(store)
    await store.cancel(cancelled)
    with pytest.raises(JobEnded):
        await store.cancel(cancelled)
    assert (await store.read(cancelled)).counts.cancelled == 3
    for one in (ref, cancelled):
        assert await store.remove(one)
        for again in (store.remove, store.cancel, store.read):
            with pytest.raises(JobNotFound):
                await again(one)


async def test_a_job_belongs_to_its_tenant(store: JobStore) -> None:
    ref = await make(store)
    with pytest.raises(JobNotFound):
        await store.read(JobRef("other", ref.job_id))
    with pytest.raises(JobNotFound):
        await store.cancel(JobRef("other", ref.job_id))
    assert await store.page("other", 0, 10) == ([], 0)


async def test_pages_show_the_newest_first(store: JobStore) -> None:
    refs = []
    for _ in range(3):
        refs.append(await make(store, "one"))
        await asyncio.sleep(0.002)
    first, total = await store.page("acme", 0, 2)
    rest, _ = await store.page("acme", 2, 2)
    assert [record.ref for record in [*first, *rest]] == refs[::-1]
    assert total == 3


async def test_texts_are_bounded_and_so_are_unfinished_jobs(state: Redis) -> None:
    store = JobStore(state, JobSettings(ttl_s=3600, max_texts=2), max_open=2)
    with pytest.raises(TooManyTexts):
        await make(store, "one", "two", "three")
    first = await make(store, "one")
    await make(store, "one")
    with pytest.raises(TooManyJobs):
        await make(store, "one")
    await make(store, "one", tenant="other")
    await store.finish(first, await take(store, first), SPOKEN)
    await make(store, "one")


async def test_everything_of_a_job_expires_with_it(state: Redis) -> None:
    store = JobStore(state, JobSettings(ttl_s=60, max_texts=10))
    ref = await make(store, "one", "two")
    await take(store, ref)
    await store.finish(ref, await take(store, ref), SPOKEN)
    keys = [key async for key in state.scan_iter(match="sk1:acme:job:*")]
    keys += [key async for key in state.scan_iter(match="sk1:acme:job-*")]
    assert len(keys) == 5
    for key in keys:
        assert 0 < await state.pttl(key) <= 60_000, key


async def room(state: Redis, tenant: str = "acme") -> int:
    key = Keys.audio_room(tenant, "bytes")
    return int(await cast(Awaitable[bytes | None], state.hget(key, "total")) or 0)


async def test_audio_that_is_put_again_counts_once(store: JobStore, state: Redis) -> None:
    ref = await make(store, "one", "two")
    one, two = await take(store, ref), await take(store, ref)
    for size in (100, 300, 200):
        await store.keep_audio(ref, one, b"x" * size)
    await store.keep_audio(ref, two, b"y" * 50)
    assert await room(state) == 250
    key = Keys.result("acme", audio_name(ref, one.index).hex())
    assert await state.get(key) == b"x" * 200
    ends_ms = (await store.read(ref)).expires_unix_s * 1000
    assert await state.pttl(key) == pytest.approx(ends_ms - time.time() * 1000, abs=2000)


async def test_audio_is_kept_for_who_holds_the_text_alone(store: JobStore, state: Redis) -> None:
    ref = await make(store, "one", "two")
    lease = await take(store, ref)
    with pytest.raises(JobNotFound):
        await store.keep_audio(ref, Lease(lease.index, "another", "one", 1), b"x")
    await store.cancel(ref)
    await store.keep_audio(ref, lease, b"x")
    assert await store.remove(ref)
    with pytest.raises(JobNotFound):
        await store.keep_audio(ref, lease, b"x")
    assert not [key async for key in state.scan_iter(match="sk1:acme:res:*")]
    assert await room(state) == 0


async def test_a_removed_job_takes_its_audio_along_and_gives_the_room_back(
    store: JobStore, state: Redis
) -> None:
    gone, stays = await make(store, *["t"] * 20), await make(store, "one")
    for ref, texts in ((gone, 20), (stays, 1)):
        for _ in range(texts):
            lease = await take(store, ref)
            await store.keep_audio(ref, lease, b"x" * 100)
            await store.finish(ref, lease, SPOKEN)
    assert await store.remove(gone)
    left = [key async for key in state.scan_iter(match="sk1:acme:res:*")]
    assert left == [Keys.result("acme", audio_name(stays, 0).hex()).encode()]
    assert await room(state) == 100


async def test_expired_audio_gives_its_room_back(state: Redis) -> None:
    short = JobStore(state, JobSettings(ttl_s=1, audio_bytes=100_000))
    long = JobStore(state, JobSettings(ttl_s=60, audio_bytes=100_000))
    stays, goes = await make(long, "one"), await make(short, "one")
    await long.keep_audio(stays, await take(long, stays), b"x" * 30_000)
    await short.keep_audio(goes, await take(short, goes), b"x" * 50_000)
    with pytest.raises(NoAudioRoom, match="remove"):
        await make(long, "one")
    await asyncio.sleep(1.1)
    more = await make(long, "one")
    assert await room(state) == 30_000
    with pytest.raises(NoAudioRoom):
        await long.keep_audio(more, await take(long, more), b"x" * 80_000)
    assert 0 < await state.pttl(Keys.audio_room("acme", "bytes")) <= 60_000


async def test_warm_ups_take_no_place_of_the_tenants_own_jobs(state: Redis) -> None:
    store = JobStore(state, JobSettings(), max_open=2)
    refs = [
        await store.create_warm_up("acme", JobSpec("pregenerate", f"a{n}", "en"), ["one"])
        for n in range(5)
    ]
    await make(store, "one")
    await make(store, "one")
    with pytest.raises(TooManyJobs):
        await make(store, "one")
    again = JobSpec("pregenerate", "a0", "en")
    assert await store.create_warm_up("acme", again, ["one"]) is None
    assert await store.create_warm_up("other", again, ["one"]) is not None
    first = refs[0]
    assert first is not None
    await store.finish(first, await take(store, first), SPOKEN)
    assert await store.create_warm_up("acme", again, ["one"]) is not None


async def test_maintenance_drops_what_expired_from_the_indexes(
    upkeep: JobUpkeep, state: Redis
) -> None:
    store = JobStore(state, JobSettings(ttl_s=1, max_texts=10))
    await make(store, "one")
    await asyncio.sleep(1.1)
    kept = await make(JobStore(state, JobSettings(ttl_s=3600, max_texts=10)), "one")
    report = await upkeep.tidy()
    assert (report["open"], report["kept"]) == (1, 1)
    assert [r.ref for r in (await store.page("acme", 0, 10))[0]] == [kept]
    assert await state.zrange(Keys.open_jobs(None), 0, -1) == [str(kept).encode()]


async def test_no_text_is_left_of_what_has_ended(store: JobStore, state: Redis) -> None:
    ref = await make(store, "a secret sentence")
    await store.finish(ref, await take(store, ref), SPOKEN)
    assert not await state.exists(Keys.job(ref.tenant, ref.job_id, "texts"))
    cancelled = await make(store, "a secret sentence")
    await store.cancel(cancelled)
    assert not await state.exists(Keys.job(cancelled.tenant, cancelled.job_id, "texts"))


async def test_jobs_survive_a_restart_of_the_database(
    store: JobStore, redis_state: EmbeddedRedis
) -> None:
    ref = await make(store, "one", "two")
    lease = await take(store, ref)
    await redis_state.stop()
    with pytest.raises(StoreError):
        await store.read(ref)
    await redis_state.start()
    assert await store.finish(ref, lease, SPOKEN)
    assert (await take(store, ref)).text == "two"


async def test_two_hundred_takers_at_once_never_get_the_same_text(
    redis_state: EmbeddedRedis,
) -> None:
    clients = [open_redis(redis_state.url, timeout_s=5, max_connections=25) for _ in range(4)]
    stores = [JobStore(client, JobSettings(ttl_s=3600, max_texts=1000)) for client in clients]
    ref = await make(stores[0], *(str(n) for n in range(150)))
    calls = [stores[n % 4].take(ref) for n in range(80)]
    got = [lease for lease in await asyncio.gather(*calls) if isinstance(lease, Lease)]
    assert len({lease.index for lease in got}) == len(got) == 80
    for client in clients:
        await client.aclose()
