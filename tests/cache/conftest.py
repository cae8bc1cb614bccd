"""Entries, plans and an open cache over the real audio database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from core.cache.envelope import RenditionEntry, SegmentEntry
from core.cache.memory import MemoryTier
from core.cache.shared import SharedTier
from core.cache.tiered import SpeechCache
from core.embedded import EmbeddedRedis
from core.redis import open_redis
from core.speech import (
    Attempt,
    Provenance,
    SegmentPlan,
    SpeechPlan,
    SpeechTrace,
    WordTiming,
)

TIMEOUT_S = 0.05
TTL_S = 3600


def provenance(created_unix_s: float = 0.0) -> Provenance:
    return Provenance("elevenlabs", "rachel", "flash", "en", "req", 12.5, created_unix_s)


def words(count: int) -> tuple[WordTiming, ...]:
    return tuple(
        WordTiming(f"word{i}", 400 * i, 400 * i + 300, 6 * i, 6 * i + 5) for i in range(count)
    )


def segment_entry(audio: bytes = b"fLaC" + bytes(2000), created: float = 0.0) -> SegmentEntry:
    return SegmentEntry("flac", audio, 24_000, words(3), provenance(created))


def rendition_entry(
    audio: bytes = b"\xff\xf3" + bytes(4000), created: float = 0.0
) -> RenditionEntry:
    return RenditionEntry("mp3_24000_128", audio, 1000, 0.97, words(4), provenance(created))


def plan(
    voice_keys: tuple[str, ...] = ("v0", "v1", "v2"),
    rendition_key: str = "r0",
    *,
    tenant: str = "acme",
    enable_caching: bool = True,
) -> SpeechPlan:
    """Each segment has the given primary and a fallback with a key of its own."""

    def attempt(provider: str, voice_key: str) -> Attempt:
        return Attempt(provider, "account", "voice", "model", "en", None, voice_key)

    return SpeechPlan(
        tenant=tenant,
        agent_id="agent_123",
        profile="professional",
        language="en",
        output_format="mp3_24000_128",
        characters=5 * len(voice_keys),
        enable_caching=enable_caching,
        origin="live",
        common=False,
        segments=tuple(
            SegmentPlan(
                index=index,
                text="text",
                source_start=5 * index,
                source_end=5 * index + 4,
                source_offsets=range(5 * index, 5 * index + 5),
                attempts=(attempt("elevenlabs", key), attempt("local", f"local-{key}")),
            )
            for index, key in enumerate(voice_keys)
        ),
        rendition_key=rendition_key,
    )


def trace() -> SpeechTrace:
    return SpeechTrace(request_id="r", tenant="acme", agent_id="agent_123")


def open_cache(client: Redis, *, timeout_s: float = TIMEOUT_S, **knobs: Any) -> SpeechCache:
    return SpeechCache(
        MemoryTier(8_000_000),
        SharedTier(client, timeout_s=timeout_s, ttl_s=TTL_S, max_concurrent=8),
        ttl_s=TTL_S,
        **knobs,
    )


@pytest.fixture
async def client(redis_cache: EmbeddedRedis) -> AsyncIterator[Redis]:
    """Opened as the product opens it."""
    client = open_redis(redis_cache.url, timeout_s=TIMEOUT_S, max_connections=8)
    yield client
    await client.aclose()


@pytest.fixture
async def watcher(redis_cache: EmbeddedRedis) -> AsyncIterator[Redis]:
    """A second client for looking at the server; patient."""
    client = open_redis(redis_cache.url, timeout_s=5.0, max_connections=2)
    yield client
    await client.aclose()


@pytest.fixture
async def cache(client: Redis) -> AsyncIterator[SpeechCache]:
    cache = open_cache(client)
    yield cache
    await cache.aclose()


@pytest.fixture
async def other_process(client: Redis) -> AsyncIterator[SpeechCache]:
    """Another cache over the same database, with a memory of its own."""
    cache = open_cache(client)
    yield cache
    await cache.aclose()
