"""What holds the gateway processes of one `serve`, with children that do as they are told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.settings import load_settings
from gateway.processes import Processes
from gateway.pulse import Beats, Pulse
from gateway.server import open_listener

# Arguments: --fd N --ready-fd M; each start leaves a file named by its process.
_CHILD = """
import os, signal, sys, time
folder, beats = sys.argv[1], int(sys.argv[2])
ready = int(sys.argv[sys.argv.index("--ready-fd") + 1])
slow = os.path.exists(os.path.join(folder, "slow"))
signal.signal(signal.SIGUSR1, lambda *_: None)
ends = None
def end(*_):
    global ends
    open(os.path.join(folder, f"{os.getpid()}.asked"), "a").write("x")
    ends = ends or time.monotonic() + 0.15
signal.signal(signal.SIGTERM, end)
open(os.path.join(folder, f"{os.getpid()}.started"), "w").close()
time.sleep(0.5 if slow else 0)
os.write(ready, b"1")
while ends is None or time.monotonic() < ends:
    time.sleep(0.05)
    if beats:
        os.write(ready, b"1")
"""


@asynccontextmanager
async def _held(folder: Path, *, count: int, beats: bool) -> AsyncIterator[asyncio.Task[int]]:
    settings = load_settings({"SEIKETSU_DATA_DIR": str(folder), "SEIKETSU_DRAIN_NOTICE": "0"})
    command = (sys.executable, "-c", _CHILD, str(folder), str(int(beats)))
    with open_listener("127.0.0.1", 0) as listener:
        environ = {"PATH": os.environ["PATH"]}
        processes = Processes(settings, environ, listener, count, command=command, hung_s=0.4)
        running = asyncio.create_task(processes.run())
        try:
            yield running
        finally:
            if not running.done():
                os.kill(os.getpid(), signal.SIGTERM)
            assert await asyncio.wait_for(running, 5) == 0


async def _until(folder: Path, kind: str, count: int) -> set[int]:
    async with asyncio.timeout(8):
        while len(found := {int(p.stem) for p in folder.glob(f"*.{kind}")}) < count:
            await asyncio.sleep(0.01)
        return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_process_that_hangs_is_replaced(tmp_path: Path) -> None:
    async with _held(tmp_path, count=1, beats=False):
        first = await _until(tmp_path, "started", 1)
        await _until(tmp_path, "started", 2)
        assert not any(_lives(pid) for pid in first)


async def test_one_that_gives_signs_of_life_stays(tmp_path: Path) -> None:
    async with _held(tmp_path, count=1, beats=True):
        await _until(tmp_path, "started", 1)
        await asyncio.sleep(1.6)
        assert len(await _until(tmp_path, "started", 1)) == 1


@pytest.mark.parametrize("after_s", [0.05, 0.3, 0.7])
async def test_ending_while_processes_are_replaced_asks_each_once(
    tmp_path: Path, after_s: float
) -> None:
    async with _held(tmp_path, count=2, beats=True) as running:
        await _until(tmp_path, "started", 2)
        await asyncio.sleep(0.2)
        (tmp_path / "slow").touch()
        os.kill(os.getpid(), signal.SIGHUP)
        await _until(tmp_path, "started", 3)
        await asyncio.sleep(after_s)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(running, 5) == 0
    assert not any(_lives(pid) for pid in await _until(tmp_path, "started", 3))
    asked = [path.read_text() for path in tmp_path.glob("*.asked")]
    assert len(asked) >= 2
    assert set(asked) == {"x"}


async def test_what_was_paused_together_goes_on_together(tmp_path: Path) -> None:
    """A container that is paused for longer than a process may be silent."""
    reading, writing = os.pipe()
    pulse, beats = Pulse(reading, hung_s=0.4), Beats(writing)
    try:
        beats.beat()
        assert await pulse.first(1.0)
        stopped = asyncio.create_task(pulse.stopped())
        await asyncio.sleep(0.1)
        time.sleep(1.5)  # noqa: ASYNC251 - nothing of this process runs meanwhile
        done, _ = await asyncio.wait([stopped], timeout=0.25)
        assert not done
        # Afterwards silence counts as before.
        await asyncio.wait_for(stopped, 2.0)
    finally:
        pulse.close()
        beats.close()


async def test_signs_of_life_that_nobody_reads_harm_nobody() -> None:
    reading, writing = os.pipe()
    beats = Beats(writing)
    os.close(reading)
    beats.beat()
    beats.beat()
