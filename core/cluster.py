"""What the gateways and workers of an installation tell each other.

Each writes a report every second; it lives five, so a process that ended is forgotten by itself.
Reading takes two round trips. Both are for monitoring: no request waits for them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, Literal

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.analytics.figures import Figures
from core.analytics.recorder import Recorder
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
MOST_LISTED: Final = 200
"""Connections that a process lists; its count is exact all the same."""

_log = structlog.get_logger("seiketsu.cluster")


class ConnectionReport(msgspec.Struct, frozen=True, array_like=True):
    """One open session."""

    tenant: str
    session_id: str
    voice_agent_id: str
    language: str
    connected_unix_s: float
    requests: int


ProcessKind = Literal["gateway", "worker"]


class ProcessReport(msgspec.Struct, frozen=True, array_like=True):
    """One gateway or worker process."""

    name: str
    host: str
    process_id: int
    started_unix_s: float
    active_sessions: int
    connections: tuple[ConnectionReport, ...]
    """The newest `MOST_LISTED`."""
    figures: Figures
    kind: ProcessKind = "gateway"
    jobs: tuple[JobRef, ...] = ()
    """What a worker is at."""


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
        self._sessions = () if sessions is None else sessions
        self._jobs = jobs
        self._started_unix_s = round(time.time(), 3)
        self._host = socket.gethostname()[:64]
        self._name = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._reached = True

    def own(self) -> ProcessReport:
        """What this process tells at this moment."""
        newest = list(self._sessions)[-MOST_LISTED:]
        return ProcessReport(
            name=self._name,
            host=self._host,
            process_id=os.getpid(),
            started_unix_s=self._started_unix_s,
            active_sessions=len(self._sessions),
            connections=tuple(
                ConnectionReport(
                    one.tenant,
                    one.session_id,
                    one.voice_agent_id,
                    one.language,
                    round(one.connected_unix_s, 3),
                    one.requests,
                )
                for one in newest
            ),
            figures=self._recorder.export(),
            kind="gateway" if self._jobs is None else "worker",
            jobs=() if self._jobs is None else tuple(self._jobs()),
        )

    async def processes(self) -> list[ProcessReport]:
        """Every process that told of itself lately, this one first and as it is now.

        This one alone when the state database does not answer.
        """
        try:
            async with asyncio.timeout(_READ_S):
                names = await self._redis.zrange(
                    Keys.processes(), 0, _MOST_PROCESSES - 1, desc=True
                )
                others = [name.decode() for name in names if name.decode() != self._name]
                keys = [Keys.process(name) for name in others]
                held = await self._redis.mget(keys) if keys else []
        except (RedisError, OSError) as error:
            self._note(error)
            held = []
        return [self.own(), *_decoded(held)]

    async def tell(self) -> None:
        """Write this process's report. Raises `RedisError` or `OSError`."""
        report, now = msgspec.msgpack.encode(self.own()), time.time()
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(Keys.process(self._name), report, ex=_LIVES_S)
            pipe.zadd(Keys.processes(), {self._name: now})
            pipe.zremrangebyscore(Keys.processes(), "-inf", now - _FORGET_S)
            pipe.expire(Keys.processes(), _INDEX_LIVES_S)
            await pipe.execute()

    async def leave(self) -> None:
        """Take this process's report away. Raises `RedisError` or `OSError`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.delete(Keys.process(self._name))
            pipe.zrem(Keys.processes(), self._name)
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
