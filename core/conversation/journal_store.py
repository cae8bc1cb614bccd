"""Journals of sessions in the state database: who holds one, and what it holds.

Every step is one round trip. Whoever knows the token may take a journal: that gives it another
token and a higher epoch, and the holder before can write to it no more. The token is used up as
soon as something came from the taker's client, which then knows the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, Literal

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.conversation.journal_scripts import END, RENEW, TAKE, WRITE
from core.errors import StoreError
from core.redis import Keys
from core.redis_calls import ScriptCalls

RESUME_S: Final = 30
"""So long after its last sign of life a session can be regained, at the least."""
RENEW_S: Final = 8.0
"""How often journals are told to live on."""
LIVES_S: Final = 40.0
"""`RESUME_S`, and a renewal that may be just due."""
ANSWER_S: Final = 0.5
"""Nothing waits longer for a journal: speech is more than that it can be regained."""
_RENEWED_AT_ONCE: Final = 256
_CONNECTIONS: Final = 6
"""Of the state database's, in use at once by all sessions of a process; another one writes."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class Outcome(IntEnum):
    """What a journal said to its holder."""

    TAKEN = -1
    """Another holds it."""
    MISSING = 0
    DONE = 1


Mode = Literal["known", "new", "lost"]
_Args = list[bytes | memoryview | str | int | float]


class Hold(msgspec.Struct, frozen=True):
    """What makes a session the holder of its journal. `token` is told to its client only."""

    tenant: str
    session_id: str
    token: str
    epoch: int = 1

    @property
    def key(self) -> str:
        """Of the journal."""
        return Keys.session(self.tenant, self.session_id)

    @property
    def digest(self) -> str:
        """Stands for the token in the database."""
        return digest_of(self.token)


class Seen(msgspec.Struct, frozen=True):
    """A journal that somebody holds or may take."""

    digest: str
    previous: str
    """Of the token that it was taken with, as long as it still takes it; else empty."""
    head: bytes
    lives_s: float

    def opens_with(self, token: str) -> bool:
        """Whether that token takes it, compared in constant time."""
        digest = digest_of(token)
        return hmac.compare_digest(self.digest, digest) | hmac.compare_digest(self.previous, digest)


class Taken(msgspec.Struct, frozen=True):
    """A journal that was taken."""

    hold: Hold
    fields: Mapping[str, bytes]


class Batch(msgspec.Struct, frozen=True):
    """Fields of a journal that are to be set, and others that are to go."""

    fields: Mapping[str, bytes]
    gone: tuple[str, ...] = ()
    whole: bool = False
    """Whatever else it holds goes."""
    confirmed: bool = False
    """The holder's client was heard of: the token before is used up."""


def new_token() -> str:
    """32 random bytes."""
    return secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Whether it looks like one."""
    return _TOKEN.fullmatch(text) is not None


def digest_of(token: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


class JournalStore:
    """Journals by tenant and session id. Every method raises `StoreError` when the database does
    not answer within `ANSWER_S`; what was asked may have been done all the same."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._write = ScriptCalls(redis, WRITE, ANSWER_S)
        self._renew = redis.register_script(RENEW)
        self._take = redis.register_script(TAKE)
        self._end = redis.register_script(END)

    async def look(self, tenant: str, session_id: str) -> Seen | None:
        """The journal of that session, if there is one."""
        key = Keys.session(tenant, session_id)
        pipe = self._redis.pipeline(transaction=False)
        pipe.hmget(key, ["digest", "previous", "head"])
        pipe.pttl(key)
        (digest, previous, head), lives_ms = await self._bounded(pipe.execute())
        if digest is None or head is None:
            return None
        return Seen(digest.decode(), (previous or b"").decode(), head, max(0, lives_ms) / 1000)

    async def take(self, tenant: str, session_id: str, token: str) -> Taken | None:
        """Become its holder; None where the token does not take it (any more)."""
        wanted = Hold(tenant, session_id, new_token())
        args: _Args = [digest_of(token), wanted.digest, _ms(LIVES_S)]
        found: Sequence[bytes] = await self._bounded(self._take(keys=[wanted.key], args=args))
        if not found:
            return None
        fields = {name.decode(): value for name, value in zip(found[::2], found[1::2], strict=True)}
        hold = msgspec.structs.replace(wanted, epoch=int(fields["epoch"]))
        return Taken(hold, fields)

    async def write(self, hold: Hold, batch: Batch, mode: Mode) -> Outcome:
        """Change the journal, and let it live on."""
        gone = -1 if batch.whole else len(batch.gone)
        args: _Args = [hold.epoch, hold.digest, _ms(LIVES_S), mode, int(batch.confirmed), gone]
        if not batch.whole:
            args += batch.gone
        for name, value in batch.fields.items():
            args += [name, value]
        try:
            async with asyncio.timeout(ANSWER_S):
                return Outcome(await self._write(hold.key, args))
        except (RedisError, OSError) as error:
            raise _unreachable() from error

    async def renew(self, holds: Iterable[Hold]) -> list[Outcome]:
        """Let journals live on; what each said, in order."""
        waiting, found = list(holds), list[Outcome]()
        while waiting:
            pipe = self._redis.pipeline(transaction=False)
            for hold in waiting[:_RENEWED_AT_ONCE]:
                args: _Args = [hold.epoch, hold.digest, _ms(LIVES_S)]
                await self._renew(keys=[hold.key], args=args, client=pipe)
            found += map(Outcome, await self._bounded(pipe.execute()))
            waiting = waiting[_RENEWED_AT_ONCE:]
        return found

    async def aclose(self) -> None:
        """Write nothing more; whoever waits for it gets an error."""
        await self._write.aclose()

    async def _bounded(self, answer: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(ANSWER_S), self._places:
                return await answer
        except (RedisError, OSError) as error:
            raise _unreachable() from error

    async def end(self, hold: Hold) -> None:
        """Remove it, if the session still holds it."""
        args: _Args = [hold.epoch, hold.digest, _ms(LIVES_S)]
        await self._bounded(self._end(keys=[hold.key], args=args))


def _unreachable() -> StoreError:
    return StoreError("The sessions cannot be reached just now.", retry_after_s=1)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
