"""The gateway under test: real port, real Redis; the service has knobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from core.embedded import EmbeddedRedis
from core.settings import GatewaySettings, RedisSettings, Settings
from tests.gateway.fakes import Box, FakeSpeech
from tests.gateway.server import Gateway

Start = Callable[..., Gateway]


@pytest.fixture
def speech() -> FakeSpeech:
    return FakeSpeech()


@pytest.fixture
def box(speech: FakeSpeech) -> Box:
    return Box(speech)


@pytest.fixture
async def start(redis_state: EmbeddedRedis, box: Box) -> Iterator[Start]:  # type: ignore[misc]
    """Serve the gateway with these fields of `GatewaySettings`."""
    running: list[Gateway] = []

    def serve(**fields: object) -> Gateway:
        settings = Settings(
            gateway=GatewaySettings(**fields),  # type: ignore[arg-type]
            redis=RedisSettings(state_url=redis_state.url),
        )
        gateway = Gateway(settings, box.factory())
        running.append(gateway.__enter__())
        return gateway

    yield serve
    for gateway in running:
        gateway.__exit__()


@pytest.fixture
def gateway(start: Start) -> Gateway:
    return start()


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.voice, timeout=10) as client:
        yield client


async def fetch(url: str, **options: Any) -> httpx.Response:
    """GET from an async test."""
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.get(url, **options)


BODY = {"text": "Hello there.", "voice_agent_id": "agent_123"}
