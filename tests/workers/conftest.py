"""A job store on the real state database."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from core.job_store import JobStore
from core.job_upkeep import JobUpkeep
from core.results import ResultStore
from core.settings import JobSettings


@pytest.fixture
def store(state: Redis) -> JobStore:
    return JobStore(state, JobSettings(ttl_s=3600, max_texts=1000))


@pytest.fixture
def upkeep(state: Redis) -> JobUpkeep:
    return JobUpkeep(state)


@pytest.fixture
def results(state: Redis) -> ResultStore:
    return ResultStore(state, b"k" * 32, 900)
