"""Threads for codec work that would hold up the event loop.

lameenc, PyAV and soxr release the GIL while they compute, so threads are enough and share the
process' memory; pure Python work does not belong here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class CodecPool:
    """A few threads, begun by `open()` (or `async with`) and ended by `aclose()`.

    Its queue is as long as there are callers: each encoder has one piece under way at most.
    """

    def __init__(self, threads: int = 2) -> None:
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Be ready for work; threads start when first needed."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="codec")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function`'s result, computed in a thread.

        When the caller is cancelled, work that has not begun is dropped and work that has runs to
        its end unheard: what it uses must not be used again.

        Raises:
            RuntimeError: the pool is not open.
        """
        if self._executor is None:
            raise RuntimeError("The codec pool is not open.")
        future = self._executor.submit(function, *args, **kwargs)
        return await asyncio.wrap_future(future)

    async def aclose(self) -> None:
        """Wait for work under way (pieces of some ms) and end the threads."""
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.to_thread(executor.shutdown, wait=True)

    async def __aenter__(self) -> CodecPool:
        self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
