"""Our own Redis servers: real processes on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.embedded import EmbeddedRedis, redis_url, with_default_places
from core.errors import ConfigurationError
from core.redis import open_redis
from core.settings import load_settings
from core.sockets import is_live, socket_path


async def _set(url: str, key: str, value: bytes) -> None:
    client = open_redis(url, timeout_s=2.0, max_connections=1)
    try:
        await client.set(key, value)
    finally:
        await client.aclose()


async def _get(url: str, key: str) -> bytes | None:
    client = open_redis(url, timeout_s=2.0, max_connections=1)
    try:
        value: bytes | None = await client.get(key)
        return value
    finally:
        await client.aclose()


async def _config(url: str, name: str) -> str:
    client = open_redis(url, timeout_s=2.0, max_connections=1)
    try:
        found = await client.config_get(name)
        return str(found[name])
    finally:
        await client.aclose()


async def test_state_survives_a_restart_and_a_kill(tmp_path: Path) -> None:
    server = EmbeddedRedis("state", tmp_path)
    await server.start()
    try:
        await _set(server.url, "a", b"1")
        await server.stop()
        assert not is_live(Path(server.url.removeprefix("unix://")))
        await server.start()
        assert await _get(server.url, "a") == b"1"
        await _set(server.url, "a", b"2")
        server.kill()
        await server.start()
        assert await _get(server.url, "a") == b"2"
    finally:
        server.kill()


async def test_roles_keep_what_they_promise(
    redis_state: EmbeddedRedis, redis_cache: EmbeddedRedis
) -> None:
    assert await _config(redis_state.url, "maxmemory-policy") == "noeviction"
    assert await _config(redis_state.url, "appendfsync") == "everysec"
    assert await _config(redis_state.url, "appendonly") == "yes"
    assert await _config(redis_cache.url, "maxmemory-policy") == "allkeys-lfu"
    assert await _config(redis_cache.url, "maxmemory") == str(64 * 1024 * 1024)
    assert await _config(redis_cache.url, "appendonly") == "no"
    for server in (redis_state, redis_cache):
        assert await _config(server.url, "port") == "0"
        assert await _config(server.url, "save") == ""


async def test_a_full_cache_evicts_and_goes_on(tmp_path: Path) -> None:
    server = EmbeddedRedis("cache", tmp_path, max_memory_bytes=4 * 1024 * 1024)
    await server.start()
    try:
        for i in range(100):
            await _set(server.url, f"k{i}", bytes(100_000))
        assert await _get(server.url, "k99") == bytes(100_000)
    finally:
        server.kill()


async def test_only_this_user_can_reach_it(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    server = EmbeddedRedis("cache", directory)
    await server.start()
    try:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        socket = Path(server.url.removeprefix("unix://"))
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    finally:
        await server.stop()


async def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(ConfigurationError, match="SEIKETSU_DATA_DIR"):
        await EmbeddedRedis("state", shared).start()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o777
    assert not list(shared.iterdir())


async def test_what_it_writes_is_readable_by_this_user_alone(tmp_path: Path) -> None:
    server = EmbeddedRedis("state", tmp_path)
    await server.start()
    await _set(server.url, "a", b"1")
    await server.stop()
    assert stat.S_IMODE((tmp_path / "appendonly.aof").stat().st_mode) == 0o600


async def test_a_deep_directory_gets_a_short_private_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    server = EmbeddedRedis("cache", deep)
    await server.start()
    try:
        where = Path(server.url.removeprefix("unix://"))
        assert len(os.fsencode(where)) <= 100
        assert stat.S_IMODE(where.parent.stat().st_mode) == 0o700
        assert server.url == redis_url(deep, "cache")
        await _set(server.url, "a", b"1")
        assert await _get(server.url, "a") == b"1"
    finally:
        await server.stop()
        where.parent.rmdir()


async def test_a_socket_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / ("e" * 120)
    trap = socket_path(deep, "state.sock").parent
    trap.mkdir()
    trap.chmod(0o777)
    try:
        with pytest.raises(ConfigurationError, match="SEIKETSU_DATA_DIR"):
            await EmbeddedRedis("state", deep).start()
    finally:
        trap.rmdir()


async def test_a_linked_data_directory_works(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    server = EmbeddedRedis("cache", tmp_path / "link")
    await server.start()
    await server.stop()


async def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    first, second = EmbeddedRedis("state", tmp_path), EmbeddedRedis("state", tmp_path)
    await first.start()
    try:
        with pytest.raises(ConfigurationError) as refused:
            await second.start()
        assert str(os.getpid()) in refused.value.message
        assert "SEIKETSU_DATA_DIR" in refused.value.message
        await _set(first.url, "a", b"1")  # and the first one is none the worse
    finally:
        await first.stop()
    await second.start()
    await second.stop()


async def test_a_server_that_is_not_ours_is_never_taken_over(tmp_path: Path) -> None:
    where = socket_path(tmp_path, "state.sock")
    foreign = await asyncio.start_unix_server(lambda reader, writer: writer.close(), str(where))
    try:
        with pytest.raises(ConfigurationError, match="did not start"):
            await EmbeddedRedis("state", tmp_path).start()
        assert where.exists()
    finally:
        foreign.close()
        await foreign.wait_closed()


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    where = socket_path(tmp_path, "cache.sock")
    stale = await asyncio.start_unix_server(lambda reader, writer: writer.close(), str(where))
    stale.close()
    await stale.wait_closed()
    assert where.exists()
    server = EmbeddedRedis("cache", tmp_path)
    await server.start()
    await server.stop()


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(b"this is no append-only file\r\n" * 10)
    with pytest.raises(ConfigurationError, match=r"could not start: .*[Aa]ppend"):
        await EmbeddedRedis("state", tmp_path).start()


def test_the_server_dies_with_a_killed_owner_and_the_next_owner_takes_its_place(
    tmp_path: Path,
) -> None:
    program = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from core.embedded import EmbeddedRedis\n"
        "async def main():\n"
        "    server = EmbeddedRedis('state', Path(sys.argv[1]))\n"
        "    await server.start()\n"
        "    print(server.child.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner.stdout:
        pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()

    async def take_over() -> None:
        server = EmbeddedRedis("state", tmp_path)
        await server.start()
        await server.stop()

    try:
        asyncio.run(take_over())
        until = time.monotonic() + 2
        while _alive(pid):
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_stop_and_start_from_another_event_loop(redis_cache: EmbeddedRedis) -> None:
    await redis_cache.stop()
    assert not redis_cache.running
    await redis_cache.start()
    assert await _get(redis_cache.url, "nothing") is None


async def test_a_stopped_process_is_resumed_for_the_next_test(redis_cache: EmbeddedRedis) -> None:
    assert redis_cache.child is not None
    redis_cache.child.signal(signal.SIGSTOP)


async def test_after_a_stopped_process(redis_cache: EmbeddedRedis) -> None:
    assert await _get(redis_cache.url, "nothing") is None


def test_empty_addresses_become_the_places_of_our_own_servers(tmp_path: Path) -> None:
    settings = with_default_places(load_settings({"SEIKETSU_DATA_DIR": str(tmp_path)}))
    assert settings.redis.state_url == f"unix://{tmp_path}/state.sock"
    assert settings.redis.cache_url == f"unix://{tmp_path}/cache.sock"
    assert settings.voices.socket == f"{tmp_path}/voices.sock"
    given = {
        "REDIS_URL": "redis://a:1/0",
        "CACHE_REDIS_URL": "redis://b:1/0",
        "SEIKETSU_VOICE_SOCKET": "/run/v.sock",
    }
    assert with_default_places(load_settings(given)) == load_settings(given)
