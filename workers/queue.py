"""The workers' side of arq's queue: a client that outlives an outage of the database."""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
from arq.connections import ArqRedis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeout

from core.jobs import RUN_EXPIRES_S, JobRef, decode, encode
from core.redis import Keys
from core.redis_connections import cancellable

_TIMEOUT_S: Final = 5.0
_CONNECTIONS: Final = 32
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_RETRIES: Final = 70
"""More than a minute of pauses: a restart of the database with gigabytes to read back."""


def open_queue(url: str) -> ArqRedis:
    """arq's client with our codec; a command is repeated for over a minute while the database is
    away. It connects when first used; close it with `aclose()`."""
    pool = ConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(
            ExponentialBackoff(cap=_LONGEST_PAUSE_S, base=_FIRST_PAUSE_S),
            _RETRIES,
            (RedisConnectionError, RedisTimeout),
        ),
        retry_on_error=[RedisConnectionError, RedisTimeout],
        lib_name=None,
        lib_version=None,
    )
    queue = ArqRedis(
        cancellable(pool),
        job_serializer=encode,
        job_deserializer=decode,
        default_queue_name=Keys.queue(),
    )
    # As the pool's owner it closes the connections.
    queue.auto_close_connection_pool = True
    return queue


async def call_worker(queue: ArqRedis, task: str, ref: JobRef) -> None:
    """Ask for a run of a job; whoever is free takes it.

    Raises:
        RedisError, OSError: the database did not take it.
    """
    await queue.enqueue_job(
        task,
        msgspec.to_builtins(ref),
        _job_id=f"{ref.job_id}:{secrets.token_hex(4)}",
        _expires=RUN_EXPIRES_S,
    )
