"""Starting a job, from the gateway and from a program in Python."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from core.embedded import EmbeddedRedis
from core.errors import InvalidRequest, RequestError, TextTooLong, TooManyTexts
from core.job_start import start_job
from core.job_store import JobStore
from core.jobs import JobSpec
from core.redis import Keys
from core.settings import Settings, load_settings
from gateway.queue import open_jobs
from workers.tasks import bulk_voice_synthesis


@pytest.fixture
def settings(redis_state: EmbeddedRedis, tmp_path: Path) -> Settings:
    limits = {"SEIKETSU_MAX_BULK_TEXTS": "30", "SEIKETSU_MAX_TEXT_CHARS": "20"}
    return load_settings(
        {"REDIS_URL": redis_state.url, "SEIKETSU_DATA_DIR": str(tmp_path), **limits}
    )


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        ([], InvalidRequest),
        (["fine", "x" * 21], TextTooLong),
        (["one"] * 31, TooManyTexts),
    ],
)
async def test_whoever_starts_a_job_meets_the_same_limits(
    settings: Settings, state: Redis, texts: list[str], error: type[RequestError]
) -> None:
    with pytest.raises(error):
        await bulk_voice_synthesis.delay(texts=texts, agent_id="agent_123", settings=settings)
    async with open_jobs(settings, state) as jobs:
        with pytest.raises(error):
            await jobs.start("default", JobSpec("bulk", "agent_123"), texts)
    assert not [key async for key in state.scan_iter(match="sk1:default:job*")]


async def test_a_program_in_python_makes_a_job_and_calls_workers(
    settings: Settings, state: Redis, store: JobStore
) -> None:
    texts = ["one"] * 30
    job_id = await bulk_voice_synthesis.delay(texts=texts, agent_id="agent_123", settings=settings)
    records, _ = await store.page("default", 0, 10)
    assert [(one.ref.job_id, one.counts.total) for one in records] == [(job_id, 30)]
    assert await state.zcard(Keys.queue()) == 2


async def test_a_queue_that_hangs_holds_nobody_up(store: JobStore) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.sleep(3600)

    spec = JobSpec("bulk", "agent_123")
    with capture_logs() as lines:
        async with asyncio.timeout(10):
            ref = await start_job(store, never, "acme", spec, ["one"], max_text_chars=10)
    assert (await store.read(ref)).status == "queued"
    assert [line["event"] for line in lines] == ["job_not_called"]
