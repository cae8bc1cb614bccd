"""The gateway's side of background work: makes jobs, and calls workers to them by arq's queue.

arq itself is loaded when the gateway opens.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.embedded import with_default_places
from core.job_store import JobStore
from core.jobs import RUN_EXPIRES_S, TASK_OF_KIND, JobRef, JobSpec, decode, encode, runs_for
from core.redis import Keys, open_redis
from core.settings import Settings

if TYPE_CHECKING:
    from arq.connections import ArqRedis

_CONNECTIONS: Final = 8

_log = structlog.get_logger("seiketsu.gateway")


class Jobs:
    """Background work as the routes need it."""

    def __init__(self, store: JobStore, queue: ArqRedis) -> None:
        self.store = store
        self._queue = queue

    async def start(self, tenant: str, spec: JobSpec, texts: Sequence[str]) -> JobRef:
        """Make a job and call workers to it.

        Raises:
            TooManyTexts, TooManyJobs: see `JobStore.create`.
            StoreError: the state database did not take it.
        """
        ref = await self.store.create(tenant, spec, texts)
        try:
            for _ in range(runs_for(len(texts))):
                await self._queue.enqueue_job(
                    TASK_OF_KIND[spec.kind],
                    msgspec.to_builtins(ref),
                    _job_id=f"{ref.job_id}:{secrets.token_hex(4)}",
                    _expires=RUN_EXPIRES_S,
                )
        except (RedisError, OSError, RuntimeError) as error:
            # The job is kept; a worker's sweep finds it and calls one.
            _log.warning("job_not_called", job=ref.job_id, error_type=type(error).__name__)
        return ref


@asynccontextmanager
async def open_jobs(settings: Settings, state: Redis) -> AsyncIterator[Jobs]:
    """Open the queue beside the state database's client; it connects when first used."""
    from arq.connections import ArqRedis

    settings = with_default_places(settings)
    client = open_redis(
        settings.redis.state_url,
        timeout_s=settings.redis.state_timeout_s,
        max_connections=_CONNECTIONS,
    )
    queue = ArqRedis(
        client.connection_pool,
        job_serializer=encode,
        job_deserializer=decode,
        default_queue_name=Keys.queue(),
    )
    store = JobStore(state, ttl_s=settings.jobs.ttl_s, max_texts=settings.jobs.max_texts)
    try:
        yield Jobs(store, queue)
    finally:
        await client.aclose()
