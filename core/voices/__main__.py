"""`python -m core.voices --socket PATH [--processes N] [--slow-processes N] ...`: the voice server.

It listens from the moment the first child of its quick lane is ready until SIGTERM, SIGINT or
SIGHUP. The slow lane starts then; that it cannot start is no reason to end.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from core.errors import ConfigurationError
from core.log import configure_logging
from core.settings import Settings
from core.voices.pool import Pool, child_command
from core.voices.registry import EngineOptions, Lane
from core.voices.server import VoiceServer, check_free, listening

log: Final = structlog.get_logger("core.voices")


async def run(
    path: Path, processes: Mapping[Lane, int], queue_limit: int, options: EngineOptions
) -> None:
    """Serve until a signal comes.

    Raises:
        ConfigurationError: the socket cannot be used or no child of the quick lane can be started.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    check_free(path)
    pools: dict[Lane, Pool] = {
        lane: Pool(lane, child_command(lane, options), count, queue_limit)
        for lane, count in processes.items()
        if count
    }
    quick = pools["quick"]
    quick.start()
    try:
        await _first(quick.ever_ready, quick.hopeless, stop)
        if stop.is_set():
            return
        if quick.hopeless.is_set():
            raise ConfigurationError("No voice process can be started; the log says why.")
        async with listening(path, VoiceServer(pools)):
            log.info("voice_server_listens", processes=dict(processes))
            if "slow" in pools:
                pools["slow"].start()
            await stop.wait()
    finally:
        await asyncio.gather(*(pool.stop() for pool in pools.values()))


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _encode(value: Any, *, default: Callable[[Any], Any]) -> bytes:
    return msgspec.json.encode(value, enc_hook=default)


def main() -> int:
    """Parse the arguments and serve. The exit code."""
    defaults = Settings()
    voices = defaults.voices
    parser = argparse.ArgumentParser(prog="python -m core.voices", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="path of the unix socket")
    parser.add_argument("--processes", type=int, default=voices.processes)
    parser.add_argument("--slow-processes", type=int, default=voices.slow_processes)
    parser.add_argument("--queue-limit", type=int, default=voices.queue_limit)
    parser.add_argument("--data-dir", type=Path, default=defaults.data_dir)
    parser.add_argument("--kokoro-model", default=voices.kokoro_model)
    given = parser.parse_args()
    if given.processes < 1 or given.slow_processes < 0 or given.queue_limit < 0:
        parser.error("--processes must be at least 1, the other numbers at least 0")
    configure_logging("info", _encode)
    processes: dict[Lane, int] = {"quick": given.processes, "slow": given.slow_processes}
    options = EngineOptions(str(given.data_dir.absolute()), given.kokoro_model)
    try:
        asyncio.run(run(given.socket.absolute(), processes, given.queue_limit, options))
    except ConfigurationError as error:
        log.error("voice_server_cannot_start", reason=error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
