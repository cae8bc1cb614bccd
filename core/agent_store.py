"""Where voice agents are kept: the state database, and a snapshot of it in every process.

Reads never wait: they see `AgentSnapshot`. Writes are compare-and-set by one script. Every process
asks for one mark several times a second and reads anew whatever owner's agents have changed since,
so that no notification can be lost and a restart of the database leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal, cast

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.agent_scripts import WRITE_AGENT
from core.agents import (
    MAX_AGENTS,
    AgentRecord,
    AgentSnapshot,
    VoiceAgent,
    check_agent,
    is_agent_id,
)
from core.errors import (
    AgentChanged,
    AgentExists,
    SeiketsuError,
    StoreError,
    TooManyAgents,
    UnknownAgent,
)
from core.redis import Keys

log = structlog.get_logger(__name__)

POLL_S: Final = 0.4
"""How often the mark is asked for; a change shows everywhere within this and a round trip."""
_WRITE_S: Final = 2.0
"""Bound on one write, its wait for others of this process included."""
_ROUND_S: Final = 5.0
"""Bound on reading anew whatever has changed; what is left over is read in the next round."""
_START_S: Final = 1.0
_IN_A_TURN: Final = 50
"""Agents decoded before the event loop gets a turn: about half a millisecond."""

_NONE_READ: Final = b""
"""No mark in the database is this, nor is it that there is none: the next round looks closer."""

Expected = frozenset[int] | Literal["absent", "present"] | None
"""What a write wants to find: one of these revisions, nothing, anything; None: it does not care."""


class AgentStore:
    """Writes agents and follows what other processes write. Made by `open_agent_store`."""

    def __init__(self, redis: Redis, snapshot: AgentSnapshot) -> None:
        self.snapshot = snapshot
        self._redis = redis
        self._write = redis.register_script(WRITE_AGENT)
        self._lock = asyncio.Lock()
        """A write and a reading do not overlap, so that a reading never brings back what was."""
        self._mark: bytes | None = _NONE_READ
        self._changed: dict[str, bytes] = {}
        """By owner the mark of what the snapshot holds."""

    async def put(
        self, tenant: str, agent: VoiceAgent, expected: Expected = None
    ) -> tuple[AgentRecord, bool]:
        """Store the agent; also says whether there was none with its id before.

        Raises:
            InvalidRequest: a field of it is out of range.
            AgentExists, AgentChanged: not what was expected.
            TooManyAgents: there are `MAX_AGENTS`.
            StoreError: the state database did not answer.
        """
        check_agent(agent)
        body = msgspec.json.encode(agent)
        async with self._writing():
            revision, created = await self._run(tenant, agent.id, "put", expected, body)
            record = AgentRecord(agent, revision)
            self.snapshot.replace(tenant, {**self.snapshot.of(tenant), agent.id: record})
            self._mark = _NONE_READ
        return record, created

    async def delete(self, tenant: str, agent_id: str, expected: Expected = None) -> None:
        """Delete an agent and its phrases.

        Raises:
            UnknownAgent: there is none.
            AgentChanged: not what was expected.
            StoreError: the state database did not answer.
        """
        if not is_agent_id(agent_id):
            raise refusal("missing", agent_id)
        async with self._writing():
            await self._run(tenant, agent_id, "delete", expected, b"")
            left = {k: v for k, v in self.snapshot.of(tenant).items() if k != agent_id}
            self.snapshot.replace(tenant, left)
            self._mark = _NONE_READ

    async def refresh(self, tenant: str) -> None:
        """Read an owner's agents anew, for a change that follows from what they are.

        Raises:
            StoreError: the state database did not answer.
        """
        async with self._writing():
            await self._read(tenant)

    async def catch_up(self) -> None:
        """Read whatever changed since the last time.

        Raises:
            RedisError, OSError: the state database did not answer; the rest is read next time.
        """
        mark = await self._redis.get(Keys.agents_mark())
        if mark == self._mark:
            return
        now = await self._fields(Keys.agents_changed())
        changed = {owner.decode(): value for owner, value in now.items()}
        for tenant in {*changed, *self._changed, *self.snapshot.owners}:
            known = self._changed.get(tenant)
            if tenant in changed and changed[tenant] == known:
                continue
            async with self._lock:
                if tenant in changed:
                    await self._read(tenant)
                    self._changed[tenant] = changed[tenant]
                else:
                    # The database lost it, or never had it.
                    self._changed.pop(tenant, None)
                    self.snapshot.replace(tenant, None)
        self._mark = mark

    async def follow(self) -> None:
        """Catch up until cancelled; a database that is away is asked again."""
        away = False
        while True:
            await asyncio.sleep(POLL_S)
            try:
                async with asyncio.timeout(_ROUND_S):
                    await self.catch_up()
                if away:
                    log.info("agents_followed_again")
                away = False
            except Exception as error:  # whatever it was, the next round may go well
                if not away:
                    log.warning("agents_not_followed", kind=type(error).__name__)
                away = True

    async def _read(self, tenant: str) -> None:
        fields = await self._fields(Keys.agents(tenant))
        records = dict(self.snapshot.defaults)
        for number, (name, value) in enumerate(fields.items(), 1):
            if name:
                _take(records, name.decode(), value)
            if not number % _IN_A_TURN:
                await asyncio.sleep(0)
        self.snapshot.replace(tenant, records)

    async def _fields(self, key: str) -> dict[bytes, bytes]:
        return await cast(Awaitable[dict[bytes, bytes]], self._redis.hgetall(key))

    async def _run(
        self, tenant: str, agent_id: str, action: str, expected: Expected, body: bytes
    ) -> tuple[int, bool]:
        reply = await self._write(
            keys=[
                Keys.agents(tenant),
                Keys.agents_mark(),
                Keys.agents_changed(),
                Keys.phrases(tenant, agent_id),
            ],
            args=[
                agent_id,
                action,
                encode_expected(expected),
                body,
                MAX_AGENTS,
                tenant,
                secrets.token_hex(8),
                *self.snapshot.defaults,
            ],
        )
        outcome = reply[0].decode()
        if outcome != "done":
            raise refusal(outcome, agent_id)
        return int(reply[1]), bool(reply[2])

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        async with store_errors(), asyncio.timeout(_WRITE_S), self._lock:
            yield


def _take(records: dict[str, AgentRecord], agent_id: str, value: bytes) -> None:
    revision, _, body = value.partition(b":")
    records.pop(agent_id, None)
    if not body:
        return
    try:
        agent = msgspec.json.decode(body, type=VoiceAgent)
        check_agent(agent)
        records[agent_id] = AgentRecord(agent, int(revision))
    except (msgspec.DecodeError, SeiketsuError, ValueError):
        # Of another version, say. One that cannot be read must not take the others with it.
        log.error("agent_not_readable", agent_id=agent_id)


def encode_expected(expected: Expected) -> str:
    """As the scripts take it: `absent`, `present`, `,3,5,` or nothing."""
    if expected is None or isinstance(expected, str):
        return expected or ""
    return "," + "".join(f"{revision}," for revision in sorted(expected))


def refusal(outcome: str, agent_id: str) -> SeiketsuError:
    """The error that a script's answer stands for."""
    if outcome == "exists":
        return AgentExists()
    if outcome == "changed":
        return AgentChanged()
    if outcome == "full":
        return TooManyAgents(f"There are {MAX_AGENTS} voice agents already.")
    return UnknownAgent(f"There is no voice agent {agent_id[:80]!r}.")


@asynccontextmanager
async def store_errors() -> AsyncIterator[None]:
    """Translate the database's errors.

    Raises:
        StoreError: the state database did not answer.
    """
    try:
        yield
    except (RedisError, OSError) as error:  # TimeoutError is one
        raise StoreError("The store of voice agents does not answer.", retry_after_s=1) from error


@asynccontextmanager
async def open_agent_store(redis: Redis, snapshot: AgentSnapshot) -> AsyncIterator[AgentStore]:
    """The store with its snapshot filled, following until the block is left.

    With the database out of reach the defaults are used until it is there.
    """
    store = AgentStore(redis, snapshot)
    with suppress(RedisError, OSError):
        async with asyncio.timeout(_START_S):
            await store.catch_up()
    following = asyncio.create_task(store.follow(), name="agents-follow")
    try:
        yield store
    finally:
        following.cancel()
        await asyncio.wait([following])
