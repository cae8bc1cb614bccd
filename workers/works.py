"""What one worker process has open, and the tasks that arq runs with it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from arq import Retry
from arq.connections import ArqRedis

from core.bulk import BulkSpeaker
from core.cluster import open_cluster
from core.job_store import JobStore
from core.job_upkeep import JobUpkeep
from core.jobs import BULK_VOICE_SYNTHESIS, PREGENERATE_AGENT_VOICES, TASK_OF_KIND, JobRef
from core.runtime import Runtime, open_runtime
from core.settings import Settings
from workers.bulk import AlreadyHere, Runner, longest_run_s
from workers.maintenance import maintain
from workers.queue import call_worker, open_queue
from workers.schedule import tenants_of, warm_up_jobs
from workers.sweeper import sweep_for_ever

WORKS: Final = "works"
"""Where arq's context holds the open `Works`."""
MOST_TRIES: Final = 30
_ELSEWHERE_MS: Final = (50, 700)
"""When a call to a job that this worker is at already is offered again, to another, hopefully.
Drawn: workers look for work at a fixed pace, so the same one would find it first each time."""

Context = dict[Any, Any]


class Works(msgspec.Struct, frozen=True):
    """Everything that is open in a worker."""

    settings: Settings
    runtime: Runtime
    store: JobStore
    upkeep: JobUpkeep
    queue: ArqRedis
    runner: Runner


@asynccontextmanager
async def open_works(settings: Settings) -> AsyncIterator[Works]:
    """Open the runtime, the job store and the queue, and sweep until the block ends."""
    async with open_runtime(settings) as runtime:
        store, upkeep = JobStore(runtime.state, settings.jobs), JobUpkeep(runtime.state)
        queue = open_queue(runtime.settings.redis.state_url)
        runner = Runner(
            store,
            runtime.results,
            BulkSpeaker(runtime.service, runtime.recorder),
            concurrency=settings.jobs.concurrency,
            longest_s=longest_run_s(settings),
        )
        sweeping = asyncio.create_task(sweep_for_ever(upkeep, store, queue), name="job-sweeper")
        try:
            async with open_cluster(runtime.state, runtime.recorder, None, lambda: runner.at):
                yield Works(runtime.settings, runtime, store, upkeep, queue, runner)
        finally:
            sweeping.cancel()
            await asyncio.wait([sweeping])
            await queue.aclose()


async def bulk_voice_synthesis(ctx: Context, job: dict[str, str]) -> None:
    """A run of a bulk job."""
    await _run(ctx, BULK_VOICE_SYNTHESIS, job)


async def pregenerate_agent_voices(ctx: Context, job: dict[str, str]) -> None:
    """A run of a job that fills the cache with an agent's phrases."""
    await _run(ctx, PREGENERATE_AGENT_VOICES, job)


async def _run(ctx: Context, task: str, job: dict[str, str]) -> None:
    works: Works = ctx[WORKS]
    ref = msgspec.convert(job, JobRef)
    try:
        more = await works.runner.run(ref)
    except AlreadyHere:
        if ctx["job_try"] < MOST_TRIES:
            least_ms, most_ms = _ELSEWHERE_MS
            wait_ms = least_ms + secrets.randbelow(most_ms - least_ms)
            raise Retry(defer=wait_ms / 1000) from None
        return
    if more:
        await call_worker(works.queue, task, ref)


async def voice_cache_maintenance(ctx: Context) -> dict[str, Any]:
    """The nightly task; its report is kept as the task's result."""
    works: Works = ctx[WORKS]
    runtime = works.runtime
    return await maintain(works.upkeep, works.store, works.queue, runtime.state, runtime.audio)


async def warm_up_voices(ctx: Context) -> dict[str, Any]:
    """Speak every agent's phrases into the cache before the callers come."""
    works: Works = ctx[WORKS]
    jobs, report = await warm_up_jobs(
        works.store, works.runtime.agents, works.runtime.phrases, tenants_of(works.settings)
    )
    for ref in jobs:
        await call_worker(works.queue, TASK_OF_KIND["pregenerate"], ref)
    return report
