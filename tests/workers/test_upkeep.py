"""What a sweep finds: leases that ended and jobs with nobody at them, among any number of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis

from core.job_store import JobStore
from core.job_upkeep import JobUpkeep
from core.jobs import JobRef, Lease, PutOff
from core.redis import Keys
from tests.workers.storing import SPEC, SPOKEN, Caller, end_leases, look_now, make, take


async def set_field(state: Redis, ref: JobRef, field: str, value: str) -> None:
    await cast(Awaitable[int], state.hset(Keys.job(ref.tenant, ref.job_id), field, value))
    await look_now(state, ref)


async def test_texts_given_back_wait_again_and_call_a_worker_at_once(
    store: JobStore, upkeep: JobUpkeep
) -> None:
    ref, caller = await make(store, "one"), Caller()
    assert await store.give_back(ref, [await take(store, ref)], unspent=True) == 1
    assert (await upkeep.sweep(caller)).called == 1
    assert (await upkeep.sweep(caller)).called == 0, "told to one sweeper only"
    assert caller.called == [ref]
    assert (await take(store, ref)).taken == 1


async def test_a_job_that_nobody_came_to_calls_again(
    store: JobStore, upkeep: JobUpkeep, state: Redis
) -> None:
    ref, caller = await make(store, "one"), Caller()
    await look_now(state, ref)
    await upkeep.sweep(caller)
    assert caller.called == [], "whoever made it has called"
    await set_field(state, ref, "called", "1")
    await upkeep.sweep(caller)
    assert caller.called == [ref]


async def test_a_call_that_failed_is_made_by_the_next_who_sweeps(
    store: JobStore, upkeep: JobUpkeep, state: Redis
) -> None:
    refs = [await make(store, "one") for _ in range(3)]
    for ref in refs:
        await set_field(state, ref, "called", "1")
    failing, caller = Caller(works=False), Caller()
    assert (await upkeep.sweep(failing)).called == 0
    assert set(failing.called) == set(refs), "one that fails stops no other"
    await upkeep.sweep(caller)
    assert caller.called == [], "for a moment they are the first sweeper's"
    ends_ms = [await state.zscore(Keys.open_jobs(None), str(ref)) for ref in refs]
    now_ms = (await state.time())[0] * 1000
    assert all(end is not None and end - now_ms < 6_000 for end in ends_ms)
    for ref in refs:
        await set_field(state, ref, "claimed", "1")
    assert (await upkeep.sweep(caller)).called == 3
    for ref in refs:
        await set_field(state, ref, "claimed", "1")
    assert (await upkeep.sweep(Caller())).called == 0, "who was called has its time to come"


async def test_a_dead_workers_text_is_found_among_any_number_of_jobs(
    store: JobStore, upkeep: JobUpkeep, state: Redis
) -> None:
    mine = await make(store, "one", tenant="late")
    first = await take(store, mine)
    for number in range(60):
        await asyncio.gather(*(make(store, "one", tenant=f"t{number % 5}") for _ in range(8)))
    await end_leases(state, mine)
    assert (await upkeep.sweep(Caller())).returned == 1
    assert (await take(store, mine)).index == first.index


async def test_more_due_jobs_than_one_look_are_all_found_the_oldest_first(
    store: JobStore, upkeep: JobUpkeep, state: Redis
) -> None:
    refs = [await make(store, "one", tenant=f"t{n % 5}") for n in range(250)]
    for place, ref in enumerate(refs):
        key = Keys.job(ref.tenant, ref.job_id)
        await cast(Awaitable[int], state.hset(key, "called", "1"))
        await state.zadd(Keys.open_jobs(None), {str(ref): 250 - place})
    caller = Caller()
    assert (await upkeep.sweep(caller)).called == 250
    assert caller.called == refs[::-1]


async def test_only_unfinished_jobs_are_looked_at(
    store: JobStore, upkeep: JobUpkeep, state: Redis
) -> None:
    done, removed, gone = [await make(store, "one") for _ in range(3)]
    for ref in (done, removed):
        await store.finish(ref, await take(store, ref), SPOKEN)
    assert await store.remove(removed)
    await state.delete(Keys.job(gone.tenant, gone.job_id))
    await look_now(state, gone)
    await upkeep.sweep(Caller())
    assert await state.zcard(Keys.open_jobs(None)) == 0


async def test_a_text_put_off_waits_for_its_time_and_its_try_does_not_count(
    store: JobStore,
) -> None:
    ref = await store.create("acme", SPEC, ["one", "two"])
    lease = await take(store, ref)
    assert lease.failing_s == 0
    await store.put_off(ref, lease, pause_s=0.2, spent=False)
    assert (await store.read(ref)).counts.queued == 2
    other = await take(store, ref)
    assert other.text == "two"
    waits = await store.take(ref)
    assert isinstance(waits, PutOff)
    assert 0 < waits.seconds <= 0.2
    await asyncio.sleep(waits.seconds + 0.01)
    again = await take(store, ref)
    assert (again.text, again.taken) == ("one", 1)
    assert 0.2 <= again.failing_s < 1
    await store.put_off(ref, again, pause_s=0.01, spent=True)
    await store.finish(ref, other, SPOKEN)
    await asyncio.sleep(0.02)
    last = await take(store, ref)
    assert (last.text, last.taken) == ("one", 2)
    assert last.failing_s >= 0.2, "since it failed first, whatever else was spoken"


async def test_a_job_whose_texts_were_all_put_off_has_a_worker_called(
    store: JobStore, upkeep: JobUpkeep, state: Redis
) -> None:
    ref, caller = await make(store, "one"), Caller()
    await store.put_off(ref, await take(store, ref), pause_s=60, spent=False)
    await upkeep.sweep(caller)
    assert caller.called == []
    await set_field(state, ref, "attended", "0")
    await set_field(state, ref, "called", "0")
    await upkeep.sweep(caller)
    assert caller.called == [ref]
    assert not isinstance(await store.take(ref), Lease)
