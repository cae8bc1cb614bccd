"""Threads for codec work that would hold up the event loop.

lameenc, PyAV and soxr release the GIL while they compute, so threads are enough and share the
process' memory; pure Python work does not belong here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

GIVES_WAY: Final = 5
"""Niceness of the thread for what nobody waits for, over the process's own: where a core is short
it gets a quarter of it, and the event loop three."""
MOST_BEHIND: Final = 4
"""Tasks that may wait for it. What comes on top does not give way: its audio is held until then."""


class CodecPool:
    """A few threads, begun by `open()` (or `async with`) and ended by `aclose()`.

    Its queue is as long as there are callers: each encoder has one piece under way at most.
    """

    def __init__(self, threads: int = 2) -> None:
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._behind: ThreadPoolExecutor | None = None
        self._waiting_behind = 0

    def open(self) -> None:
        """Be ready for work; threads start when first needed."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="codec")
            self._behind = ThreadPoolExecutor(
                1, thread_name_prefix="codec-behind", initializer=_give_way
            )

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function`'s result, computed in a thread.

        When the caller is cancelled, work that has not begun is dropped and work that has runs to
        its end unheard: what it uses must not be used again.

        Raises:
            RuntimeError: the pool is not open.
        """
        return await _run(self._executor, function, *args, **kwargs)

    async def run_behind(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, for what no listener waits for: in a thread that gives way to the others, as
        long as it keeps up."""
        if self._waiting_behind >= MOST_BEHIND:
            return await self.run(function, *args, **kwargs)
        self._waiting_behind += 1
        try:
            return await _run(self._behind, function, *args, **kwargs)
        finally:
            self._waiting_behind -= 1

    async def aclose(self) -> None:
        """Wait for what was given to the threads, and end them."""
        executors = (self._executor, self._behind)
        self._executor = self._behind = None
        ending = (asyncio.to_thread(one.shutdown) for one in executors if one is not None)
        await asyncio.gather(*ending)

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


async def _run(
    executor: ThreadPoolExecutor | None,
    function: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    if executor is None:
        raise RuntimeError("The codec pool is not open.")
    return await asyncio.wrap_future(executor.submit(function, *args, **kwargs))


def _give_way() -> None:
    if sys.platform == "linux":  # elsewhere threads have no niceness of their own
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            thread = threading.get_native_id()
            own = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(19, own + GIVES_WAY))
