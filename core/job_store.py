"""Jobs in the state database: created by the gateway, worked on by workers, seen by their owner.

A text is leased to one worker at a time, and the lease is renewed while the worker lives. What its
holder writes is written once; a lease that ended gives the text to somebody else.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core import job_scripts as lua
from core.agents import MAX_AGENTS
from core.errors import (
    InvalidRequest,
    JobNotFound,
    NoAudioRoom,
    SeiketsuError,
    StoreError,
    TooManyJobs,
    TooManyTexts,
)
from core.job_records import item_of, record_of
from core.jobs import (
    ItemResult,
    JobItem,
    JobRecord,
    JobRef,
    JobSpec,
    Lease,
    audio_name,
    new_job_id,
)
from core.redis import Keys
from core.settings import JobSettings
from core.text.languages import LANGUAGES

LEASE_S: Final = 8.0
"""How long a text stays with a worker that gives no sign of life."""
HEARTBEAT_S: Final = 2.0
MAX_OPEN_JOBS: Final = 100
"""Unfinished jobs that one tenant may have."""
MAX_WARM_UPS: Final = MAX_AGENTS * len(LANGUAGES)
"""Unfinished warm-ups of one tenant: one for each language of each agent."""
MAX_PAGE: Final = 200
"""Jobs or items that one page may show."""

_UNATTENDED_S: Final = 8.0
"""A job whose texts wait and that nobody took from or worked on for so long has nobody at it."""
_CALL_AGAIN_S: Final = 30.0
"""How long a called worker may take to come before another one is called."""
_SWEPT: Final = 200
"""Jobs that one sweep looks at, chosen at random where there are more."""
_RETRY_AFTER_S: Final = 1.0
LEAST_ROOM_BYTES: Final = 64 * 1024
"""Four seconds of `mp3`: with less room for audio there is no use in speaking a text."""


class Sweep(msgspec.Struct, frozen=True):
    """What a sweep found."""

    returned: int
    """Texts whose lease had ended; they wait again."""
    unattended: tuple[JobRef, ...]
    """Jobs that a worker must be called to; each is told to one sweeper only."""


class JobStore:
    """All methods raise `StoreError` when the state database does not answer."""

    def __init__(
        self, redis: Redis, settings: JobSettings, *, max_open: int = MAX_OPEN_JOBS
    ) -> None:
        """`redis` is the state database, of which it is one client among others."""
        self._redis = redis
        self._ttl_ms = settings.ttl_s * 1000
        self._max_texts = settings.max_texts
        self._audio_bytes = settings.audio_bytes
        self._max_open = max_open

    async def create(self, tenant: str, spec: JobSpec, texts: Sequence[str]) -> JobRef:
        """Keep a new job whose texts wait to be spoken; whoever calls calls a worker, too.

        Raises:
            InvalidRequest: there is no text.
            TooManyTexts: more than a job may hold.
            TooManyJobs: the tenant has as many unfinished jobs as it may.
            NoAudioRoom: the audio of the tenant's jobs takes all the room it may.
        """
        ref, created = await self._create(tenant, spec, texts, warm_as="")
        if created < 0:
            raise self._no_room()
        if not created:
            raise TooManyJobs(
                f"{self._max_open} jobs are unfinished, which is the most.", retry_after_s=30
            )
        return ref

    async def create_warm_up(
        self, tenant: str, spec: JobSpec, texts: Sequence[str]
    ) -> JobRef | None:
        """A job of the clock for an agent and a language, which takes no place of the tenant's own.
        None where the one before it is unfinished.

        Raises:
            InvalidRequest, TooManyTexts: see `create`.
            TooManyJobs: `MAX_WARM_UPS` are unfinished.
        """
        warm_as = f"{spec.agent_id}:{spec.language}"
        ref, created = await self._create(tenant, spec, texts, warm_as=warm_as)
        if not created:
            raise TooManyJobs(f"{MAX_WARM_UPS} warm-ups are unfinished.", retry_after_s=30)
        return ref if created > 0 else None

    async def _create(
        self, tenant: str, spec: JobSpec, texts: Sequence[str], *, warm_as: str
    ) -> tuple[JobRef, int]:
        if len(texts) > self._max_texts:
            raise TooManyTexts(f"A job holds {self._max_texts} texts at the most.")
        if not texts:
            raise InvalidRequest("A job needs a text.")
        ref = JobRef(tenant, new_job_id())
        made = await self._run(
            lua.CREATE,
            [
                *_parts(ref, "", "waiting", "texts"),
                Keys.jobs(tenant),
                Keys.open_jobs(tenant),
                Keys.open_jobs(None),
                *_room(tenant),
                Keys.warm_ups(tenant),
            ],
            [
                *(ref.job_id, str(ref), msgspec.msgpack.encode(spec), self._ttl_ms),
                self._max_open,
                self._audio_bytes - LEAST_ROOM_BYTES if spec.keeps_audio else "",
                *(warm_as, MAX_WARM_UPS, Keys.job(tenant, "")),
                *texts,
            ],
        )
        return ref, int(made)

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
            item_of(index, blob, holder is not None, record.status)
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
                *_parts(ref, "", "waiting", "texts", "holders", "leases", "results", "sizes"),
                Keys.jobs(ref.tenant),
                Keys.open_jobs(ref.tenant),
                Keys.open_jobs(None),
                *_room(ref.tenant),
            ],
            [
                *(ref.job_id, str(ref), secrets.token_hex(8)),
                Keys.result(ref.tenant, audio_name(ref, 0).hex()[:-8]),
            ],
        )
        if not done:
            _missing()
        return int(done) == 2

    async def take(self, ref: JobRef, token: str | None = None) -> Lease | None:
        """A text to speak, for `LEASE_S` seconds; None when none waits or the job has ended.

        Whoever asks again because no reply came names the same `token`, and gets the same text.
        """
        token = token or secrets.token_hex(8)
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

    async def keep_audio(self, ref: JobRef, lease: Lease, value: bytes) -> None:
        """Keep the audio of an item under its `audio_name`, as long as its job is there.

        Raises:
            NoAudioRoom: the audio of the tenant's jobs would take more room than it may.
            JobNotFound: the lease was lost, or the job is gone; nothing is kept.
        """
        kept = await self._run(
            lua.KEEP,
            [
                *_parts(ref, "", "holders", "sizes"),
                *_room(ref.tenant),
                Keys.result(ref.tenant, audio_name(ref, lease.index).hex()),
            ],
            [ref.job_id, lease.index, lease.token, self._audio_bytes, value],
        )
        if not kept:
            raise self._no_room()
        if int(kept) < 0:
            _missing()

    async def audio_room(self, tenant: str) -> int:
        """How many bytes of audio the tenant's jobs may take more."""
        return self._audio_bytes - int(await self._run(lua.USED, _room(tenant), []))

    def _no_room(self) -> SeiketsuError:
        return NoAudioRoom(
            f"The audio of your jobs takes its {self._audio_bytes:,} bytes: fetch and delete "
            "finished jobs."
        )

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
            record_of(ref, got[2 * place], got[2 * place + 1]) if got[2 * place] else None
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


def _room(tenant: str) -> list[str]:
    return [Keys.audio_room(tenant, "bytes"), Keys.audio_room(tenant, "ends")]


def _held(leases: Sequence[Lease]) -> list[Any]:
    return [value for lease in leases for value in (lease.index, lease.token)]
