"""Jobs in the state database: created by the gateway, worked on by workers, seen by their owner.

A text is leased to one worker at a time, and the lease is renewed while the worker lives. What its
holder writes is written once; a lease that ended gives the text to somebody else.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core import job_scripts as lua
from core.errors import JobNotFound, StoreError, TooManyJobs, TooManyTexts
from core.jobs import (
    ItemResult,
    ItemState,
    JobCounts,
    JobItem,
    JobRecord,
    JobRef,
    JobSpec,
    JobStatus,
    Lease,
    new_job_id,
)
from core.redis import Keys

LEASE_S: Final = 8.0
"""How long a text stays with a worker that gives no sign of life."""
HEARTBEAT_S: Final = 2.0
MAX_OPEN_JOBS: Final = 100
"""Unfinished jobs that one tenant may have."""
MAX_PAGE: Final = 200
"""Jobs or items that one page may show."""

_UNATTENDED_S: Final = 8.0
"""A job whose texts wait and that nobody took from or worked on for so long has nobody at it."""
_CALL_AGAIN_S: Final = 30.0
"""How long a called worker may take to come before another one is called."""
_SWEPT: Final = 200
"""Jobs that one sweep looks at, chosen at random where there are more."""
_RETRY_AFTER_S: Final = 1.0


class Sweep(msgspec.Struct, frozen=True):
    """What a sweep found."""

    returned: int
    """Texts whose lease had ended; they wait again."""
    unattended: tuple[JobRef, ...]
    """Jobs that a worker must be called to; each is told to one sweeper only."""


class JobStore:
    """All methods raise `StoreError` when the state database does not answer."""

    def __init__(
        self, redis: Redis, *, ttl_s: int, max_texts: int, max_open: int = MAX_OPEN_JOBS
    ) -> None:
        """`redis` is the state database, of which it is one client among others."""
        self._redis = redis
        self._ttl_ms = ttl_s * 1000
        self._max_texts = max_texts
        self._max_open = max_open

    async def create(self, tenant: str, spec: JobSpec, texts: Sequence[str]) -> JobRef:
        """Keep a new job whose texts wait to be spoken; whoever calls calls a worker, too.

        Raises:
            TooManyTexts: more than a job may hold.
            TooManyJobs: the tenant has as many unfinished jobs as it may.
        """
        if len(texts) > self._max_texts:
            raise TooManyTexts(f"A job holds {self._max_texts} texts at the most.")
        if not texts:
            raise ValueError("a job needs a text")
        ref = JobRef(tenant, new_job_id())
        created = await self._run(
            lua.CREATE,
            [
                *_parts(ref, "", "waiting", "texts"),
                Keys.jobs(tenant),
                Keys.open_jobs(tenant),
                Keys.open_jobs(None),
            ],
            [
                *(ref.job_id, str(ref), msgspec.msgpack.encode(spec)),
                *(self._max_open, self._ttl_ms, "1"),
                *texts,
            ],
        )
        if not created:
            raise TooManyJobs(
                f"{self._max_open} jobs are unfinished, which is the most.", retry_after_s=30
            )
        return ref

    async def read(self, ref: JobRef) -> JobRecord:
        """A job as it stands.

        Raises:
            JobNotFound: there is none of that name, or its time is over.
        """
        return (await self._read_all([ref]))[0] or _missing()

    async def page(self, tenant: str, offset: int, limit: int) -> tuple[list[JobRecord], int]:
        """A tenant's jobs, the newest first, and how many there are; `limit` is at most 200."""
        key = Keys.jobs(tenant)
        last = offset + min(limit, MAX_PAGE) - 1
        async with _store_errors():
            ids = cast("list[bytes]", await self._redis.zrevrange(key, offset, last))
            total = int(await self._redis.zcard(key))
        found = await self._read_all([JobRef(tenant, one.decode()) for one in ids])
        gone = [one for one, record in zip(ids, found, strict=True) if record is None]
        if gone:
            async with _store_errors():
                await self._redis.zrem(key, *gone)
        return [record for record in found if record is not None], total - len(gone)

    async def items(self, record: JobRecord, offset: int, limit: int) -> list[JobItem]:
        """The items of a job in the order of its texts; `limit` is at most 200."""
        end = min(record.counts.total, offset + min(limit, MAX_PAGE))
        indices = list(range(offset, end))
        if not indices:
            return []
        results, holders = _parts(record.ref, "results", "holders")
        async with _store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(results, [str(i) for i in indices])
            pipe.hmget(holders, [str(i) for i in indices])
            blobs, held = await pipe.execute()
        return [
            _item(index, blob, holder is not None, record.status)
            for index, blob, holder in zip(indices, blobs, held, strict=True)
        ]

    async def cancel(self, ref: JobRef) -> bool:
        """Begin no further item of a job; remove one that has ended. Whether it was removed.

        Raises:
            JobNotFound: there is none of that name, or its time is over.
        """
        done = await self._run(
            lua.CANCEL,
            [
                *_parts(ref, "", "waiting", "texts", "holders", "leases", "results"),
                Keys.jobs(ref.tenant),
                Keys.open_jobs(ref.tenant),
                Keys.open_jobs(None),
            ],
            [ref.job_id, str(ref), secrets.token_hex(8)],
        )
        if not done:
            _missing()
        return int(done) == 2

    async def take(self, ref: JobRef) -> Lease | None:
        """A text to speak, for `LEASE_S` seconds; None when none waits or the job has ended."""
        token = secrets.token_hex(8)
        got = await self._run(
            lua.TAKE,
            _parts(ref, "", "waiting", "texts", "holders", "leases"),
            [token, int(LEASE_S * 1000)],
        )
        if not got:
            return None
        index, text, taken = got
        return Lease(int(index), token, text.decode(), int(taken))

    async def beat(self, ref: JobRef, leases: Sequence[Lease]) -> set[int]:
        """Renew leases and say that the job has somebody at it. The indices that are lost."""
        lost = await self._run(
            lua.BEAT,
            _parts(ref, "", "holders", "leases"),
            [int(LEASE_S * 1000), *_held(leases)],
        )
        return {int(index) for index in lost}

    async def finish(self, ref: JobRef, lease: Lease, result: ItemResult) -> bool:
        """Write an item's result; False where the lease was lost, and then nothing is written."""
        return bool(
            await self._run(
                lua.FINISH,
                [
                    *_parts(ref, "", "texts", "holders", "leases", "results"),
                    Keys.open_jobs(ref.tenant),
                    Keys.open_jobs(None),
                ],
                [
                    *(ref.job_id, str(ref), lease.index, lease.token),
                    "succeeded" if result.state == "done" else "failed",
                    msgspec.msgpack.encode(result),
                ],
            )
        )

    async def give_back(self, ref: JobRef, leases: Sequence[Lease], *, unspent: bool) -> int:
        """Let texts wait again. `unspent`: the worker ends, and the try does not count."""
        if not leases:
            return 0
        return int(
            await self._run(
                lua.GIVE_BACK,
                _parts(ref, "", "waiting", "holders", "leases"),
                [int(unspent), *_held(leases)],
            )
        )

    async def sweep(self) -> Sweep:
        """Return every lease that ended, and find the jobs that have work and nobody at it."""
        async with _store_errors():
            await self._redis.zremrangebyscore(Keys.open_jobs(None), "-inf", await self._now_ms())
            members = cast(
                "list[bytes]", await self._redis.zrandmember(Keys.open_jobs(None), _SWEPT)
            )
        returned, unattended = 0, []
        for member in members:
            ref = JobRef.parse(member.decode())
            late, call = await self._run(
                lua.SWEEP,
                [
                    *_parts(ref, "", "waiting", "holders", "leases"),
                    Keys.open_jobs(None),
                ],
                [str(ref), int(_UNATTENDED_S * 1000), int(_CALL_AGAIN_S * 1000)],
            )
            returned += int(late)
            if call:
                unattended.append(ref)
        return Sweep(returned, tuple(unattended))

    async def tidy(self) -> dict[str, int]:
        """Drop jobs past their time from the indexes. How many jobs are open, kept and dropped."""
        dropped = kept = 0
        async with _store_errors():
            now_ms = await self._now_ms()
            dropped += int(await self._redis.zremrangebyscore(Keys.open_jobs(None), "-inf", now_ms))
            still_open = int(await self._redis.zcard(Keys.open_jobs(None)))
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

    async def _now_ms(self) -> int:
        seconds, micros = cast("tuple[int, int]", await self._redis.time())
        return seconds * 1000 + micros // 1000

    async def _read_all(self, refs: Sequence[JobRef]) -> list[JobRecord | None]:
        if not refs:
            return []
        async with _store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for ref in refs:
                job, waiting = _parts(ref, "", "waiting")
                pipe.hgetall(job)
                pipe.llen(waiting)
            got = await pipe.execute()
        return [
            _record(ref, got[2 * place], got[2 * place + 1]) if got[2 * place] else None
            for place, ref in enumerate(refs)
        ]

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        async with _store_errors():
            return await self._redis.register_script(script)(keys=keys, args=arguments)


class _store_errors:
    """Turns what the client raises into `StoreError`."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        # uvloop reports a write on a connection that just closed as a plain RuntimeError.
        if isinstance(error, RedisError | OSError | EOFError | RuntimeError):
            raise StoreError(
                "The job store does not answer.", retry_after_s=_RETRY_AFTER_S
            ) from error


def _missing() -> Any:
    raise JobNotFound()


def _parts(ref: JobRef, *parts: str) -> list[str]:
    return [Keys.job(ref.tenant, ref.job_id, part) for part in parts]


def _held(leases: Sequence[Lease]) -> list[Any]:
    return [value for lease in leases for value in (lease.index, lease.token)]


def _item(index: int, blob: bytes | None, held: bool, status: JobStatus) -> JobItem:
    if blob is not None:
        result = msgspec.msgpack.decode(blob, type=ItemResult)
        return JobItem(index, result.state, result)
    state: ItemState = "running" if held else "cancelled" if status == "cancelled" else "queued"
    return JobItem(index, state)


def _record(ref: JobRef, fields: Mapping[bytes, bytes], waiting: int) -> JobRecord:
    total, succeeded, failed = (int(fields[n]) for n in (b"total", b"succeeded", b"failed"))
    status = cast("JobStatus", fields[b"status"].decode())
    left = total - succeeded - failed
    cancelled = left if status == "cancelled" else 0
    finished = fields.get(b"finished")
    return JobRecord(
        ref=ref,
        spec=msgspec.msgpack.decode(fields[b"spec"], type=JobSpec),
        status=status,
        counts=JobCounts(
            total=total,
            queued=0 if cancelled else min(waiting, left),
            running=0 if cancelled else max(0, left - waiting),
            succeeded=succeeded,
            failed=failed,
            cancelled=cancelled,
        ),
        created_unix_s=int(fields[b"created"]) / 1000,
        finished_unix_s=None if finished is None else int(finished) / 1000,
        expires_unix_s=int(fields[b"ends"]) / 1000,
    )
