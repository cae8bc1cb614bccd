"""The nightly task: what expires by itself leaves names behind, and somebody should know sizes."""

from __future__ import annotations

from typing import Any

import structlog
from arq.connections import ArqRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.job_store import JobStore
from core.job_upkeep import JobUpkeep
from workers.sweeper import sweep_once

_log = structlog.get_logger("seiketsu.workers")


async def maintain(
    upkeep: JobUpkeep, store: JobStore, queue: ArqRedis, state: Redis, audio: Redis
) -> dict[str, Any]:
    """Drop jobs past their time from the indexes, sweep once, and report sizes.

    Entries of the cache expire and are evicted by Redis itself. A database that does not answer is
    named in the report instead of its sizes.
    """
    report: dict[str, Any] = {}
    report["workers_called"] = await sweep_once(upkeep, store, queue)
    report["jobs"] = await upkeep.tidy()
    for name, redis in (("state_store", state), ("cache_store", audio)):
        report[name] = await _sizes(redis)
    _log.info("maintenance", **report)
    return report


async def _sizes(redis: Redis) -> dict[str, int | str]:
    try:
        memory = await redis.info("memory")
        stats = await redis.info("stats")
        return {
            "keys": int(await redis.dbsize()),
            "used_bytes": int(memory["used_memory"]),
            "limit_bytes": int(memory["maxmemory"]),
            "evicted": int(stats["evicted_keys"]),
            "expired": int(stats["expired_keys"]),
        }
    except (RedisError, OSError, RuntimeError) as error:
        return {"error": type(error).__name__}
