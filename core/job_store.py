"""Jobs in the state database: created by the gateway, worked on by workers, seen by their owner.

A text is leased to one worker at a time, and the lease is renewed while the worker lives. What its
holder writes is written once; a lease that ended gives the text to somebody else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec
from redis.asyncio import Redis

from core import job_scripts as lua
from core.agents import MAX_AGENTS
from core.errors import (
    InvalidRequest,
    JobEnded,
    JobNotFound,
    NoAudioRoom,
    SeiketsuError,
    TooManyJobs,
    TooManyTexts,
)
from core.job_database import JobDatabase, due_parts, parts, store_errors
from core.job_records import item_of, record_of
from core.jobs import (
    ItemResult,
    JobItem,
    JobRecord,
    JobRef,
    JobSpec,
    Lease,
    PutOff,
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

LEAST_ROOM_BYTES: Final = 64 * 1024
"""Four seconds of `mp3`: with less room for audio there is no use in speaking a text."""


AUDIO_SHARE: Final = 0.5
"""Of the state database's memory, where that is bounded, the audio of all jobs takes no more."""
_EVERYBODYS: Final = -3
"""What a script says where there is no room for the audio of all jobs."""
_SHARE_KNOWN_S: Final = 30.0
"""How long the bound of the database's memory is taken for what it was."""


class JobStore(JobDatabase):
    """All methods raise `StoreError` when the state database does not answer, or is full."""

    def __init__(
        self, redis: Redis, settings: JobSettings, *, max_open: int = MAX_OPEN_JOBS
    ) -> None:
        """`redis` is the state database, of which it is one client among others."""
        super().__init__(redis)
        self._ttl_ms = settings.ttl_s * 1000
        self._max_texts = settings.max_texts
        self._audio_bytes = settings.audio_bytes
        self._max_open = max_open
        self._share_bytes: int | None = None
        self._share_until_s = 0.0

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
            raise self._no_room(created)
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
        share = await self._share() if spec.keeps_audio else None
        made = await self._run(
            lua.CREATE,
            [
                *due_parts(ref),
                *parts(ref, "texts"),
                Keys.jobs(tenant),
                Keys.open_jobs(tenant),
                Keys.warm_ups(tenant),
                *_rooms(tenant),
            ],
            [
                *(str(ref), ref.job_id, msgspec.msgpack.encode(spec), self._ttl_ms),
                self._max_open,
                self._audio_bytes - LEAST_ROOM_BYTES if spec.keeps_audio else "",
                "" if share is None else share - LEAST_ROOM_BYTES,
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
        async with store_errors():
            ids = cast("list[bytes]", await self._redis.zrevrange(key, offset, last))
            total = int(await self._redis.zcard(key))
        found = await self._read_all([JobRef(tenant, one.decode()) for one in ids])
        gone = [one for one, record in zip(ids, found, strict=True) if record is None]
        if gone:
            async with store_errors():
                await self._redis.zrem(key, *gone)
        return [record for record in found if record is not None], total - len(gone)

    async def items(self, record: JobRecord, offset: int, limit: int) -> list[JobItem]:
        """The items of a job in the order of its texts; `limit` is at most 200."""
        end = min(record.counts.total, offset + min(limit, MAX_PAGE))
        indices = list(range(offset, end))
        if not indices:
            return []
        results, holders = parts(record.ref, "results", "holders")
        async with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(results, [str(i) for i in indices])
            pipe.hmget(holders, [str(i) for i in indices])
            blobs, held = await pipe.execute()
        return [
            item_of(index, blob, holder is not None, record.status)
            for index, blob, holder in zip(indices, blobs, held, strict=True)
        ]

    async def cancel(self, ref: JobRef) -> None:
        """Begin no further item of a job.

        Raises:
            JobNotFound: there is none of that name, or its time is over.
            JobEnded: it has ended; nothing was changed.
        """
        done = await self._run(
            lua.CANCEL,
            [*due_parts(ref), *parts(ref, "texts"), Keys.open_jobs(ref.tenant)],
            [str(ref), ref.job_id, secrets.token_hex(8)],
        )
        if not done:
            _missing()
        if int(done) == 2:
            raise JobEnded()

    async def remove(self, ref: JobRef) -> bool:
        """Remove a job that has ended, and its audio. False where it is unfinished and stays.

        Raises:
            JobNotFound: there is none of that name, or its time is over.
        """
        done = await self._run(
            lua.REMOVE,
            [
                *due_parts(ref),
                *parts(ref, "texts", "holders", "results", "sizes"),
                Keys.jobs(ref.tenant),
                *_rooms(ref.tenant),
            ],
            [str(ref), ref.job_id, Keys.result(ref.tenant, audio_name(ref, 0).hex()[:-8])],
        )
        if not done:
            _missing()
        return int(done) == 2

    async def take(self, ref: JobRef, token: str | None = None) -> Lease | PutOff | None:
        """A text to speak, for `LEASE_S` seconds; None when none waits or the job has ended.

        Whoever asks again because no reply came names the same `token`, and gets the same text.
        """
        token = token or secrets.token_hex(8)
        got = await self._run(
            lua.TAKE,
            [*due_parts(ref), *parts(ref, "holders", "texts")],
            [str(ref), token, int(LEASE_S * 1000)],
        )
        if not got:
            return None
        if len(got) == 1:
            return PutOff(int(got[0]) / 1000)
        index, text, taken, failing_ms = got
        return Lease(int(index), token, text.decode(), int(taken), int(failing_ms) / 1000)

    async def beat(self, ref: JobRef, leases: Sequence[Lease]) -> set[int]:
        """Renew leases and say that the job has somebody at it. The indices that are lost."""
        lost = await self._run(
            lua.BEAT,
            [*due_parts(ref), *parts(ref, "holders")],
            [str(ref), int(LEASE_S * 1000), *_held(leases)],
        )
        return {int(index) for index in lost}

    async def keep_audio(self, ref: JobRef, lease: Lease, value: bytes) -> None:
        """Keep the audio of an item under its `audio_name`, as long as its job is there.

        Raises:
            NoAudioRoom: the audio of the tenant's or everybody's jobs would take more room than it
                may.
            JobNotFound: the lease was lost, or the job is gone; nothing is kept.
        """
        share = await self._share()
        kept = await self._run(
            lua.KEEP,
            [
                *due_parts(ref),
                *parts(ref, "holders", "sizes"),
                *_rooms(ref.tenant),
                Keys.result(ref.tenant, audio_name(ref, lease.index).hex()),
            ],
            [
                *(str(ref), ref.job_id, lease.index, lease.token),
                *(self._audio_bytes, "" if share is None else share, value),
            ],
        )
        if int(kept) == -1:
            _missing()
        if int(kept) != 1:
            raise self._no_room(int(kept))

    async def audio_room(self, tenant: str) -> int:
        """How many bytes of audio the tenant's jobs may take more."""
        share = await self._share()
        mine, everybodys = await self._run(lua.USED, _rooms(tenant), [])
        left = self._audio_bytes - int(mine)
        return left if share is None else min(left, share - int(everybodys))

    async def _share(self) -> int | None:
        """What the audio of everybody's jobs may take; None where the memory has no bound."""
        if time.monotonic() >= self._share_until_s:
            async with store_errors():
                most = int((await self._redis.info("memory"))["maxmemory"])
            self._share_bytes = int(most * AUDIO_SHARE) if most else None
            self._share_until_s = time.monotonic() + _SHARE_KNOWN_S
        return self._share_bytes

    def _no_room(self, told: int) -> SeiketsuError:
        if told == _EVERYBODYS:
            return NoAudioRoom(
                "The audio of all jobs takes the part of the state database's memory that it may: "
                "fetch and remove finished jobs."
            )
        return NoAudioRoom(
            f"The audio of your jobs takes its {self._audio_bytes:,} bytes: fetch and remove "
            "finished jobs."
        )

    async def finish(self, ref: JobRef, lease: Lease, result: ItemResult) -> bool:
        """Write an item's result; False where the lease was lost, and then nothing is written."""
        return bool(
            await self._run(
                lua.FINISH,
                [
                    *due_parts(ref),
                    *parts(ref, "holders", "texts", "results"),
                    Keys.open_jobs(ref.tenant),
                ],
                [
                    *(str(ref), ref.job_id, lease.index, lease.token),
                    "succeeded" if result.state == "done" else "failed",
                    msgspec.msgpack.encode(result),
                ],
            )
        )

    async def give_back(self, ref: JobRef, leases: Sequence[Lease], *, unspent: bool) -> int:
        """Let texts wait again. `unspent`: the worker ends, and the try does not count."""
        return await self._give_back(ref, leases, unspent=unspent, ending=unspent, pause_s=0.0)

    async def put_off(self, ref: JobRef, lease: Lease, *, pause_s: float, spent: bool) -> int:
        """Let a text that failed for now wait for `pause_s` seconds. `spent`: the try counts."""
        return await self._give_back(
            ref, [lease], unspent=not spent, ending=False, pause_s=max(pause_s, 0.001)
        )

    async def _give_back(
        self, ref: JobRef, leases: Sequence[Lease], *, unspent: bool, ending: bool, pause_s: float
    ) -> int:
        if not leases:
            return 0
        return int(
            await self._run(
                lua.GIVE_BACK,
                [*due_parts(ref), *parts(ref, "holders")],
                [str(ref), int(unspent), int(ending), int(pause_s * 1000), *_held(leases)],
            )
        )

    async def _read_all(self, refs: Sequence[JobRef]) -> list[JobRecord | None]:
        if not refs:
            return []
        async with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for ref in refs:
                job, leases = parts(ref, "", "leases")
                pipe.hgetall(job)
                pipe.zcard(leases)
            got = await pipe.execute()
        return [
            record_of(ref, got[2 * place], got[2 * place + 1]) if got[2 * place] else None
            for place, ref in enumerate(refs)
        ]


def _missing() -> Any:
    raise JobNotFound()


def _rooms(tenant: str) -> list[str]:
    owners = (tenant, None)
    return [Keys.audio_room(owner, part) for owner in owners for part in ("bytes", "ends")]


def _held(leases: Sequence[Lease]) -> list[Any]:
    return [value for lease in leases for value in (lease.index, lease.token)]
