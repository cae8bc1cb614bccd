"""Starting a job: whoever makes one also calls workers to it, by the queue that they listen to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import structlog
from redis.exceptions import RedisError

from core.errors import InvalidRequest, StoreError, TextTooLong
from core.job_store import JobStore
from core.jobs import RUN_EXPIRES_S, TASK_OF_KIND, JobRef, JobSpec, runs_for

Enqueue = Callable[..., Awaitable[object]]
"""arq's `enqueue_job`: the task's name, its argument, `_job_id` and `_expires` in seconds."""

_CREATE_S: Final = 10.0
"""Longest wait for the state database to take a job with all its texts."""
_CALL_S: Final = 1.0
"""Longest wait for the queue to take the calls."""

_log = structlog.get_logger("seiketsu.jobs")


async def start_job(
    store: JobStore,
    enqueue: Enqueue,
    tenant: str,
    spec: JobSpec,
    texts: Sequence[str],
    *,
    max_text_chars: int,
) -> JobRef:
    """Make a job and call workers to it. Where the calls fail, a worker's sweep finds the job.

    Raises:
        InvalidRequest, TextTooLong: see `check_texts`.
        TooManyTexts, TooManyJobs, NoAudioRoom: see `JobStore.create`.
        StoreError: the state database did not take it.
    """
    check_texts(texts, max_text_chars)
    try:
        async with asyncio.timeout(_CREATE_S):
            ref = await store.create(tenant, spec, texts)
    except TimeoutError as error:
        raise StoreError("The job store does not answer.", retry_after_s=1) from error
    try:
        async with asyncio.timeout(_CALL_S):
            for _ in range(runs_for(len(texts))):
                await call_worker(enqueue, TASK_OF_KIND[spec.kind], ref)
    except (RedisError, OSError, RuntimeError) as error:  # OSError: TimeoutError too
        _log.warning("job_not_called", job=ref.job_id, error_type=type(error).__name__)
    return ref


def check_texts(texts: Sequence[str], max_text_chars: int) -> None:
    """Refuse texts that no single try could be blamed for.

    Raises:
        InvalidRequest: there is none.
        TextTooLong: one is longer than `max_text_chars` characters.
    """
    if not texts:
        raise InvalidRequest("There must be at least one text.")
    for index, text in enumerate(texts):
        if len(text) > max_text_chars:
            raise TextTooLong(f"Text {index} is longer than {max_text_chars} characters.")


async def call_worker(enqueue: Enqueue, task: str, ref: JobRef) -> None:
    """Ask for a run of a job; whoever is free takes it.

    Raises:
        RedisError, OSError: the database did not take it.
    """
    await enqueue(
        task,
        msgspec.to_builtins(ref),
        _job_id=f"{ref.job_id}:{secrets.token_hex(4)}",
        _expires=RUN_EXPIRES_S,
    )
