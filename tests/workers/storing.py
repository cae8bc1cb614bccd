"""What tests of jobs in the state database have in common."""

from __future__ import annotations

from redis.asyncio import Redis

from core.job_store import JobStore
from core.jobs import ItemResult, JobRef, JobSpec, Lease
from core.redis import Keys

SPEC = JobSpec("bulk", "agent_123", "en")
SPOKEN = ItemResult("done", audio_id="a", duration_ms=400, provider="local", characters=3)
FAILED = ItemResult("failed", error_code="text_empty", error_message="Nothing.")


class Caller:
    """Calls workers to jobs; `works` is whether that succeeds."""

    def __init__(self, *, works: bool = True) -> None:
        self.works = works
        self.called: list[JobRef] = []

    async def __call__(self, ref: JobRef) -> bool:
        self.called.append(ref)
        return self.works


async def make(store: JobStore, *texts: str, tenant: str = "acme") -> JobRef:
    return await store.create(tenant, SPEC, texts or ("one", "two", "three"))


async def take(store: JobStore, ref: JobRef) -> Lease:
    lease = await store.take(ref)
    assert isinstance(lease, Lease)
    return lease


async def end_leases(state: Redis, ref: JobRef) -> None:
    """As if the workers had been silent for longer than a lease lasts."""
    key = Keys.job(ref.tenant, ref.job_id, "leases")
    for member in await state.zrange(key, 0, -1):
        await state.zadd(key, {member: 1})
    await look_now(state, ref)


async def look_now(state: Redis, ref: JobRef) -> None:
    """As if the time had come to look at the job."""
    await state.zadd(Keys.open_jobs(None), {str(ref): 1}, xx=True)
