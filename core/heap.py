"""Memory of a long-running process: what the garbage collector looks at, and what is given back.

glibc keeps what was freed below the top of a heap. After a busy minute that is tens of MB that no
other program can use, and the process looks as if it had leaked them. `malloc_trim` gives them back
in about 0.1 ms per MB, in a thread and without the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

YOUNG_OBJECTS: Final = 5_000
"""So many more objects than before make a garbage collection of the young ones. With Python's 700
each reply is interrupted by several."""

_malloc_trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""None where the C library has no such thing."""


def settle() -> None:
    """To be called once everything is loaded: the garbage collector leaves that alone from now on,
    a hundred thousand objects that would hold up the event loop in every full collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


@asynccontextmanager
async def trimmed(every_s: float) -> AsyncIterator[None]:
    """While the block runs, free memory goes back every so many seconds; 0: never."""
    if not every_s or _malloc_trim is None:
        yield
        return
    task = asyncio.create_task(_trim(_malloc_trim, every_s), name="heap-trim")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _trim(malloc_trim: Callable[[int], int], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(malloc_trim, 0)
