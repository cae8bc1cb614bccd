"""The tier that all processes share: Redis, entries in their stored form, one key per command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from aiocache import BaseCache
from aiocache.serializers import BaseSerializer
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from core.cache import envelope
from core.cache.envelope import DamagedEntry, Entry
from core.cache.outage import OutageGate
from core.errors import StoreError

# uvloop reports a write on a connection that just closed as a plain RuntimeError.
_CLIENT_ERRORS: Final = (RedisError, OSError, EOFError, TimeoutError, RuntimeError)

_WRITE_TIME_FACTOR: Final = 10
"""Nobody waits for a write, and it carries more than a question does: it gets ten times as long."""


class Fetched(msgspec.Struct, frozen=True):
    """What came of asking for some keys."""

    entries: list[Entry | None]
    """In the keys' order; `None` is a miss."""
    trips: int
    """Round trips that were begun: 1, or 0 where the store was not asked."""


class SharedCounters(msgspec.Struct):
    """Since the process began."""

    faults: int = 0
    """Questions and writes that failed, late answers included."""
    skipped: int = 0
    """Not asked, because the store is out or every place is taken."""
    damaged: int = 0
    """Values that this version could not read; misses."""
    refused: int = 0
    """Writes that the store itself refused, e.g. for lack of memory."""


class _Envelope(BaseSerializer):  # type: ignore[misc]
    DEFAULT_ENCODING = None

    def __init__(self, counters: SharedCounters) -> None:
        super().__init__()
        self._counters = counters

    def dumps(self, value: Entry) -> bytes:
        return envelope.encode(value)

    def loads(self, value: Any) -> Entry | None:
        """The entry; what is not there and what cannot be read are both `None`."""
        if value is None:
            return None
        if isinstance(value, bytes):
            try:
                return envelope.decode(value)
            except DamagedEntry:
                pass
        self._counters.damaged += 1
        return None


class SharedTier(BaseCache):  # type: ignore[misc]
    """Entries in Redis under the names of `core.redis.Keys`. The client stays its owner's to close.

    `fetch` and `store` never raise for what the store does; every wait is bounded. The aiocache
    interface over them raises `StoreError` where the store did not answer.
    """

    NAME = "redis"

    def __init__(
        self,
        redis: Redis,
        *,
        timeout_s: float,
        ttl_s: float,
        max_concurrent: int = 16,
    ) -> None:
        """`timeout_s` bounds the whole wait for an answer, waiting for a place included;
        `max_concurrent` commands are under way at most: the client needs as many connections, for
        this tier alone, since it refuses where it has no more.
        """
        self.counters = SharedCounters()
        super().__init__(serializer=_Envelope(self.counters), timeout=None, ttl=ttl_s)
        self.gate = OutageGate("audio cache")
        self._redis = redis
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(max_concurrent)

    async def fetch(self, keys: Sequence[str]) -> Fetched:
        """All keys in one round trip. A fault, a late answer and a damaged value are misses."""
        values, trips, _ = await self._ask(
            [("GET", key) for key in keys], timeout_s=self._timeout_s
        )
        if values is None:
            return Fetched([None] * len(keys), trips)
        return Fetched([self.serializer.loads(value) for value in values], trips)

    async def store(self, key: str, entry: Entry, ttl_s: float | None) -> bool:
        """Keep the entry; whether the store has it now."""
        return await self._write(key, envelope.encode(entry), ttl_s)

    async def _write(self, key: str, value: bytes, ttl_s: float | None) -> bool:
        command: tuple[Any, ...] = ("SET", key, value)
        if ttl_s is not None:
            command += ("PX", max(1, round(ttl_s * 1000)))
        values, _, _ = await self._ask([command], timeout_s=self._timeout_s * _WRITE_TIME_FACTOR)
        if values is None:
            return False
        if isinstance(values[0], ResponseError):
            self.counters.refused += 1
            return False
        return True

    async def _ask(
        self, commands: Sequence[tuple[Any, ...]], *, timeout_s: float
    ) -> tuple[list[Any] | None, int, BaseException | None]:
        """The answers (errors of the store among them), the trips, and why there are no answers."""
        if not self.gate.allow():
            self.counters.skipped += 1
            return None, 0, None
        trips = 0
        try:
            async with asyncio.timeout(timeout_s), self._places:
                trips = 1
                pipeline = self._redis.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute(raise_on_error=False)
        except _CLIENT_ERRORS as error:
            if not trips:
                self.counters.skipped += 1
            else:
                self.counters.faults += 1
                self.gate.failed(error, late=isinstance(error, TimeoutError | RedisTimeout))
            return None, trips, error
        self.gate.answered()
        return answers, trips, None

    async def _required(self, *commands: tuple[Any, ...]) -> list[Any]:
        answers, _, error = await self._ask(commands, timeout_s=self._timeout_s)
        if answers is None:
            raise StoreError("The audio cache does not answer.") from error
        refused = next((a for a in answers if isinstance(a, ResponseError)), None)
        if refused is not None:
            raise StoreError("The audio cache refused a command.") from refused
        return answers

    async def _get(self, key: str, encoding: Any = None, _conn: Any = None) -> bytes | None:
        value: bytes | None = (await self._required(("GET", key)))[0]
        return value

    async def _multi_get(
        self, keys: Iterable[str], encoding: Any = None, _conn: Any = None
    ) -> list[bytes | None]:
        return await self._required(*(("GET", key) for key in keys))

    async def _set(
        self, key: str, value: bytes, ttl: float | None, _cas_token: Any = None, _conn: Any = None
    ) -> bool:
        if not await self._write(key, value, ttl):
            raise StoreError("The audio cache did not take the entry.")
        return True

    async def _multi_set(
        self, pairs: Iterable[tuple[str, bytes]], ttl: float | None, _conn: Any = None
    ) -> bool:
        for key, value in pairs:
            await self._set(key, value, ttl)
        return True

    async def _delete(self, key: str, _conn: Any = None) -> int:
        removed: int = (await self._required(("DEL", key)))[0]
        return removed

    async def _exists(self, key: str, _conn: Any = None) -> bool:
        return bool((await self._required(("EXISTS", key)))[0])

    async def _expire(self, key: str, ttl: float, _conn: Any = None) -> bool:
        return bool((await self._required(("PEXPIRE", key, max(1, round(ttl * 1000)))))[0])
