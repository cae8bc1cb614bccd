"""Calls of one script by many callers, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from core.embedded import EmbeddedRedis
from core.redis import open_redis
from core.redis_calls import ScriptCalls

ADD = """
if ARGV[1] == 'fail' then return redis.error_reply('ERR told to') end
return redis.call('INCRBY', KEYS[1], ARGV[1])
"""


@pytest.fixture
async def redis(redis_state: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = open_redis(redis_state.url, timeout_s=2.0, max_connections=16)
    yield client
    await client.aclose()


async def reads_of(redis: Redis) -> int:
    return int((await redis.info("stats"))["total_reads_processed"])


async def test_every_caller_gets_its_own_answer(redis: Redis) -> None:
    add = ScriptCalls(redis, ADD, 1.0)
    answers = await asyncio.gather(*(add(f"k{at}", [at]) for at in range(600)))
    assert answers == list(range(600))
    assert await redis.get("k599") == b"599"


async def test_what_is_asked_at_once_goes_together(redis: Redis) -> None:
    add = ScriptCalls(redis, ADD, 1.0)
    await add("k", [1])  # the script is known from here on
    before = await reads_of(redis)
    await asyncio.gather(*(add("k", [1]) for _ in range(100)))
    assert await redis.get("k") == b"101"
    assert await reads_of(redis) - before <= 8


async def test_a_script_that_was_forgotten_is_told_again(redis: Redis) -> None:
    add = ScriptCalls(redis, ADD, 1.0)
    await add("k", [1])
    await redis.script_flush()
    again = [asyncio.create_task(add("k", [1])) for _ in range(2)]
    assert [await task for task in again] == [2, 3]


async def test_a_call_that_fails_costs_the_others_nothing(redis: Redis) -> None:
    add = ScriptCalls(redis, ADD, 1.0)
    asked = (["fail"] if at == 1 else [1] for at in range(3))
    answers = await asyncio.gather(*(add("k", args) for args in asked), return_exceptions=True)
    assert answers[0] == 1
    assert answers[2] == 2
    assert isinstance(answers[1], ResponseError)


async def test_who_leaves_costs_the_others_nothing(redis: Redis) -> None:
    add = ScriptCalls(redis, ADD, 1.0)
    calls = [asyncio.create_task(add("k", [1])) for _ in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    await asyncio.wait(calls)
    assert calls[0].result() + calls[2].result() in (3, 4)
    assert calls[1].cancelled()


async def test_what_nobody_waits_for_any_more_is_not_sent(redis: Redis) -> None:
    add = ScriptCalls(redis, ADD, 0.4)
    await add("k", [1])
    await redis.client_pause(300, all=True)
    calls = [asyncio.create_task(add("k", [1])) for _ in range(1000)]
    await asyncio.sleep(0.05)
    under_way = 3 * 256
    for call in calls[under_way:]:
        call.cancel()
    await asyncio.wait(calls)
    await asyncio.sleep(0.4)
    assert int(await redis.get("k") or 0) <= 1 + under_way


async def test_large_calls_go_a_few_at_a_time(redis: Redis) -> None:
    add = ScriptCalls(redis, ADD, 2.0)
    await add("k", [1])
    loop = asyncio.get_running_loop()
    longest_s, ended = 0.0, False

    async def look() -> None:
        nonlocal longest_s
        while not ended:
            began_s = loop.time()
            await asyncio.sleep(0)
            longest_s = max(longest_s, loop.time() - began_s)

    looking = asyncio.create_task(look())
    large = b"x" * 30_000
    answers = await asyncio.gather(*(add(f"k{at}", [1, large]) for at in range(500)))
    ended = True
    await looking
    assert answers == [1] * 500
    assert longest_s < 0.25, "15 MB packed at once would hold everybody up"


async def test_a_database_that_is_silent_is_an_error_in_time(redis: Redis) -> None:
    add = ScriptCalls(redis, ADD, 0.2)
    await add("k", [1])
    await redis.client_pause(600, all=True)
    began = asyncio.get_running_loop().time()
    results = await asyncio.gather(*(add("k", [1]) for _ in range(3)), return_exceptions=True)
    assert asyncio.get_running_loop().time() - began < 0.5
    assert all(isinstance(result, OSError) for result in results)
    await asyncio.sleep(0.6)
    assert isinstance(await add("k", [1]), int)


def tasks() -> int:
    return sum(task.get_name() == "redis-calls" for task in asyncio.all_tasks())


@pytest.mark.parametrize("asked", [1, 50])
async def test_no_task_is_left(redis: Redis, asked: int) -> None:
    add = ScriptCalls(redis, ADD, 1.0)
    await asyncio.gather(*(add("k", [1]) for _ in range(asked)))
    await asyncio.sleep(0)
    assert tasks() == 0


async def test_closing_ends_what_is_under_way(redis: Redis) -> None:
    add = ScriptCalls(redis, ADD, 5.0)
    await add("k", [1])
    await redis.client_pause(300, all=True)
    calls = [asyncio.create_task(add("k", [1])) for _ in range(600)]
    await asyncio.sleep(0.05)
    await add.aclose()
    assert tasks() == 0
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, OSError) for result in results)


async def test_calls_one_after_another_are_all_answered(redis: Redis) -> None:
    add = ScriptCalls(redis, ADD, 1.0)

    async def several() -> list[int]:
        return [await add("k", [1]) for _ in range(50)]

    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(several() for _ in range(20)))
    assert sorted(answer for some in answers for answer in some) == list(range(1, 1001))
