"""The `seiketsu` command, which says on SIGUSR2 what its event loop has to do.

It writes a line of JSON to its output: the names of the loop's tasks, so that somebody in another
process can tell whether any was left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from types import FrameType
from typing import Final

from benchmarks.stack import Stack
from gateway.cli import main

_FIELD: Final = "tasks_of_the_loop"
_PATIENCE_S: Final = 5.0


def _tell(_number: int, _frame: FrameType | None) -> None:
    names = sorted(f"{task.get_name()} {_code_of(task)}" for task in asyncio.all_tasks())
    # What else writes may be interrupted in its middle: no buffer of the interpreter's.
    os.write(sys.stdout.fileno(), f"\n{json.dumps({_FIELD: names})}\n".encode())


def _code_of(task: asyncio.Task[object]) -> str:
    """The name of its coroutine, without the numbers that are different every time."""
    return getattr(task.get_coro(), "__qualname__", "")


async def tasks_of(stack: Stack) -> list[str]:
    """The tasks of the gateway of a stack that was opened with this module as its command."""
    output = stack.log
    told = output.read_bytes().count(_FIELD.encode())
    os.kill(stack.gateway_pid, signal.SIGUSR2)
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            lines = [line for line in output.read_bytes().splitlines() if _FIELD.encode() in line]
            if len(lines) > told:
                names: list[str] = json.loads(lines[-1])[_FIELD]
                return names
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, _tell)
    sys.exit(main())
