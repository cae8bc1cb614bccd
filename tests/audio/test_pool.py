"""The threads of the codecs."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import pytest

from core.audio.pool import MOST_BEHIND, CodecPool


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def codec_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("codec")]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own there")
async def test_what_nobody_waits_for_gives_way() -> None:
    async with CodecPool() as pool:
        assert await pool.run(niceness) == niceness()
        assert await pool.run_behind(niceness) > niceness()


async def test_what_nobody_waits_for_holds_nobody_up() -> None:
    held = threading.Event()
    async with CodecPool() as pool:
        behind = [asyncio.create_task(pool.run_behind(held.wait, 10)) for _ in range(MOST_BEHIND)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await pool.run(sum, (1, 2)) == 3
        held.set()
        assert await asyncio.gather(*behind) == [True] * MOST_BEHIND


async def test_what_gives_way_does_not_pile_up() -> None:
    held = threading.Event()
    async with CodecPool() as pool:
        behind = [asyncio.create_task(pool.run_behind(held.wait, 10)) for _ in range(MOST_BEHIND)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await pool.run_behind(niceness) == niceness()
        held.set()
        await asyncio.gather(*behind)
        if sys.platform == "linux":
            assert await pool.run_behind(niceness) > niceness()


async def test_a_closed_pool_has_no_threads_and_takes_no_work() -> None:
    pool = CodecPool()
    with pytest.raises(RuntimeError, match="not open"):
        await pool.run_behind(niceness)
    pool.open()
    await pool.run(niceness)
    await pool.run_behind(niceness)
    assert len(codec_threads()) == 2
    await pool.aclose()
    assert codec_threads() == []
    with pytest.raises(RuntimeError, match="not open"):
        await pool.run(niceness)
