"""The `seiketsu` command, which says on SIGUSR2 how much memory is in use.

What the system counts for a process has holes in it that its allocators keep for later, a megabyte
or two: as much as some dozens of sessions hold. This is what is held, to the byte.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import re
import signal
import sys
from types import FrameType
from typing import Any, Final

from benchmarks.stack import Stack
from gateway.cli import main

_TOLD: Final = re.compile(
    rb"^# bytes in allocated blocks +=\s*([\d,]+)\n(?:.*\n)*?in_use_beside_them=(\d+)\n",
    re.MULTILINE,
)
_PATIENCE_S: Final = 5.0

_mallinfo2: Final[Any] = getattr(ctypes.CDLL(None), "mallinfo2", None)
CAN_TELL: Final = _mallinfo2 is not None
"""Whether the C library counts what it has given out: glibc from 2.33 on."""


EXACTLY: Final = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
"""To be set for it: what each thread keeps of what it freed would be counted as in use."""


class _Counted(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _tell(_number: int, _frame: FrameType | None) -> None:
    gc.collect()
    _mallinfo2.restype = _Counted
    counted = _mallinfo2()
    sys._debugmallocstats()  # small objects: of their bytes the C library knows nothing
    os.write(2, f"\nin_use_beside_them={counted.uordblks + counted.hblkhd}\n".encode())


async def bytes_in_use(stack: Stack) -> int:
    """Of the gateway of a stack that was opened with this module as its command."""
    told = len(_TOLD.findall(stack.log.read_bytes()))
    os.kill(stack.gateway_pid, signal.SIGUSR2)
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            found = _TOLD.findall(stack.log.read_bytes())
            if len(found) > told:
                small, others = found[-1]
                return int(small.replace(b",", b"")) + int(others)
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, _tell)
    sys.exit(main())
