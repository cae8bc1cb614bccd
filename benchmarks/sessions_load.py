"""The load of many sessions on one gateway process, and what it cost that process."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import psutil

from benchmarks.scenarios import body_of, speak_all
from benchmarks.sessions_client import Talker, Turn
from benchmarks.sessions_mix import COMMON, FORMATS, fresh_texts, talks
from benchmarks.stack import Stack, open_stack
from core.conversation.journal_store import RENEW_S, RESUME_S

EMULATOR: Final = (
    *("--audio", "coded", "--latency", "flash", "--concurrency", "60"),
    *("--credits", "1000000000"),
)
MEMORY_BYTES: Final = 64 * 1024 * 1024
"""Of the gateway's cache in memory: full before its own memory is measured."""
FILLING_TEXTS: Final = 1_200
"""So many fresh texts fill it, and every other cache of a fixed size."""
ENVIRONMENT: Final = {
    "ELEVEN_LABS_PLAN": "enterprise",
    "SEIKETSU_MAX_REQUESTS": "1000",
    "SEIKETSU_MEMORY_CACHE_BYTES": str(MEMORY_BYTES),
    "SEIKETSU_TRIM_EVERY": "10",
}
_OPENING: Final = 50
"""Handshakes at once."""
_LAST_S: Final = 15.0
"""How long turns may still go on after the last one was asked."""
_QUIET_S: Final = 12.0
"""Until memory is measured: what is free has gone back to the system by then."""


class Load(msgspec.Struct, frozen=True):
    """What is to be run."""

    sessions: int
    seconds: float
    seed: int = 5
    memory: bool = True
    """Whether memory is measured. The gateway's cache is filled before, so that its growth is not
    counted as the sessions'."""
    coded: bool = True
    """Whether the provider speaks the word code."""


class Found(msgspec.Struct):
    """What a run found."""

    turns: list[Turn] = msgspec.field(default_factory=list)
    faults: list[str] = msgspec.field(default_factory=list)
    """What went wrong outside of turns: errors without an utterance, sessions that ended."""
    pinned: bool = False
    """Whether the gateway had a core of its own."""
    seconds: float = 0.0
    gateway_cpu_s: float = 0.0
    gateway_queued_s: float = 0.0
    """Time in which its event loop had work and got no core: other programs had it."""
    load_cpu_s: float = 0.0
    """Of the generator."""
    rss_before: int = 0
    rss_quiet: int = 0
    """All sessions open, none has spoken."""
    rss_idle: int = 0
    """All sessions open, none speaks any more."""


async def run(load: Load) -> Found:
    """Start an installation, hold the sessions, end it all."""
    async with open_installation(load.seed) as (stack, pinned):
        return await run_on(stack, load, pinned=pinned)


@asynccontextmanager
async def open_installation(seed: int = 5) -> AsyncIterator[tuple[Stack, bool]]:
    """What many sessions are held on, and whether the gateway has a core for itself: where there
    are several it has the first, and this process with all that it starts has the others."""
    cores = sorted(os.sched_getaffinity(0))
    pinned = len(cores) > 1
    if pinned:
        _pin(0, cores[1:])  # everything started from here on inherits it
    try:
        emulator = (*EMULATOR, "--seed", str(seed))
        async with open_stack(emulator=emulator, env=ENVIRONMENT) as stack:
            if pinned:
                _pin(stack.gateway_pid, cores[:1])
            yield stack, pinned
    finally:
        _pin(0, cores)


async def run_on(stack: Stack, load: Load, *, pinned: bool = False) -> Found:
    """Hold the sessions against an installation that runs."""
    found = Found(pinned=pinned)
    await _warm(stack, load)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        await _hold(stack, http, load, found)
    return found


async def _warm(stack: Stack, load: Load) -> None:
    """Speak what is common once in each format, and fill the gateway's cache."""
    bodies = [
        body_of(text, language=language, format=name)
        for language, texts in COMMON.items()
        for text in texts
        for name in FORMATS
    ]
    if load.memory:
        fresh = fresh_texts("en", load.seed + 50)
        bodies = [body_of(next(fresh)) for _ in range(FILLING_TEXTS)] + bodies
    times = await speak_all(stack, bodies, 40)
    if times.failed:
        raise RuntimeError(f"a text could not be spoken before the load: {times.failed[0]}")


async def _hold(stack: Stack, http: aiohttp.ClientSession, load: Load, found: Found) -> None:
    gateway = psutil.Process(stack.gateway_pid)
    if load.memory:
        await asyncio.sleep(_QUIET_S)
    found.rss_before = gateway.memory_info().rss
    talkers = [
        Talker(talk, found.turns.append) for talk in talks(load.sessions, load.seconds, load.seed)
    ]
    readers: list[asyncio.Task[None]] = []
    collecting = gc.isenabled()
    try:
        await _open(talkers, http, stack.base_url)
        readers += [asyncio.create_task(talker.read()) for talker in talkers]
        if load.memory:
            await asyncio.sleep(_QUIET_S)
        found.rss_quiet = gateway.memory_info().rss
        gc.collect()
        gc.disable()  # a pause of the load would be measured as one of the gateway
        cpu_s, load_cpu_s, began_s = _cpu_s(gateway), time.process_time(), time.monotonic()
        queued_s = _queued_s(gateway.pid)
        await asyncio.gather(*(talker.ask_all(began_s) for talker in talkers))
        await _ended(talkers)
        found.seconds = time.monotonic() - began_s
        found.gateway_cpu_s = _cpu_s(gateway) - cpu_s
        found.gateway_queued_s = _queued_s(gateway.pid) - queued_s
        found.load_cpu_s = time.process_time() - load_cpu_s
        if load.memory:
            # What was sent is heard by then, and is kept for nobody who might come back.
            await asyncio.sleep(RESUME_S + RENEW_S + _QUIET_S)
        found.rss_idle = gateway.memory_info().rss
        for talker in talkers:
            found.faults += [*talker.faults, *([talker.lost] if talker.lost else [])]
    finally:
        if collecting:
            gc.enable()
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*(talker.aclose() for talker in talkers))
        await asyncio.gather(*readers, return_exceptions=True)
    for reader in readers:
        if not reader.cancelled():
            reader.result()


async def _open(talkers: Iterable[Talker], http: aiohttp.ClientSession, base_url: str) -> None:
    left = iter(talkers)

    async def opener() -> None:
        for talker in left:
            await talker.opened(http, base_url)

    await asyncio.gather(*(opener() for _ in range(_OPENING)))


async def _ended(talkers: Iterable[Talker]) -> None:
    """Wait for the ends of all turns; those that have none by then are noted as failed."""
    until_s = time.monotonic() + _LAST_S
    while any(talker.open_turns for talker in talkers) and time.monotonic() < until_s:
        await asyncio.sleep(0.1)
    for talker in talkers:
        talker.give_up()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _queued_s(pid: int) -> float:
    """Of the main thread, since its start; 0 where the kernel does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _pin(pid: int, cores: Iterable[int]) -> None:
    """Bind a process, all its threads included, to these cores; 0: this one."""
    for thread in Path(f"/proc/{pid or 'self'}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)
