"""Tokens that open one session each: for browsers, whose WebSockets carry no headers.

A token is 32 random bytes. Only its SHA-256 reaches the state database, with who asked for it and
what for, and reading it removes it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.errors import StoreError, TokenInvalid
from core.redis import Keys

TOKEN_TTL_S: Final = 60
"""How long a token waits for its use."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class TokenGrant(msgspec.Struct, frozen=True, array_like=True):
    """What a token allows: one session of that name, for that tenant."""

    tenant: str
    key_id: str
    session_id: str
    voice_agent_id: str | None = None
    language: str | None = None


class SessionTokens:
    """Hands tokens out and takes them back, once each. Each step is one round trip."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def issue(self, grant: TokenGrant) -> str:
        """A new token for that session.

        Raises:
            StoreError: the state database did not take it.
        """
        token = secrets.token_urlsafe(32)
        try:
            await self._redis.set(
                Keys.session_token(_digest(token)), msgspec.msgpack.encode(grant), ex=TOKEN_TTL_S
            )
        except (RedisError, OSError) as error:
            raise _no_store() from error
        return token

    async def look(self, token: str) -> TokenGrant:
        """What the token allows; it stays usable.

        Raises:
            TokenInvalid: unknown, used already or too old.
            StoreError: the state database did not answer.
        """
        return await self._grant(token, self._redis.get)

    async def redeem(self, token: str) -> TokenGrant:
        """What the token allows; it is used up by this.

        Raises:
            TokenInvalid: unknown, used already or too old.
            StoreError: the state database did not answer.
        """
        return await self._grant(token, self._redis.getdel)

    async def _grant(
        self, token: str, read: Callable[[str], Awaitable[bytes | None]]
    ) -> TokenGrant:
        if not _TOKEN.fullmatch(token):
            raise TokenInvalid()
        try:
            held = await read(Keys.session_token(_digest(token)))
        except (RedisError, OSError) as error:
            raise _no_store() from error
        if held is None:
            raise TokenInvalid()
        try:
            return msgspec.msgpack.decode(held, type=TokenGrant)
        except msgspec.MsgspecError as error:
            raise TokenInvalid() from error


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _no_store() -> StoreError:
    return StoreError("The session tokens cannot be reached just now.", retry_after_s=1)
