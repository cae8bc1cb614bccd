"""Signs of life of a gateway process: a byte a second on a pipe, read by who started it."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final

BEAT_S: Final = 1.0
HUNG_S: Final = 20.0
"""A process whose event loop was not heard of for so long answers nobody: it is replaced."""


_LATE_S: Final = 1.0
"""A sleep may end this much late on a busy machine."""


class Beats:
    """The writing end, in the process itself. The first beat says that it takes requests."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._next_s = 0.0

    def beat(self) -> None:
        """Called more often than a second; writes when it is time."""
        now_s = time.monotonic()
        if now_s < self._next_s or self._descriptor < 0:
            return
        self._next_s = now_s + BEAT_S
        try:
            os.write(self._descriptor, b"1")
        except BlockingIOError:
            return  # enough of them wait to be read
        except OSError:
            self.close()  # nobody reads them any more

    def close(self) -> None:
        """The process is going to end, which is seen otherwise; calling it again does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Pulse:
    """The reading end. Close it with `close()`."""

    def __init__(self, descriptor: int, *, hung_s: float = HUNG_S) -> None:
        """Owns the descriptor; needs a running event loop."""
        self._hung_s = hung_s
        self._look_s = hung_s / 8
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._changed = asyncio.Event()
        self._heard = 0
        self._open = True
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    async def first(self, within_s: float) -> bool:
        """Whether there was a beat before the pipe was closed or the time was over."""
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return self._heard > 0

    async def stopped(self) -> None:
        """Wait until nothing was heard for `hung_s`; for ever where the other end was closed, since
        the end of the process itself tells that."""
        silent_s = 0.0
        while silent_s < self._hung_s:
            if not self._open:
                await asyncio.get_running_loop().create_future()
            heard, began_s = self._heard, time.monotonic()
            await asyncio.sleep(self._look_s)
            lasted_s = time.monotonic() - began_s
            # Where this process stood still, so did the other: paused together, both go on.
            stood_still = lasted_s > 2 * self._look_s + _LATE_S
            silent_s = 0.0 if self._heard != heard or stood_still else silent_s + lasted_s

    def close(self) -> None:
        """Read no more; calling it again does nothing."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self._open = False

    def _read(self) -> None:
        try:
            beats = os.read(self._descriptor, 4096)
        except BlockingIOError:
            return
        if beats:
            self._heard += len(beats)
        else:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._open = False
        self._changed.set()
