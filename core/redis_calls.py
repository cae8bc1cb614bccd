"""Calls of one Lua script by many callers at once.

What is asked while round trips are under way goes together in the next one: under load a call takes
a third of the work of a round trip of its own, and otherwise no longer than one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

_AT_ONCE: Final = 256
"""Calls in one round trip."""
_ROUND_TRIPS: Final = 3
"""At the same time: while one is answered the next is packed."""
_AT_ONCE_BYTES: Final = 64 * 1024
"""Of their arguments; a larger call goes alone."""

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
        self._waiting: deque[_Call] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, key: str, args: Args) -> Any:
        """What the script answers. Whoever leaves before it was sent has asked for nothing.

        Raises:
            OSError: the database did not answer in time, or these calls were ended; it may have run
                the script all the same.
            RedisError: the script failed.
        """
        call = _Call(key, args, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if len(self._tasks) < _ROUND_TRIPS:
            task = asyncio.create_task(self._call_all(), name="redis-calls")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await call.answer

    async def aclose(self) -> None:
        """Send nothing more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _call_all(self) -> None:
        calls: list[_Call] = []
        try:
            while calls := self._next():
                for call, answer in zip(calls, await self._answers(calls), strict=True):
                    if call.answer.done():
                        continue  # nobody waits for it any more
                    if isinstance(answer, Exception):
                        call.answer.set_exception(answer)
                    else:
                        call.answer.set_result(answer)
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._tasks.discard(task)  # before its callback: a call may come in between
            left = [*calls, *self._waiting]
            self._waiting.clear()
            for call in left:
                if not call.answer.done():
                    call.answer.set_exception(OSError("The calls were ended."))

    def _next(self) -> list[_Call]:
        calls: list[_Call] = []
        left_bytes = _AT_ONCE_BYTES
        while self._waiting and len(calls) < _AT_ONCE:
            if self._waiting[0].answer.done():
                self._waiting.popleft()  # nobody waits for it any more
                continue
            left_bytes -= sum(_size(value) for value in self._waiting[0].args)
            if calls and left_bytes < 0:
                break
            calls.append(self._waiting.popleft())
        return calls

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


def _size(value: bytes | memoryview | str | float) -> int:
    return len(value) if isinstance(value, bytes | memoryview | str) else 8
