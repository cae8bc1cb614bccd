"""The workers' side of arq's queue: a client that outlives an outage of the database."""

from __future__ import annotations

from typing import Final

from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeout

from core import job_start
from core.jobs import JobRef, decode, encode
from core.redis import Keys
from core.redis_connections import cancellable

_TIMEOUT_S: Final = 5.0
_CONNECTIONS: Final = 32
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_LOOKED_AT: Final = 200
"""Calls at the front of the queue; arq reads 100."""
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
        retry=Retry(ExponentialBackoff(cap=_LONGEST_PAUSE_S, base=_FIRST_PAUSE_S), _RETRIES),
        # A server that is not there is told by the system itself while a connection is made.
        retry_on_error=[RedisConnectionError, RedisTimeout, OSError],
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


async def drop_forgotten(queue: ArqRedis) -> int:
    """Take calls off the queue whose content is past its time. How many of the oldest they were.

    arq reads the oldest calls only, and passes over those of a worker that was killed for as long
    as the longest run may take. Nothing depends on a call: the sweep makes new ones.

    Raises:
        RedisError, OSError: the database does not answer.
    """
    names: list[bytes] = await queue.zrange(Keys.queue(), 0, _LOOKED_AT - 1)
    if not names:
        return 0
    async with queue.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.exists(job_key_prefix.encode() + name)
        held = await pipe.execute()
    gone = [name for name, there in zip(names, held, strict=True) if not there]
    return int(await queue.zrem(Keys.queue(), *gone)) if gone else 0


async def call_worker(queue: ArqRedis, task: str, ref: JobRef) -> None:
    """Ask for a run of a job; whoever is free takes it.

    Raises:
        RedisError, OSError: the database did not take it.
    """
    await job_start.call_worker(queue.enqueue_job, task, ref)
