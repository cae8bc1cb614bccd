"""The open sessions of every process, as the others see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from core import cluster_sessions
from core.analytics.recorder import Recorder
from core.cluster import Cluster, Look
from core.conversation.registry import Connection, SessionRegistry
from core.embedded import EmbeddedRedis
from core.redis import open_redis


@pytest.fixture
async def redis(redis_state: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = open_redis(redis_state.url, timeout_s=1, max_connections=4)
    yield client
    await client.aclose()


class Process:
    """A gateway process, as far as the others see it."""

    def __init__(self, redis: Redis) -> None:
        self.sessions = SessionRegistry(max_sessions=50_000, max_per_key=50_000)
        self.cluster = Cluster(redis, Recorder(), self.sessions)
        self.name = self.cluster.own().name

    @contextmanager
    def open(
        self, numbers: Iterable[int], tenant: str = "t", *, takes_over: bool = False
    ) -> Iterator[list[Connection]]:
        with ExitStack() as opened:
            made = [Connection(f"s{n}", tenant, "", "agent_123", "en", float(n)) for n in numbers]
            for one in made:
                opened.enter_context(self.sessions.enter(one, takes_over=takes_over))
            yield made


def ids(look: Look) -> list[str]:
    return [session.session_id for _, session in look.sessions]


async def commands(redis: Redis) -> dict[str, int]:
    """How often each command was carried out."""
    info = await redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): told["calls"] for name, told in info.items()}


async def test_every_session_of_every_process_is_listed_the_newest_first(redis: Redis) -> None:
    watcher, first, second = Process(redis), Process(redis), Process(redis)
    with watcher.open([9000]), first.open(range(1200)), second.open(range(2000, 3100)):
        await first.cluster.tell()
        await second.cluster.tell()
        look = await watcher.cluster.look("t")
    assert [one.active_sessions for one in look.processes] == [1, 1100, 1200]
    by_process: dict[str, list[str]] = {}
    for name, session in look.sessions:
        by_process.setdefault(name, []).append(session.session_id)
    assert by_process == {
        watcher.name: ["s9000"],
        second.name: [f"s{n}" for n in reversed(range(2000, 3100))],
        first.name: [f"s{n}" for n in reversed(range(1200))],
    }
    assert not look.truncated


async def test_only_what_has_changed_is_written(redis: Redis) -> None:
    watcher, process = Process(redis), Process(redis)
    with process.open(range(50)) as many:
        with process.open([77]):
            await process.cluster.tell()
        many[3].asked()
        many[3].asked()
        many[4].configured("agent_es", "es")
        (key,) = [key async for key in redis.scan_iter(match="sk1:t:sessions:*")]
        sent = await _fields_written(redis, process)
        assert sent == {"hset": 2, "hdel": 1}
        assert await _fields_written(redis, process) == {}
        assert await redis.ttl(key) == 5
        look = await watcher.cluster.look("t")
        told = {session.session_id: session for _, session in look.sessions}
        assert len(told) == 50
        assert (told["s3"].requests, told["s5"].requests) == (2, 0)
        assert (told["s4"].voice_agent_id, told["s4"].language) == ("agent_es", "es")
    await process.cluster.tell()
    assert not await redis.exists(key)


async def _fields_written(redis: Redis, process: Process) -> dict[str, int]:
    """How many fields one `tell` writes and takes away, as Redis sees its commands."""
    seen: dict[str, int] = {}
    async with redis.monitor() as monitor:
        await process.cluster.tell()
        await redis.echo("over")
        async with asyncio.timeout(5):
            while True:
                words = (await monitor.next_command())["command"].split(" ")
                if words[0].lower() == "echo":
                    return seen
                if words[0].lower() in ("hset", "hdel"):
                    count = (len(words) - 2) // (2 if words[0].lower() == "hset" else 1)
                    seen[words[0].lower()] = seen.get(words[0].lower(), 0) + count


@pytest.mark.parametrize("lost", ["expired", "set back", "not reached", "refused"])
async def test_what_was_lost_is_written_anew(
    redis: Redis, redis_state: EmbeddedRedis, lost: str
) -> None:
    watcher, process = Process(redis), Process(redis)
    with process.open(range(30)) as many:
        with process.open([99]):
            await process.cluster.tell()
            (key,) = [key async for key in redis.scan_iter(match="sk1:t:sessions:*")]
            held = await redis.dump(key)
        many[0].asked()
        if lost == "expired":
            await redis.delete(key)
        if lost == "refused":
            await redis.set(key, "of another kind")
            with pytest.raises(ResponseError):
                await process.cluster.tell()
        if lost == "not reached":
            await redis_state.stop()
            with pytest.raises(RedisError):
                await process.cluster.tell()
            await redis_state.start()
        await process.cluster.tell()
        if lost == "set back":  # as a restart does that has lost the last second
            await redis.restore(key, 5000, held, replace=True)
            assert "s99" in ids(await watcher.cluster.look("t"))
            await process.cluster.tell()
        look = await watcher.cluster.look("t")
        assert sorted(ids(look)) == sorted(f"s{n}" for n in range(30))
        assert max(session.requests for _, session in look.sessions) == 1


async def test_a_tenant_sees_its_own_sessions_and_reads_no_others(redis: Redis) -> None:
    watcher, process = Process(redis), Process(redis)
    with process.open(range(40), "acme"), process.open([7], "other"), watcher.open([8], "acme"):
        await process.cluster.tell()
        look = await watcher.cluster.look("other")
        assert ids(look) == ["s7"]
        assert [one.active_sessions for one in look.processes] == [1, 41]
        keys = [key async for key in redis.scan_iter(match="sk1:*:sessions:*")]
        assert {key.split(b":")[1] for key in keys} == {b"acme", b"other"}
        await process.cluster.leave()
        assert [key async for key in redis.scan_iter(match="sk1:*:sessions:*")] == []


async def test_a_look_takes_two_round_trips_and_its_list_is_bounded(redis: Redis) -> None:
    watcher, process, full = Process(redis), Process(redis), Process(redis)
    with process.open(range(1000)):
        await process.cluster.tell()
        before = await commands(redis)
        assert len((await watcher.cluster.look("t")).sessions) == 1000
        after = await commands(redis)
        assert after["hscan"] - before.get("hscan", 0) == 1
        assert after["mget"] - before.get("mget", 0) == 1
        with full.open(range(cluster_sessions.MOST_LISTED - 500)):
            await full.cluster.tell()
            look = await watcher.cluster.look("t")
            own = await full.cluster.look("t")
    assert len(look.sessions) == len(own.sessions) == cluster_sessions.MOST_LISTED
    assert look.truncated
    assert own.truncated
    assert len({(name, one.session_id) for name, one in look.sessions}) == len(look.sessions)
    assert sum(one.active_sessions for one in look.processes) == 10_500


async def test_a_session_taken_over_within_its_process_stays_listed(redis: Redis) -> None:
    watcher, process = Process(redis), Process(redis)
    with ExitStack() as newer:
        with process.open([1]):
            await process.cluster.tell()
            newer.enter_context(process.open([1], takes_over=True))
        await process.cluster.tell()
        assert ids(await watcher.cluster.look("t")) == ["s1"]
