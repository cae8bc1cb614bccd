"""Worker processes on a whole installation: killed, ended, and their database restarted."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable
from typing import cast

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from benchmarks.stack import Stack, open_stack
from core.redis import Keys, open_redis
from tests.workers.running import (
    BY_ARQ,
    PREGENERATE,
    WorkerProcess,
    all_items,
    read_job,
    start_job,
    wait_for_job,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with open_stack() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest_asyncio.fixture(loop_scope="module")
async def workers(stack: Stack) -> AsyncIterator[list[WorkerProcess]]:
    """Append what you start; it is ended."""
    running: list[WorkerProcess] = []
    yield running
    await asyncio.gather(*(worker.end() for worker in running))


def texts(word: str, count: int) -> list[str]:
    """Short, and all of them different."""
    return [f"{word} {number}." for number in range(count)]


def spoken(*workers: WorkerProcess) -> int:
    """Texts that these workers have spoken to the end."""
    return sum(worker.log.read_bytes().count(b'"event":"speech"') for worker in workers)


async def held_by(state: Redis, job_id: str) -> dict[bytes, bytes]:
    """The texts that workers hold, by index, and the token of each."""
    key = Keys.job("default", job_id, "holders")
    found = await cast(Awaitable[dict[bytes, bytes]], state.hgetall(key))
    return {index: token for index, token in found.items() if index.isdigit()}


async def test_a_killed_worker_and_a_restarted_database_leave_nothing_undone_or_done_twice(
    stack: Stack, http: aiohttp.ClientSession, workers: list[WorkerProcess]
) -> None:
    state = open_redis(stack.state.url, timeout_s=2, max_connections=2)
    first, second = WorkerProcess(stack, "first"), WorkerProcess(stack, "second", BY_ARQ)
    workers += [first, second]
    await asyncio.gather(first.ready(), second.ready())
    job_id = await start_job(http, stack, texts("House", 500))
    await wait_for_job(http, stack, job_id, ended=120, seconds=20)
    begun_s = time.monotonic()
    while not (spoken(first) and spoken(second)):
        assert time.monotonic() - begun_s < 5, "both are at it"
        await asyncio.sleep(0.02)
    before = {i["index"]: i for i in await all_items(http, stack, job_id, 500)}
    first.child.signal(signal.SIGKILL)
    killed_s, left = time.monotonic(), await held_by(state, job_id)
    await wait_for_job(http, stack, job_id, ended=300, seconds=20)
    await stack.state.stop()
    await asyncio.sleep(1.5)
    await stack.state.start()
    while set(left.items()) & set((await held_by(state, job_id)).items()):
        assert time.monotonic() - killed_s < 15, "what the dead one held is others' by now"
        await asyncio.sleep(0.1)
    await state.aclose()
    job = await wait_for_job(http, stack, job_id, ended=500, seconds=40)
    assert (job["status"], job["succeeded"], job["failed"]) == ("done", 500, 0)
    items = await all_items(http, stack, job_id, 500)
    assert [item["index"] for item in items] == list(range(500))
    assert {item["status"] for item in items} == {"success"}
    done_before = [item for item in before.values() if item["status"] == "success"]
    assert len(done_before) >= 120
    assert all(items[item["index"]] == item for item in done_before), "a result stays as it is"
    assert 500 <= spoken(first, second) <= 500 + AT_ONCE, "only what was under way is said again"
    async with http.get(stack.base_url + items[499]["audio_url"]) as reply:
        assert reply.status == 200
        assert len(await reply.read()) > 1000
    assert b'"returned"' in second.log.read_bytes(), "the dead one held texts"
    # Whoever saw the restart still hears of new work.
    again = await start_job(http, stack, texts("Roof", 2))
    assert (await wait_for_job(http, stack, again, ended=2, seconds=10))["status"] == "done"
    assert second.child.returncode is None


async def test_a_worker_that_is_ended_gives_its_texts_back(
    stack: Stack, http: aiohttp.ClientSession, workers: list[WorkerProcess]
) -> None:
    leaving = WorkerProcess(stack, "leaving")
    workers.append(leaving)
    await leaving.ready()
    job_id = await start_job(http, stack, texts("Kitchen", 80))
    await wait_for_job(http, stack, job_id, ended=8, seconds=15)
    await leaving.end()
    job = await read_job(http, stack, job_id)
    assert job["running"] == 0, "no lease has to end by itself"
    assert job["queued"] == 80 - job["succeeded"] > 0
    staying = WorkerProcess(stack, "staying")
    workers.append(staying)
    await staying.ready()
    job = await wait_for_job(http, stack, job_id, ended=80, seconds=15)
    assert job["status"] == "done"
    assert leaving.child.returncode == 0


async def test_a_worker_whose_loop_ended_starts_it_anew(
    stack: Stack, http: aiohttp.ClientSession, workers: list[WorkerProcess]
) -> None:
    worker = WorkerProcess(stack, "anew")
    workers.append(worker)
    await worker.ready()
    state = open_redis(stack.state.url, timeout_s=2, max_connections=2)
    # A command of arq's loop fails, which ends the loop.
    await state.set(Keys.queue(), b"not a sorted set")
    until = asyncio.get_running_loop().time() + 10
    while b"worker_starts_anew" not in worker.log.read_bytes():
        assert asyncio.get_running_loop().time() < until
        await asyncio.sleep(0.05)
    await state.delete(Keys.queue())
    await state.aclose()
    job_id = await start_job(http, stack, texts("Cellar", 2))
    assert (await wait_for_job(http, stack, job_id, ended=2, seconds=10))["status"] == "done"
    assert worker.child.returncode is None


async def test_an_agents_phrases_are_in_the_cache_for_a_week(
    stack: Stack, http: aiohttp.ClientSession, workers: list[WorkerProcess]
) -> None:
    worker = WorkerProcess(stack, "phrases")
    workers.append(worker)
    await worker.ready()
    url = f"{stack.base_url}/api/v1/voice/agents/agent_123/phrases?language=en"
    async with http.get(url) as reply:
        phrase = (await reply.json())["phrases"][0]
    body = {"voice_agent_id": "agent_123", "language": "en"}
    async with http.post(stack.base_url + PREGENERATE, json=body) as reply:
        assert reply.status == 202, await reply.text()
        made = await reply.json()
    job = await wait_for_job(http, stack, made["job_id"], ended=made["total"], seconds=20)
    assert (job["kind"], job["status"], job["failed"]) == ("pregenerate", "done", 0)
    asked = {"text": phrase, "voice_agent_id": "agent_123", "language": "en"}
    async with http.post(f"{stack.base_url}/api/v1/voice/synthesize", json=asked) as reply:
        assert (await reply.json())["cached"] is True
    assert await _kept_for_days(open_redis(stack.cache.url, timeout_s=2, max_connections=2)) >= 6


async def _kept_for_days(cache: Redis) -> float:
    longest_s = 0
    async for key in cache.scan_iter(match="sk1:default:seg:*"):
        longest_s = max(longest_s, await cache.ttl(key))
    await cache.aclose()
    return longest_s / 86_400
