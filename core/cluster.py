"""What the gateways and workers of an installation tell each other.

Each writes a report every second, and what has changed of its sessions; both live five, so a
process that ended is forgotten by itself. Reading takes two round trips, more only with thousands
of sessions. Both are for monitoring: no request waits for them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final, Literal

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from core.analytics.figures import Figures
from core.analytics.recorder import Recorder
from core.cluster_sessions import (
    MOST_LISTED,
    WRITTEN_AT_ONCE,
    OpenSession,
    SessionReading,
    SessionWriting,
    as_listed,
)
from core.conversation.registry import SessionRegistry
from core.jobs import JobRef
from core.redis import Keys

_EVERY_S: Final = 1.0
_LIVES_S: Final = 5
_FORGET_S: Final = 60
"""A name is dropped from the index after this; clocks of hosts may differ by about as much."""
_INDEX_LIVES_S: Final = 3600
_READ_S: Final = 1.0
_MOST_PROCESSES: Final = 256

_log = structlog.get_logger("seiketsu.cluster")


ProcessKind = Literal["gateway", "worker"]


class ProcessReport(msgspec.Struct, frozen=True, array_like=True):
    """One gateway or worker process."""

    name: str
    host: str
    process_id: int
    started_unix_s: float
    active_sessions: int
    figures: Figures
    kind: ProcessKind = "gateway"
    jobs: tuple[JobRef, ...] = ()
    """What a worker is at."""


class Look(msgspec.Struct, frozen=True):
    """What one look at the installation has found."""

    processes: list[ProcessReport]
    """Every process that told of itself lately, this one first and as it is now."""
    sessions: list[tuple[str, OpenSession]]
    """A tenant's open sessions, each with its process: this one's first, the newest first in each;
    `MOST_LISTED` at the most."""
    truncated: bool
    """There may be more sessions than these."""


class Cluster:
    """This process among the others. Open it with `open_cluster`."""

    def __init__(
        self,
        redis: Redis,
        recorder: Recorder,
        sessions: SessionRegistry | None,
        jobs: Callable[[], Iterable[JobRef]] | None = None,
    ) -> None:
        """A gateway has `sessions`, a worker tells which `jobs` it is at."""
        self._redis = redis
        self._recorder = recorder
        if sessions is None:
            sessions = SessionRegistry(max_sessions=0, max_per_key=0)
        self._sessions = sessions
        self._jobs = jobs
        self._started_unix_s = round(time.time(), 3)
        self._host = socket.gethostname()[:64]
        self._name = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._writing = SessionWriting(self._sessions, self._name, _LIVES_S)
        self._reached = True

    def own(self) -> ProcessReport:
        """What this process tells at this moment."""
        return ProcessReport(
            name=self._name,
            host=self._host,
            process_id=os.getpid(),
            started_unix_s=self._started_unix_s,
            active_sessions=len(self._sessions),
            figures=self._recorder.export(),
            kind="gateway" if self._jobs is None else "worker",
            jobs=() if self._jobs is None else tuple(self._jobs()),
        )

    async def processes(self) -> list[ProcessReport]:
        """Every process that told of itself lately, this one first and as it is now.

        This one alone when the state database does not answer.
        """
        return (await self.look()).processes

    async def look(self, tenant: str | None = None) -> Look:
        """The processes, and this tenant's sessions in them; without a tenant no session.

        This process alone when the state database does not answer, and `truncated`.
        """
        own = () if tenant is None else islice(self._sessions.of(tenant), MOST_LISTED)
        mine = [as_listed(one) for one in own]
        others: list[ProcessReport] = []
        reading = SessionReading("", (), 0)
        try:
            async with asyncio.timeout(_READ_S):
                names = await self._redis.zrange(
                    Keys.processes(), 0, _MOST_PROCESSES - 1, desc=True
                )
                found = [name.decode() for name in names if name.decode() != self._name]
                if tenant is not None:
                    reading = SessionReading(tenant, found, MOST_LISTED - len(mine))
                if found:
                    others = await self._read(found, reading)
                while reading.unfinished:
                    async with self._redis.pipeline(transaction=False) as pipe:
                        reading.add_to(pipe)
                        reading.take(await pipe.execute())
        except (RedisError, OSError) as error:
            self._note(error)
            reading.truncated = True
        sessions = [(self._name, one) for one in mine]
        for report in others:
            sessions += ((report.name, one) for one in reading.sessions(report.name))
        return Look([self.own(), *others], sessions, reading.truncated)

    async def _read(self, names: list[str], reading: SessionReading) -> list[ProcessReport]:
        """The reports of these processes, and the first slice of their sessions."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.mget([Keys.process(name) for name in names])
            reading.add_to(pipe)
            held, *slices = await pipe.execute()
        reading.take(slices)
        return _decoded(held)

    async def tell(self) -> None:
        """Write this process's report, and its sessions as far as they have changed.

        Raises:
            RedisError, OSError: the next time writes what is missing.
        """
        report, now = msgspec.msgpack.encode(self.own()), time.time()
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(Keys.process(self._name), report, ex=_LIVES_S)
                pipe.zadd(Keys.processes(), {self._name: now})
                pipe.zremrangebyscore(Keys.processes(), "-inf", now - _FORGET_S)
                pipe.expire(Keys.processes(), _INDEX_LIVES_S)
                self._writing.add_to(pipe)
                self._writing.compare(await pipe.execute())
            for _ in range(len(self._sessions) // WRITTEN_AT_ONCE + 1):
                if not self._writing.more:
                    return
                async with self._redis.pipeline(transaction=False) as pipe:
                    self._writing.add_to(pipe)
                    self._writing.compare(await pipe.execute())
        except ResponseError:
            # Some commands were carried out and some refused; where none arrived, counts tell.
            self._writing.lost()
            raise

    async def leave(self) -> None:
        """Take this process's report and sessions away. Raises `RedisError` or `OSError`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.delete(Keys.process(self._name))
            pipe.zrem(Keys.processes(), self._name)
            self._writing.leave(pipe)
            await pipe.execute()

    async def run(self) -> None:
        """Tell every second, until cancelled."""
        while True:
            try:
                await self.tell()
                self._reached = True
            except Exception as error:
                self._note(error)
            await asyncio.sleep(_EVERY_S)

    def _note(self, error: Exception) -> None:
        """Log the first failure of a row."""
        if self._reached:
            self._reached = False
            _log.warning("cluster_unreachable", error_type=type(error).__name__)


@asynccontextmanager
async def open_cluster(
    redis: Redis,
    recorder: Recorder,
    sessions: SessionRegistry | None,
    jobs: Callable[[], Iterable[JobRef]] | None = None,
) -> AsyncIterator[Cluster]:
    """Tell of this process as long as the block runs; see `Cluster`."""
    cluster = Cluster(redis, recorder, sessions, jobs)
    telling = asyncio.create_task(cluster.run(), name="cluster-report")
    try:
        yield cluster
    finally:
        telling.cancel()
        await asyncio.wait((telling,))
        try:
            await cluster.leave()
        except (RedisError, OSError) as error:
            _log.debug("cluster_not_left", error_type=type(error).__name__)


def total(reports: Iterable[ProcessReport]) -> Recorder:
    """The figures of all these processes together."""
    together = Recorder()
    for report in reports:
        together.merge(report.figures)
    return together


def _decoded(held: Iterable[bytes | None]) -> list[ProcessReport]:
    """Those that can be read: another version of the product may have written the others."""
    found = []
    for value in held:
        if value is None:
            continue
        try:
            found.append(msgspec.msgpack.decode(value, type=ProcessReport))
        except msgspec.MsgspecError as error:
            _log.debug("cluster_report_unreadable", error_type=type(error).__name__)
    return found
