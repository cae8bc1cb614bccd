"""A thousand malformed requests to the whole gateway: real voice, real stores, nothing left."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from core.embedded import EmbeddedRedis
from core.settings import RedisSettings, Settings, VoiceServerSettings
from tests.gateway.malformed import ALLOWED, from_bodies, from_schema, from_wire
from tests.gateway.server import Gateway


@pytest.fixture
async def gateway(
    redis_state: EmbeddedRedis, redis_cache: EmbeddedRedis, voice_server: Path
) -> AsyncIterator[Gateway]:
    settings = Settings(
        redis=RedisSettings(state_url=redis_state.url, cache_url=redis_cache.url),
        voices=VoiceServerSettings(socket=str(voice_server), processes=1),
    )
    with Gateway(settings, None) as opened:
        yield opened


@pytest.mark.timeout(180)
def test_a_thousand_malformed_requests(gateway: Gateway) -> None:
    httpx.get(gateway.voice + "/performance")
    idle = len(gateway.tasks())
    seen: Counter[int] = Counter()
    from_schema(gateway, seen)
    from_bodies(gateway, seen)
    from_wire(gateway, seen)
    assert seen.total() >= 1000, seen
    assert seen[400] > 100, "hardly anything was malformed"
    assert set(seen) <= ALLOWED | {0}, seen

    def calm() -> bool:
        performance = httpx.get(gateway.voice + "/performance").json()
        busy = {k: v for k, v in performance["under_way"].items() if not k.endswith("_limit")}
        return not any(busy.values()) and performance["requests_under_way"] == 0

    gateway.wait_until(calm, 10)
    gateway.wait_until(lambda: gateway.connections() == 0, 10)
    assert len(gateway.tasks()) <= idle, gateway.tasks()
