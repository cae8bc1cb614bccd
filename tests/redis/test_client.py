"""The Redis client: bounded waits, one quick retry, key names with their owners."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.embedded import EmbeddedRedis
from core.redis import Keys, open_redis


@pytest.fixture
async def client(redis_cache: EmbeddedRedis) -> AsyncIterator[Redis]:
    opened = open_redis(redis_cache.url, timeout_s=0.05, max_connections=2)
    yield opened
    await opened.aclose()


async def test_values_are_bytes(client: Redis) -> None:
    await client.set("k", b"\x00\xff")
    assert await client.get("k") == b"\x00\xff"


async def test_a_restart_between_two_commands_is_not_seen(
    client: Redis, redis_cache: EmbeddedRedis
) -> None:
    await client.set("k", b"1")
    await redis_cache.stop()
    await redis_cache.start()
    assert await client.get("k") is None


async def test_a_connection_reset_under_a_command_is_retried_once(tmp_path: Path) -> None:
    calls = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        await reader.read(1024)
        calls += 1
        if calls > 1:
            writer.write(b"$2\r\nok\r\n")
            await writer.drain()
            await reader.read(1)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, str(tmp_path / "s"))
    client = open_redis(f"unix://{tmp_path / 's'}", timeout_s=0.5, max_connections=1)
    async with server:
        assert await client.get("k") == b"ok"
        await client.aclose()
        await asyncio.sleep(0.01)
    assert calls == 2


async def test_a_server_that_always_resets_gets_two_tries_and_no_more(tmp_path: Path) -> None:
    calls = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        await reader.read(1024)
        calls += 1
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, str(tmp_path / "s"))
    client = open_redis(f"unix://{tmp_path / 's'}", timeout_s=0.5, max_connections=1)
    async with server:
        with pytest.raises(RedisConnectionError):
            await client.get("k")
        await client.aclose()
    assert calls == 2


async def test_a_hung_server_costs_one_timeout(client: Redis, redis_cache: EmbeddedRedis) -> None:
    await client.get("k")
    assert redis_cache.child is not None
    redis_cache.child.signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(RedisTimeoutError):
        await client.get("k")
    assert 0.04 < time.monotonic() - started < 0.2
    redis_cache.child.signal(signal.SIGCONT)
    assert await client.get("k") is None


async def test_an_absent_server_is_an_error_at_once(tmp_path: Path) -> None:
    client = open_redis(f"unix://{tmp_path / 'none'}", timeout_s=0.05, max_connections=1)
    started = time.monotonic()
    with pytest.raises(RedisConnectionError):
        await client.get("k")
    assert time.monotonic() - started < 0.2
    await client.aclose()


async def test_a_new_connection_costs_no_round_trip_of_its_own(redis_cache: EmbeddedRedis) -> None:
    watch = open_redis(redis_cache.url, timeout_s=1.0, max_connections=1)
    fresh = open_redis(redis_cache.url, timeout_s=1.0, max_connections=1)
    await watch.config_resetstat()
    await fresh.get("k")
    stats = await watch.info("commandstats")
    await fresh.aclose()
    await watch.aclose()
    assert {name for name in stats if name != "cmdstat_config"} == {"cmdstat_get"}


async def test_a_reply_that_nobody_has_read_is_nobody_elses(redis_cache: EmbeddedRedis) -> None:
    client = open_redis(redis_cache.url, timeout_s=1.0, max_connections=1)
    await client.mset({"a": b"A", "b": b"B", "c": b"C"})
    pool = client.connection_pool
    for read in (0, 1):
        connection = await pool.get_connection("_")  # type: ignore[no-untyped-call]
        await connection.send_packed_command(  # two replies, of which none or one is read
            [*connection.pack_command("GET", "a"), *connection.pack_command("GET", "c")]
        )
        for _ in range(read):
            assert await connection.read_response() == b"A"
        await asyncio.sleep(0.02)
        await pool.release(connection)
        assert await client.get("b") == b"B"
    await client.aclose()


async def test_connections_are_bounded(client: Redis) -> None:
    answers = await asyncio.gather(*(client.get("k") for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(answer, RedisConnectionError) for answer in answers) == 3


TENANTS = st.text(min_size=1, max_size=12)


@given(
    st.lists(st.tuples(TENANTS, st.text("0123456789abcdef", min_size=1)), min_size=2, max_size=2)
)
def test_no_two_owners_or_kinds_share_a_key(pairs: list[tuple[str, str]]) -> None:
    names: dict[str, tuple[str, str, str]] = {}
    for tenant, name in pairs:
        if tenant == "-" or any(c in tenant for c in ":{}"):
            with pytest.raises(ValueError, match="tenant"):
                Keys.segment(tenant, name)
            continue
        for kind in ("segment", "rendition", "result"):
            key = getattr(Keys, kind)(tenant, name)
            assert names.setdefault(key, (kind, tenant, name)) == (kind, tenant, name)
            assert key != Keys.signing_key()


def test_key_names_are_stable() -> None:
    assert Keys.segment("acme", "00ff") == "sk1:acme:seg:00ff"
    assert Keys.rendition("acme", "00ff") == "sk1:acme:ren:00ff"
    assert Keys.result("acme", "00ff") == "sk1:acme:res:00ff"
    assert Keys.signing_key() == "sk1:-:signing-key"
    with pytest.raises(ValueError, match="tenant"):
        Keys.result("", "00ff")


async def test_a_command_can_be_cancelled_at_any_moment(redis_cache: EmbeddedRedis) -> None:
    client = open_redis(redis_cache.url, timeout_s=0.5, max_connections=4)
    await client.set("k", b"1")

    async def ask_for_ever() -> None:
        while True:
            await client.get("k")

    for turns in range(400):
        asking = asyncio.create_task(ask_for_ever())
        for _ in range(turns % 37):
            await asyncio.sleep(0)
        asking.cancel()
        done, _ = await asyncio.wait([asking], timeout=1)
        assert done, f"cancelled after {turns % 37} turns of the loop, it went on"
        assert not client.connection_pool._in_use_connections
    await client.aclose()
