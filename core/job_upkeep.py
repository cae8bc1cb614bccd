"""What every worker looks after: leases that ended, jobs with nobody at them, forgotten names.

Everybody's unfinished jobs stand in one sorted set by when they must be looked at next, so that a
sweep finds a dead worker's texts among any number of jobs, and the longest overdue come first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, cast

import msgspec

from core import job_scripts as lua
from core.job_database import JobDatabase, due_parts, parts, store_errors
from core.jobs import JobRef
from core.redis import Keys

_AT_ONCE: Final = 200
_MOST_LOOKED_AT: Final = 5_000
"""Jobs that one sweep looks at; the others are due still and come first in the next."""

Call = Callable[[JobRef], Awaitable[bool]]
"""Calls a worker to a job; whether that worked."""


class Sweep(msgspec.Struct, frozen=True):
    """What a sweep did."""

    returned: int
    """Texts whose lease had ended; they wait again."""
    called: int
    """Jobs that a worker was called to."""


class JobUpkeep(JobDatabase):
    """All methods raise `StoreError` when the state database does not answer."""

    async def sweep(self, call: Call) -> Sweep:
        """Return every lease that ended, and `call` a worker to each job that has nobody at it.

        A job is one sweeper's to call for `CLAIM_MS`: where that did not work, the next one will.
        """
        returned = called = looked = 0
        async with store_errors():
            now_ms = await self._now_ms()
        while looked < _MOST_LOOKED_AT:
            async with store_errors():
                due = cast(
                    "list[bytes]",
                    await self._redis.zrangebyscore(
                        Keys.open_jobs(None), "-inf", now_ms, start=0, num=_AT_ONCE
                    ),
                )
            for member in due:
                ref = JobRef.parse(member.decode())
                keys = [*due_parts(ref), *parts(ref, "holders")]
                late, calls = await self._run(lua.SWEEP, keys, [str(ref)])
                returned += int(late)
                if calls and await call(ref):
                    await self._run(lua.CALLED, due_parts(ref), [str(ref)])
                    called += 1
            looked += len(due)
            if len(due) < _AT_ONCE:
                break
        return Sweep(returned, called)

    async def tidy(self) -> dict[str, int]:
        """Drop jobs past their time from the indexes. How many jobs are open, kept and dropped."""
        dropped = kept = 0
        async with store_errors():
            now_ms = await self._now_ms()
            refs = [
                JobRef.parse(one.decode())
                async for one, _ in self._redis.zscan_iter(Keys.open_jobs(None), count=500)
            ]
            still_open = 0
            for ref in refs:
                if await self._redis.exists(Keys.job(ref.tenant, ref.job_id)):
                    still_open += 1
                else:
                    dropped += int(await self._redis.zrem(Keys.open_jobs(None), str(ref)))
            async for key in self._redis.scan_iter(match=Keys.jobs("*"), count=500):
                tenant = key.decode().split(":")[1]
                dropped += int(
                    await self._redis.zremrangebyscore(Keys.open_jobs(tenant), "-inf", now_ms)
                )
                ids = cast("list[bytes]", await self._redis.zrange(key, 0, -1))
                gone = [
                    one
                    for one in ids
                    if not await self._redis.exists(Keys.job(tenant, one.decode()))
                ]
                if gone:
                    dropped += int(await self._redis.zrem(key, *gone))
                kept += len(ids) - len(gone)
        return {"open": still_open, "kept": kept, "dropped": dropped}
