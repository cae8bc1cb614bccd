"""Voice agents in the state database: conditions, owners, and what other processes see."""

from __future__ import annotations

import asyncio
import signal
import time

import msgspec
import pytest
from redis.asyncio import Redis

from core.agent_store import AgentStore, open_agent_store
from core.agents import DEFAULT_AGENTS, MAX_AGENTS, AgentSnapshot, VoiceAgent, languages_of
from core.embedded import EmbeddedRedis
from core.errors import (
    AgentChanged,
    AgentExists,
    InvalidRequest,
    StoreError,
    TooManyAgents,
    UnknownAgent,
    UnsupportedLanguage,
)
from core.redis import Keys
from core.runtime import Runtime
from core.speech import SpeechRequest
from tests.agents.conftest import away, within

ANA = VoiceAgent("ana", "Ana", "friendly_female", ("es", "en"), stability=0.4, speed=1.1)


async def voice_of(runtime: Runtime, agent_id: str = "agent_123") -> str:
    plan = await runtime.service.plan(SpeechRequest("t", "Hello.", agent_id))
    return plan.segments[0].attempts[0].voice


async def readings(redis: Redis) -> int:
    """How often a whole hash was read; asking for the mark is another command."""
    stats = await redis.info("commandstats")
    return int(stats["cmdstat_hgetall"]["calls"])


async def test_what_is_stored_is_read_as_it_was_written(
    store: AgentStore, other: AgentStore
) -> None:
    record, made = await store.put("t", ANA)
    assert made
    assert store.snapshot.record("t", "ana") == record
    await other.catch_up()
    assert other.snapshot.record("t", "ana") == record
    assert languages_of(other.snapshot.get("t", "ana"), None) == ("es", "en")
    with pytest.raises(UnsupportedLanguage):
        languages_of(other.snapshot.get("t", "ana"), "zh")


async def test_an_owner_never_sees_anothers_agents(store: AgentStore) -> None:
    await store.put("t", ANA)
    with pytest.raises(UnknownAgent):
        store.snapshot.get("u", "ana")
    with pytest.raises(UnknownAgent):
        await store.delete("u", "ana")
    assert store.snapshot.get("t", "ana") == ANA


async def test_revisions_grow_and_never_come_again(store: AgentStore) -> None:
    first, _ = await store.put("t", ANA)
    second, made = await store.put("t", ANA, frozenset({first.revision}))
    assert (made, second.revision > first.revision) == (False, True)
    await store.delete("t", "ana")
    third, made = await store.put("t", ANA, "absent")
    assert (made, third.revision > second.revision) == (True, True)


async def test_a_write_holds_to_what_it_expects(store: AgentStore, other: AgentStore) -> None:
    record, _ = await store.put("t", ANA, "absent")
    with pytest.raises(AgentExists):
        await other.put("t", ANA, "absent")
    with pytest.raises(AgentChanged):
        await other.put("t", ANA, frozenset({record.revision + 1}))
    with pytest.raises(AgentChanged):
        await other.put("t", ANA, frozenset())
    with pytest.raises(AgentChanged):
        await other.put("t", msgspec.structs.replace(ANA, id="new"), "present")
    with pytest.raises(AgentChanged):
        await other.delete("t", "ana", frozenset({record.revision + 10}))
    await other.put("t", ANA, frozenset({record.revision}))
    with pytest.raises(AgentChanged):
        await store.put("t", ANA, frozenset({record.revision}))


async def test_of_many_at_once_with_one_revision_one_wins(
    store: AgentStore, other: AgentStore
) -> None:
    record, _ = await store.put("t", ANA)
    expected = frozenset({record.revision})
    named = [msgspec.structs.replace(ANA, name=f"Ana {n}") for n in range(20)]
    done = await asyncio.gather(
        *((store, other)[n % 2].put("t", agent, expected) for n, agent in enumerate(named)),
        return_exceptions=True,
    )
    won = [result for result in done if not isinstance(result, BaseException)]
    assert len(won) == 1
    assert sum(isinstance(result, AgentChanged) for result in done) == 19
    await asyncio.gather(store.catch_up(), other.catch_up())
    assert store.snapshot.record("t", "ana") == other.snapshot.record("t", "ana") == won[0][0]


async def test_a_default_agent_is_there_until_it_is_changed_or_deleted(
    store: AgentStore, other: AgentStore
) -> None:
    assert store.snapshot.record("t", "agent_123").revision == 0
    changed = msgspec.structs.replace(DEFAULT_AGENTS[0], profile="casual_male")
    with pytest.raises(AgentExists):
        await store.put("t", changed, "absent")
    _, made = await store.put("t", changed, frozenset({0}))
    assert not made
    await store.delete("t", "agent_123")
    await other.catch_up()
    for one in (store, other):
        assert one.snapshot.of("t") == {}
        assert one.snapshot.get("u", "agent_123") == DEFAULT_AGENTS[0]
    with pytest.raises(UnknownAgent):
        await store.delete("t", "agent_123")
    _, made = await store.put("t", changed, "absent")
    assert made


async def test_an_untouched_default_can_be_deleted(store: AgentStore, other: AgentStore) -> None:
    await store.delete("t", "agent_123", frozenset({0}))
    await other.catch_up()
    assert other.snapshot.of("t") == {}


async def test_agents_are_counted_the_default_one_too(store: AgentStore, redis: Redis) -> None:
    body = b"1:" + msgspec.json.encode(ANA)
    key = Keys.agents("t")
    await redis.hset(key, mapping={f"a{n}": body for n in range(MAX_AGENTS - 2)})  # type: ignore[misc]
    last, _ = await store.put("t", msgspec.structs.replace(ANA, id="last"))
    with pytest.raises(TooManyAgents):
        await store.put("t", msgspec.structs.replace(ANA, id="over"))
    await store.put("t", last.agent, frozenset({last.revision}))
    await store.delete("t", "agent_123")
    await store.put("t", msgspec.structs.replace(ANA, id="over"))
    with pytest.raises(TooManyAgents):
        await store.put("t", DEFAULT_AGENTS[0])
    await store.put("u", ANA)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "a b"}, {"id": "a\n"}, {"id": ""}, {"id": "x" * 65}, {"id": "a:b"}, {"name": ""},
        {"name": "x" * 121}, {"name": "a\nb"}, {"profile": "bold_female"}, {"voice_id": "a/b"},
        {"voice_id": "../x"}, {"voice_id": ""}, {"stability": 1.01}, {"stability": -0.1},
        {"similarity_boost": 2.0}, {"style": -1.0}, {"speed": 0.69}, {"speed": 1.21},
        {"speed": float("nan")}, {"language_preferences": ()},
        {"language_preferences": ("en", "en")}, {"language_preferences": ("fr",)},
    ],
)  # fmt: skip
async def test_what_cannot_be_spoken_with_is_refused(
    store: AgentStore, redis: Redis, change: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequest):
        await store.put("t", msgspec.structs.replace(ANA, **change))
    assert await redis.keys() == []


async def test_without_the_database_reads_go_on_and_writes_say_so(
    store: AgentStore, redis_state: EmbeddedRedis
) -> None:
    await store.put("t", ANA)
    async with away(redis_state):
        for write in (store.put("t", ANA), store.delete("t", "ana"), store.refresh("t")):
            with pytest.raises(StoreError) as caught:
                await write
            assert caught.value.retryable
        assert store.snapshot.get("t", "ana") == ANA
    await store.put("t", msgspec.structs.replace(ANA, name="Again"))


async def test_one_that_cannot_be_read_leaves_the_others_alone(
    store: AgentStore, other: AgentStore, redis: Redis
) -> None:
    unreadable = {"broken": b"1:{", "future": b"1:{}"}
    await redis.hset(Keys.agents("t"), mapping=unreadable)  # type: ignore[misc]
    await store.put("t", ANA)
    await other.catch_up()
    assert set(other.snapshot.of("t")) == {"agent_123", "ana"}


async def test_only_what_changed_is_read_anew(
    store: AgentStore, other: AgentStore, redis: Redis
) -> None:
    for tenant in ("t", "u"):
        await store.put(tenant, ANA)
    await other.catch_up()
    untouched = other.snapshot.of("u")
    version = other.snapshot.version
    await store.catch_up()
    before = await readings(redis)
    await other.catch_up()
    assert await readings(redis) == before
    assert other.snapshot.version == version
    await store.put("t", msgspec.structs.replace(ANA, name="New"))
    await other.catch_up()
    assert other.snapshot.version > version
    assert other.snapshot.of("u") is untouched


async def test_the_same_script_sent_twice_counts_once(store: AgentStore) -> None:
    """A connection that breaks after the command is replaced and the command sent again."""
    mark = "m" * 16
    keys = [Keys.agents("t"), Keys.agents_mark(), Keys.agents_changed(), Keys.phrases("t", "ana")]
    args: list[str | bytes | int] = [
        "ana",
        "put",
        "absent",
        msgspec.json.encode(ANA),
        MAX_AGENTS,
        "t",
        mark,
        "agent_123",
    ]
    first = await store._write(keys=keys, args=[*args])
    again = await store._write(keys=keys, args=[*args])
    assert (first[0], first[1]) == (again[0], again[1]) == (b"done", 1)


async def test_a_process_that_starts_without_the_database_catches_up(
    redis: Redis, redis_state: EmbeddedRedis, store: AgentStore
) -> None:
    await store.put("t", ANA)
    await redis_state.stop()
    async with open_agent_store(redis, AgentSnapshot()) as late:
        assert late.snapshot.get("t", "agent_123") == DEFAULT_AGENTS[0]
        await redis_state.start()
        await within(2, lambda: "ana" in late.snapshot.of("t"))


async def test_a_database_that_lost_everything_gives_back_the_defaults(
    store: AgentStore, other: AgentStore, redis: Redis
) -> None:
    await store.put("t", ANA)
    await other.catch_up()
    await redis.flushall()
    for one in (store, other):
        await within(2, lambda one=one: set(one.snapshot.of("t")) == {"agent_123"})  # type: ignore[misc]


@pytest.mark.alone
async def test_a_frozen_database_holds_up_no_reader_and_a_writer_not_for_long(
    store: AgentStore, redis_state: EmbeddedRedis
) -> None:
    await store.put("t", ANA)
    assert redis_state.child is not None
    redis_state.child.signal(signal.SIGSTOP)
    began_s = time.monotonic()
    writes = [store.put("t", ANA) for _ in range(5)]
    done = asyncio.gather(*writes, return_exceptions=True)
    await asyncio.sleep(0.1)
    assert store.snapshot.get("t", "ana") == ANA
    assert all(isinstance(result, StoreError) for result in await done)
    assert time.monotonic() - began_s < 3
    redis_state.child.signal(signal.SIGCONT)
    await store.put("t", msgspec.structs.replace(ANA, name="Again"))


@pytest.mark.alone
async def test_another_process_speaks_with_a_changed_agent_within_a_second(
    two_runtimes: tuple[Runtime, Runtime], redis_state: EmbeddedRedis
) -> None:
    first, second = two_runtimes
    before = await voice_of(second)
    changed = msgspec.structs.replace(DEFAULT_AGENTS[0], profile="friendly_female")
    await first.agent_store.put("t", changed)
    after = await voice_of(first)
    assert after != before
    async with asyncio.timeout(1):
        while await voice_of(second) != after:
            await asyncio.sleep(0.01)
    await redis_state.stop()
    await redis_state.start()
    await second.agent_store.put("t", msgspec.structs.replace(changed, profile="casual_male"))
    async with asyncio.timeout(1):
        while await voice_of(first) == after:
            await asyncio.sleep(0.01)


@pytest.mark.alone
async def test_a_change_made_while_nobody_looked_is_seen_within_a_second(
    store: AgentStore, other: AgentStore, redis_state: EmbeddedRedis
) -> None:
    """No notification is sent that could be lost: `other` misses rounds and asks again."""
    async with away(redis_state):
        await asyncio.sleep(0.5)
    await store.put("t", ANA)
    await within(1, lambda: "ana" in other.snapshot.of("t"))
