"""Two processes of one installation: stores on one state database, each with its own snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from core.agent_store import AgentStore, open_agent_store
from core.agents import AgentSnapshot
from core.embedded import EmbeddedRedis
from core.phrases import PhraseStore
from core.redis import open_redis
from core.runtime import Runtime, open_runtime
from core.settings import RedisSettings, Settings


@pytest.fixture
async def redis(redis_state: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = open_redis(redis_state.url, timeout_s=0.5, max_connections=16)
    yield client
    await client.aclose()


@pytest.fixture
async def store(redis: Redis) -> AsyncIterator[AgentStore]:
    async with open_agent_store(redis, AgentSnapshot()) as opened:
        yield opened


@pytest.fixture
async def other(redis_state: EmbeddedRedis) -> AsyncIterator[AgentStore]:
    """Another process."""
    client = open_redis(redis_state.url, timeout_s=0.5, max_connections=16)
    async with open_agent_store(client, AgentSnapshot()) as opened:
        yield opened
    await client.aclose()


@pytest.fixture
def phrases(redis: Redis, store: AgentStore) -> PhraseStore:
    return PhraseStore(redis, store.snapshot)


@pytest.fixture
async def two_runtimes(
    redis_state: EmbeddedRedis, redis_cache: EmbeddedRedis, tmp_path: Path
) -> AsyncIterator[tuple[Runtime, Runtime]]:
    """All that two gateways have open, but for the voice server."""
    settings = Settings(
        data_dir=tmp_path,
        redis=RedisSettings(state_url=redis_state.url, cache_url=redis_cache.url),
    )
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_runtime(settings))
        second = await stack.enter_async_context(open_runtime(settings))
        yield first, second


async def within(seconds: float, condition: Callable[[], bool]) -> None:
    """Wait until `condition()` is true, or fail."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not within {seconds} s", pytrace=False)


@asynccontextmanager
async def away(server: EmbeddedRedis) -> AsyncIterator[None]:
    """The server is down meanwhile."""
    await server.stop()
    try:
        yield
    finally:
        await server.start()
