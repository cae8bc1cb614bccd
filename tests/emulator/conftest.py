"""One emulator per test module, as a process on a real port; faults and calls cleared between."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from benchmarks.emulator.process import EmulatorProcess

KEY = "test-key"
RACHEL = "21m00Tcm4TlvDq8ikWAM"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[EmulatorProcess]:
    async with EmulatorProcess(
        *("--audio", "coded", "--latency", "none", "--key", KEY, "--concurrency", "20"),
        *("--close-ms", "20"),
    ) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def emulator(running: EmulatorProcess) -> EmulatorProcess:
    await running.clear_faults()
    await running.clear_calls()
    await running.clear_sockets()
    return running


@pytest_asyncio.fixture(loop_scope="module")
async def http(emulator: EmulatorProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"xi-api-key": KEY}) as session:
        yield session
