"""The result store and its signing key, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from core.embedded import EmbeddedRedis
from core.errors import AudioNotFound, AudioTooLarge, ConfigurationError, StoreError
from core.redis import Keys, open_redis
from core.results import ResultStore
from core.settings import GatewaySettings, Settings
from core.signing import load_signing_key
from tests.gateway.fakes import PROVENANCE, entry_of

KEY = b"k" * 32
RENDITION = "0" * 32


@pytest.fixture
async def redis(redis_state: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = open_redis(redis_state.url, timeout_s=0.3, max_connections=4)
    yield client
    await client.aclose()


async def commands(redis: Redis) -> int:
    return int((await redis.info("commandstats")).get("cmdstat_set", {}).get("calls", 0))


async def test_what_is_put_comes_back(redis: Redis) -> None:
    store = ResultStore(redis, KEY, ttl_s=900)
    audio_id = await store.put("acme", "agent_123", RENDITION, entry_of(b"abc"))
    found = await store.get(audio_id)
    assert (found.audio, found.output_format, found.duration_ms) == (b"abc", "mp3_24000_128", 500)
    link = await store.open(audio_id)
    left_s = await redis.ttl(Keys.result("acme", link.result_id.hex()))
    assert 1790 < left_s <= 1800


async def test_a_repeated_reply_asks_redis_nothing(redis: Redis) -> None:
    store = ResultStore(redis, KEY, ttl_s=900)
    entry = entry_of(b"abc")
    first = await store.put("acme", "agent_123", RENDITION, entry)
    before = await commands(redis)
    assert await store.put("acme", "agent_123", RENDITION, entry) == first
    assert store.remembered("acme", "agent_123", RENDITION, entry) == first
    assert store.remembered("other", "agent_123", RENDITION, entry) is None
    assert await commands(redis) == before


async def test_other_audio_under_the_same_key_gets_a_link_of_its_own(redis: Redis) -> None:
    """A fallback's audio is never what a later reply links to."""
    store = ResultStore(redis, KEY, ttl_s=900)
    fallback = await store.put("acme", "agent_123", RENDITION, entry_of(b"fallback"))
    later = msgspec.structs.replace(
        entry_of(b"asked..."), provenance=msgspec.structs.replace(PROVENANCE, created_unix_s=2.0)
    )
    asked = await store.put("acme", "agent_123", RENDITION, later)
    assert (await store.get(asked)).audio == b"asked..."
    assert (await store.get(fallback)).audio == b"fallback"


async def test_equal_audio_is_stored_once(redis: Redis) -> None:
    for _ in range(3):
        await ResultStore(redis, KEY, ttl_s=900).put("t", "agent_123", RENDITION, entry_of(b"abc"))
    assert await redis.dbsize() == 1


async def test_unshared_results_have_random_ids(redis: Redis) -> None:
    store = ResultStore(redis, KEY, ttl_s=900)
    ids = {await store.put("t", "agent_123", None, entry_of(b"abc")) for _ in range(3)}
    assert len(ids) == 3
    assert await redis.dbsize() == 3


async def test_the_longest_text_fits_uncompressed_and_more_is_refused_for_good(
    redis_state: EmbeddedRedis,
) -> None:
    redis = open_redis(redis_state.url, timeout_s=5, max_connections=2)
    store = ResultStore(redis, KEY, ttl_s=900, max_text_chars=1000)
    spoken_slowly_bytes = 1000 * 96_000 * 10 // 45
    audio = bytes(spoken_slowly_bytes)
    assert spoken_slowly_bytes > 20 * 1024 * 1024
    kept = await store.put("t", "agent_123", None, entry_of(audio, "wav_48000"))
    assert len((await store.get(kept)).audio) == len(audio)
    with pytest.raises(AudioTooLarge, match="bytes") as caught:
        await store.put("t", "agent_123", None, entry_of(audio * 2, "wav_48000"))
    assert not caught.value.retryable
    assert "stream" in caught.value.action
    await redis.aclose()


async def test_an_outage_is_a_store_error_and_passes(
    redis: Redis, redis_state: EmbeddedRedis
) -> None:
    store = ResultStore(redis, KEY, ttl_s=900)
    audio_id = await store.put("t", "agent_123", RENDITION, entry_of(b"abc"))
    await redis_state.stop()
    with pytest.raises(StoreError):
        await store.put("t", "agent_123", None, entry_of(b"abc"))
    with pytest.raises(StoreError):
        await store.get(audio_id)
    with pytest.raises(AudioNotFound):
        await store.get(audio_id[:-2] + "zz")
    await redis_state.start()
    store._rest_until_s = 0.0
    assert await store.get(await store.put("t", "agent_123", None, entry_of(b"new")))


async def test_the_key_is_shared_by_all_gateways(redis: Redis) -> None:
    first = await load_signing_key(redis, Settings())
    second = await load_signing_key(redis, Settings())
    assert first.shared
    assert first.sign(b"x", 16) == second.sign(b"x", 16)
    assert second.verify(b"x", first.sign(b"x", 16))
    assert not second.verify(b"y", first.sign(b"x", 16))
    assert await redis.ttl(Keys.signing_key()) == -1


async def test_a_key_from_the_settings_needs_no_redis(redis_state: EmbeddedRedis) -> None:
    await redis_state.stop()
    client = open_redis(redis_state.url, timeout_s=0.1, max_connections=1)
    settings = Settings(gateway=GatewaySettings(signing_key="from the settings"))
    key = await load_signing_key(client, settings)
    assert key.shared
    assert key.verify(b"x", (await load_signing_key(client, settings)).sign(b"x", 16))
    short = Settings(gateway=GatewaySettings(signing_key="0123456789abcde"))
    with pytest.raises(ConfigurationError, match="SEIKETSU_SIGNING_KEY") as caught:
        await load_signing_key(client, short)
    assert short.gateway.signing_key not in caught.value.message
    await client.aclose()


async def test_a_key_made_in_an_outage_is_replaced_and_its_links_stay_good(
    redis: Redis, redis_state: EmbeddedRedis
) -> None:
    await redis_state.stop()
    alone = await load_signing_key(redis, Settings())
    assert not alone.shared
    early = alone.sign(b"early", 16)
    await redis_state.start()
    others = ResultStore(redis, await load_signing_key(redis, Settings()), ttl_s=900)
    foreign = await others.put("t", "agent_123", RENDITION, entry_of(b"abc"))
    store = ResultStore(redis, alone, ttl_s=900)
    assert (await store.get(foreign)).audio == b"abc"
    assert alone.shared
    assert alone.verify(b"early", early)
    mine = await store.put("t", "agent_123", None, entry_of(b"mine"))
    assert (await others.get(mine)).audio == b"mine"
