"""The gateway's side of background work: makes jobs, and calls workers to them by arq's queue.

arq itself is loaded when the gateway opens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from redis.asyncio import Redis

from core.embedded import with_default_places
from core.job_start import start_job
from core.job_store import JobStore
from core.jobs import JobRef, JobSpec, decode, encode
from core.redis import Keys, open_redis
from core.settings import Settings

if TYPE_CHECKING:
    from arq.connections import ArqRedis

_CONNECTIONS: Final = 8


class Jobs:
    """Background work as the routes need it."""

    def __init__(self, store: JobStore, queue: ArqRedis, *, max_text_chars: int) -> None:
        self.store = store
        self._queue = queue
        self._max_text_chars = max_text_chars

    async def start(self, tenant: str, spec: JobSpec, texts: Sequence[str]) -> JobRef:
        """Make a job and call workers to it.

        Raises:
            SeiketsuError: see `core.job_start.start_job`.
        """
        enqueue, longest = self._queue.enqueue_job, self._max_text_chars
        return await start_job(self.store, enqueue, tenant, spec, texts, max_text_chars=longest)


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
    store = JobStore(state, settings.jobs)
    try:
        yield Jobs(store, queue, max_text_chars=settings.speech.max_text_chars)
    finally:
        await client.aclose()
