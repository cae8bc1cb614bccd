"""Redis: every key name of the product, and how a connection is opened.

Two databases: *state* (append-only, never evicts) and *audio* (bounded memory, least frequently
used goes first). Commands stay within Redis 6.2; on the audio database every command names one key,
so that it may be a cluster.
"""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

_PREFIX: Final = "sk1"
"""Version of the key names; another one makes everything stored before invisible."""

_INSTALLATION: Final = "-"
"""Owner of what belongs to no tenant."""

_RETRIES: Final = 1
_BACKOFF_S: Final = 0.002


class Keys:
    """The name of every Redis key: `sk1:OWNER:KIND:ID`, the owner being a tenant or `-`.

    | kind | database | value | lives |
    |---|---|---|---|
    | `seg` | audio | one segment's canonical audio (`SegmentEntry`) | SEIKETSU_CACHE_TTL |
    | `ren` | audio | one utterance's encoded bytes (`RenditionEntry`) | SEIKETSU_CACHE_TTL |
    | `res` | state | what an `audio_url` points to | twice SEIKETSU_RESULT_TTL |
    | `signing-key` | state | the key that signs `audio_url`s | for good |
    """

    @staticmethod
    def segment(tenant: str, voice_key: str) -> str:
        """Canonical audio under its voice key."""
        return _key(tenant, "seg", voice_key)

    @staticmethod
    def rendition(tenant: str, rendition_key: str) -> str:
        """Encoded audio under its rendition key."""
        return _key(tenant, "ren", rendition_key)

    @staticmethod
    def result(tenant: str, result_id: str) -> str:
        """A result that an `audio_url` points to."""
        return _key(tenant, "res", result_id)

    @staticmethod
    def signing_key() -> str:
        """The key that signs `audio_url`s, shared by the gateways of an installation."""
        return f"{_PREFIX}:{_INSTALLATION}:signing-key"


def _key(tenant: str, kind: str, name: str) -> str:
    # A colon would let one owner's key read as another's, a brace would choose the cluster's slot.
    if not tenant or tenant == _INSTALLATION or any(c in tenant for c in ":{}"):
        raise ValueError("A tenant's name is not empty, not `-`, and holds none of `:{}`.")
    return f"{_PREFIX}:{tenant}:{kind}:{name}"


def open_redis(url: str, *, timeout_s: float, max_connections: int) -> Redis:
    """A client of `redis://`, `rediss://` or `unix://`; it connects when first used.

    Connecting and every answer are bounded by `timeout_s` each. A connection that turns out to be
    broken is replaced and the command sent once more; an answer that is late is not waited for
    twice. Above `max_connections` commands at once, redis-py refuses with its `ConnectionError`.
    Keys and values are bytes. Close it with `aclose()`.
    """
    pool = ConnectionPool.from_url(
        url,
        max_connections=max_connections,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(ConstantBackoff(_BACKOFF_S), _RETRIES, (RedisConnectionError,)),
        retry_on_error=[RedisConnectionError],
        health_check_interval=0,
        decode_responses=False,
        # Naming the library would cost a round trip on every new connection.
        lib_name=None,
        lib_version=None,
    )
    return Redis.from_pool(pool)
