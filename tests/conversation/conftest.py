"""What tests of conversations share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from core.embedded import EmbeddedRedis
from core.redis import open_redis


@pytest.fixture
async def redis(redis_state: EmbeddedRedis) -> AsyncIterator[Redis]:
    """A client of the state database."""
    client = open_redis(redis_state.url, timeout_s=0.5, max_connections=16)
    yield client
    await client.aclose()
