"""What everything that asks the state database about jobs has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from core.errors import StoreError
from core.jobs import JobRef
from core.redis import Keys

_RETRY_AFTER_S: Final = 1.0


class JobDatabase:
    """Runs scripts. All methods raise `StoreError` when the state database does not answer."""

    def __init__(self, redis: Redis) -> None:
        """`redis` is the state database, of which it is one client among others."""
        self._redis = redis

    async def _now_ms(self) -> int:
        seconds, micros = cast("tuple[int, int]", await self._redis.time())
        return seconds * 1000 + micros // 1000

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        async with store_errors():
            return await self._redis.register_script(script)(keys=keys, args=arguments)


class store_errors:
    """Turns what the client raises into `StoreError`."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        # uvloop reports a write on a connection that just closed as a plain RuntimeError.
        if isinstance(error, RedisError | OSError | EOFError | RuntimeError):
            # A script tells it in its own words.
            full = isinstance(error, OutOfMemoryError) or "-OOM " in str(error)
            raise StoreError(
                "The state database is full." if full else "The job store does not answer.",
                retry_after_s=_RETRY_AFTER_S,
            ) from error


def parts(ref: JobRef, *names: str) -> list[str]:
    """The keys of a job's parts; the job itself has the empty name."""
    return [Keys.job(ref.tenant, ref.job_id, name) for name in names]


def due_parts(ref: JobRef) -> list[str]:
    """The keys that every script which changes a job begins with (`job_scripts`)."""
    return [*parts(ref, "", "waiting", "later", "leases"), Keys.open_jobs(None)]
