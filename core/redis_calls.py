"""Calls of one Lua script by many callers at once.

What is asked while a round trip is under way goes together in the next one: under load a call takes
a third of the work of a round trip of its own, and otherwise no longer than one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

_AT_ONCE: Final = 256
"""Calls in one round trip."""

Args = Sequence[bytes | memoryview | str | int | float]


class _Call(NamedTuple):
    key: str
    args: Args
    answer: asyncio.Future[Any]


class ScriptCalls:
    """One script of one database. `within_s` bounds a round trip."""

    def __init__(self, redis: Redis, source: str, within_s: float) -> None:
        self._redis = redis
        self._script = redis.register_script(source)
        self._within_s = within_s
        self._waiting: list[_Call] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, key: str, args: Args) -> Any:
        """What the script answers; waits for two round trips at the most.

        Raises:
            OSError: the database did not answer in time; it may have run the script all the same.
            RedisError: the script failed.
        """
        call = _Call(key, args, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._task is None:
            self._task = asyncio.create_task(self._call_all(), name="redis-calls")
        return await call.answer

    async def _call_all(self) -> None:
        calls: list[_Call] = []
        try:
            while self._waiting:
                calls, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                for call, answer in zip(calls, await self._answers(calls), strict=True):
                    if call.answer.done():
                        continue  # nobody waits for it any more
                    if isinstance(answer, Exception):
                        call.answer.set_exception(answer)
                    else:
                        call.answer.set_result(answer)
        finally:
            self._task = None
            left, self._waiting = [*calls, *self._waiting], []
            for call in left:
                if not call.answer.done():
                    call.answer.set_exception(OSError("The calls were ended."))

    async def _answers(self, calls: Sequence[_Call]) -> list[Any]:
        try:
            async with asyncio.timeout(self._within_s):
                answers = await self._round_trip(calls)
                unknown = [
                    at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)
                ]
                if unknown:
                    await self._redis.script_load(self._script.script)
                    again = await self._round_trip([calls[at] for at in unknown])
                    for at, answer in zip(unknown, again, strict=True):
                        answers[at] = answer
                return answers
        except (RedisError, OSError) as error:
            return [OSError(f"{type(error).__name__}: {error}") for _ in calls]

    async def _round_trip(self, calls: Sequence[_Call]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for call in calls:
            pipe.execute_command("EVALSHA", self._script.sha, 1, call.key, *call.args)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers
