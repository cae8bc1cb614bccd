"""What happens by the clock: when, how often in a cluster, and what it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from arq.connections import ArqRedis
from arq.worker import Worker
from redis.asyncio import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from core import jobs
from core.agents import AgentSnapshot, VoiceAgent
from core.embedded import EmbeddedRedis
from core.errors import ConfigurationError
from core.job_store import JobStore
from core.job_upkeep import JobUpkeep
from core.jobs import JobRef, JobSpec, Lease
from core.phrases import PhraseStore, shipped
from core.redis import Keys
from core.settings import load_settings
from tests.workers.storing import look_now, make, take
from workers.main import worker_settings
from workers.maintenance import maintain
from workers.queue import call_worker, open_queue
from workers.schedule import tenants_of, warm_up_jobs
from workers.sweeper import sweep_once
from workers.works import Context

MADRID = ZoneInfo("Europe/Madrid")


@pytest.fixture
async def queue(redis_state: EmbeddedRedis) -> AsyncIterator[ArqRedis]:
    opened = open_queue(redis_state.url)
    yield opened
    await opened.aclose()


async def the_worker(redis_state: EmbeddedRedis, context: Context | None = None) -> Worker:
    """As arq makes it of `WorkerSettings`, without its start."""
    settings = load_settings({"REDIS_URL": redis_state.url, "SEIKETSU_TIME_ZONE": "Europe/Madrid"})
    options = dict(vars(worker_settings(settings)))
    names = ("functions", "cron_jobs", "queue_name", "job_serializer", "job_deserializer")
    return Worker(
        **{name: options[name] for name in (*names, "timezone", "redis_pool")},
        handle_signals=False,
        ctx=context,
    )


async def test_maintenance_is_at_two_and_warm_ups_at_eight_and_five_of_the_set_zone(
    redis_state: EmbeddedRedis,
) -> None:
    worker = await the_worker(redis_state)
    assert worker.timezone == MADRID
    times: dict[str, list[int]] = {}
    for task in worker.cron_jobs:
        now = datetime(2026, 7, 1, 0, 0, tzinfo=MADRID)
        while now.day == 1:
            task.calculate_next(now)
            assert task.next_run is not None
            now = task.next_run + timedelta(seconds=1)
            if now.day == 1:
                times.setdefault(task.name, []).append(task.next_run.hour)
                assert (task.next_run.minute, task.next_run.utcoffset()) == (0, timedelta(hours=2))
    assert times == {jobs.VOICE_CACHE_MAINTENANCE: [2], jobs.WARM_UP_VOICES: [8, 17]}
    await worker.pool.aclose()


async def test_a_task_of_the_clock_is_queued_once_in_a_cluster(
    redis_state: EmbeddedRedis, queue: ArqRedis
) -> None:
    before = datetime(2030, 1, 1, 1, 59, 59, 900_000, tzinfo=MADRID)
    for worker in [await the_worker(redis_state) for _ in range(3)]:
        await worker.run_cron(before, 0.5)  # learns the next time
        await worker.run_cron(before, 0.5)  # which is near
        await worker.pool.aclose()
    waiting = await queue.queued_jobs()
    assert [task.function for task in waiting] == [jobs.VOICE_CACHE_MAINTENANCE]


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="SEIKETSU_TIME_ZONE"):
        load_settings({"SEIKETSU_TIME_ZONE": "Mars/Olympus"})


def test_every_tenant_with_keys_is_warmed_up() -> None:
    assert tenants_of(load_settings({})) == {"default"}
    assert tenants_of(load_settings({"SEIKETSU_API_KEYS": "a:k1,b:k2,k3"})) == {"a", "b", "default"}


async def test_a_warm_up_makes_a_job_for_each_language_of_each_agent(
    store: JobStore, state: Redis
) -> None:
    agents = AgentSnapshot()
    made, report = await warm_up_jobs(
        store, agents, PhraseStore(state, agents), frozenset({"acme", "other"})
    )
    assert report["jobs"] == len(made) == 6
    records = [await store.read(ref) for ref in made if ref.tenant == "acme"]
    assert {record.spec.language for record in records} == {"en", "es", "zh"}
    assert {record.spec.kind for record in records} == {"pregenerate"}
    english = next(record for record in records if record.spec.language == "en")
    assert english.counts.total == len(await shipped("en"))


async def test_what_a_warm_up_passes_over_is_said(store: JobStore, state: Redis) -> None:
    agents = AgentSnapshot()
    phrases, tenants = PhraseStore(state, agents), frozenset({"acme"})
    first, _ = await warm_up_jobs(store, agents, phrases, tenants)
    with capture_logs() as lines:
        made, report = await warm_up_jobs(store, agents, phrases, tenants)
    assert (len(first), made, report["passed"]) == (3, [], 3)
    assert [(line["log_level"], line["passed"]) for line in lines] == [("warning", 3)]


async def test_thirty_four_agents_are_warmed_up_and_leave_the_tenants_own_jobs_alone(
    store: JobStore, state: Redis
) -> None:
    agents = AgentSnapshot(tuple(VoiceAgent(f"a{n}", "A", "casual_male") for n in range(34)))
    made, report = await warm_up_jobs(
        store, agents, PhraseStore(state, agents), frozenset({"acme"})
    )
    assert (len(made), report["passed"]) == (102, 0)
    await store.create("acme", JobSpec("bulk", "a1"), ["one"])


async def test_maintenance_reports_sizes_and_names_a_database_that_is_away(
    store: JobStore,
    upkeep: JobUpkeep,
    queue: ArqRedis,
    state: Redis,
    redis_cache: EmbeddedRedis,
) -> None:
    from core.redis import open_redis

    await store.create("acme", JobSpec("bulk", "agent_123"), ["one"])
    audio = open_redis(redis_cache.url, timeout_s=0.5, max_connections=2)
    report = await maintain(upkeep, store, queue, state, audio)
    assert report["jobs"] == {"open": 1, "kept": 1, "dropped": 0}
    assert report["state_store"]["keys"] > 0
    assert report["cache_store"]["limit_bytes"] == 64 * 1024 * 1024
    await redis_cache.stop()
    assert "error" in (await maintain(upkeep, store, queue, state, audio))["cache_store"]
    await audio.aclose()


async def test_a_sweep_calls_a_worker_by_the_name_of_the_task(
    store: JobStore, upkeep: JobUpkeep, queue: ArqRedis
) -> None:
    ref = await store.create("acme", JobSpec("pregenerate", "agent_123", "en"), ["one"])
    lease = await store.take(ref)
    assert isinstance(lease, Lease)
    await store.give_back(ref, [lease], unspent=True)
    assert await sweep_once(upkeep, store, queue) == 1
    (called,) = await queue.queued_jobs()
    assert called.function == jobs.PREGENERATE_AGENT_VOICES
    assert list(called.args) == [{"tenant": "acme", "job_id": ref.job_id}]


async def test_a_call_that_the_queue_refused_is_made_by_a_later_sweep(
    store: JobStore, upkeep: JobUpkeep, queue: ArqRedis, state: Redis
) -> None:
    refs = [await make(store, "one") for _ in range(3)]
    for ref in refs:
        await store.give_back(ref, [await take(store, ref)], unspent=True)
    await state.set(Keys.queue(), b"not a sorted set")
    with capture_logs() as lines, pytest.raises(RedisError):
        await sweep_once(upkeep, store, queue)
    assert [line["event"] for line in lines] == ["job_not_called"] * 3, "one stops no other"
    await state.delete(Keys.queue())
    for ref in refs:
        await cast(Awaitable[int], state.hset(Keys.job("acme", ref.job_id), "claimed", "1"))
        await look_now(state, ref)
    assert await sweep_once(upkeep, store, queue) == 3
    assert len(await queue.queued_jobs()) == 3


async def test_the_queue_waits_for_a_database_that_is_not_there(
    queue: ArqRedis, redis_state: EmbeddedRedis
) -> None:
    assert await queue.zcard(Keys.queue()) == 0
    await redis_state.stop()
    asking = asyncio.ensure_future(queue.zcard(Keys.queue()))
    await asyncio.sleep(0.3)
    await redis_state.start()
    async with asyncio.timeout(5):
        assert await asking == 0


async def test_calls_past_their_time_do_not_stand_in_the_way(
    store: JobStore, upkeep: JobUpkeep, queue: ArqRedis
) -> None:
    await queue.zadd(Keys.queue(), {f"job_{n}:killed": n + 1 for n in range(120)})
    await call_worker(queue, jobs.BULK_VOICE_SYNTHESIS, JobRef("acme", "job_1"))
    await sweep_once(upkeep, store, queue)
    (left,) = await queue.queued_jobs()
    assert list(left.args) == [{"tenant": "acme", "job_id": "job_1"}]


async def test_the_queue_carries_ids_and_no_pickle(queue: ArqRedis) -> None:
    await call_worker(queue, jobs.BULK_VOICE_SYNTHESIS, JobRef("acme", "job_1"))
    (name,) = await queue.zrange(Keys.queue(), 0, -1)
    blob = await queue.get(b"arq:job:" + name)
    found = jobs.decode(blob)
    assert (found["f"], found["a"]) == (
        jobs.BULK_VOICE_SYNTHESIS,
        [{"tenant": "acme", "job_id": "job_1"}],
    )
    assert jobs.decode(jobs.encode({"r": ValueError("a caller's words")})) == {
        "r": {"error_type": "ValueError"}
    }
