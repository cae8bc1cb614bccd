"""Every worker looks after all jobs: what a dead one held waits again, and somebody is called."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from core.errors import JobNotFound, StoreError
from core.job_store import JobStore
from core.job_upkeep import JobUpkeep
from core.jobs import TASK_OF_KIND, JobRef
from workers.queue import call_worker, drop_forgotten

SWEEP_EVERY_S: Final = 2.0
_ONE_SWEEP_S: Final = 30.0
_ONE_CALL_S: Final = 2.0

_log = structlog.get_logger("seiketsu.workers")


async def sweep_for_ever(upkeep: JobUpkeep, store: JobStore, queue: ArqRedis) -> None:
    """Sweep every `SWEEP_EVERY_S` seconds; an outage of the database is waited out."""
    while True:
        try:
            async with asyncio.timeout(_ONE_SWEEP_S):
                await sweep_once(upkeep, store, queue)
        except (StoreError, RedisError, OSError) as error:  # OSError: TimeoutError too
            _log.warning("sweep_missed", error_type=type(error).__name__)
        except Exception as error:
            _log.error("sweep_broken", error_type=type(error).__name__)
        await asyncio.sleep(SWEEP_EVERY_S)


async def sweep_once(upkeep: JobUpkeep, store: JobStore, queue: ArqRedis) -> int:
    """Return ended leases, call a worker to each job that has nobody, and tidy the queue. How many
    were called. A call that fails is made again by a later sweep."""

    async def call(ref: JobRef) -> bool:
        try:
            async with asyncio.timeout(_ONE_CALL_S):
                record = await store.read(ref)
                await call_worker(queue, TASK_OF_KIND[record.spec.kind], ref)
        except JobNotFound:
            return False
        except (StoreError, RedisError, OSError, RuntimeError) as error:
            _log.warning("job_not_called", job=ref.job_id, error_type=type(error).__name__)
            return False
        return True

    found = await upkeep.sweep(call)
    await drop_forgotten(queue)
    if found.returned or found.called:
        _log.info("swept", returned=found.returned, called=found.called)
    return found.called
