"""`python -m core.voices --socket PATH --processes N [--queue-limit N]`: the voice server.

It listens from the moment its first child is ready until SIGTERM, SIGINT or SIGHUP.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from core.errors import ConfigurationError
from core.log import configure_logging
from core.settings import VoiceServerSettings
from core.voices.pool import Pool
from core.voices.server import VoiceServer, check_free, listening

log: Final = structlog.get_logger("core.voices")


async def run(path: Path, processes: int, queue_limit: int) -> None:
    """Serve until a signal comes.

    Raises:
        ConfigurationError: the socket cannot be used or no child can be started.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    check_free(path)
    pool = Pool(processes, queue_limit)
    pool.start()
    try:
        await _first(pool.ever_ready, pool.hopeless, stop)
        if stop.is_set():
            return
        if pool.hopeless.is_set():
            raise ConfigurationError("No voice process can be started; the log says why.")
        async with listening(path, VoiceServer(pool)):
            log.info("voice_server_listens", processes=processes)
            await stop.wait()
    finally:
        await pool.stop()


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
    defaults = VoiceServerSettings()
    parser = argparse.ArgumentParser(prog="python -m core.voices", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="path of the unix socket")
    parser.add_argument("--processes", type=int, default=defaults.processes)
    parser.add_argument("--queue-limit", type=int, default=defaults.queue_limit)
    arguments = parser.parse_args()
    if arguments.processes < 1 or arguments.queue_limit < 0:
        parser.error("--processes must be at least 1 and --queue-limit at least 0")
    configure_logging("info", _encode)
    try:
        asyncio.run(run(arguments.socket.absolute(), arguments.processes, arguments.queue_limit))
    except ConfigurationError as error:
        log.error("voice_server_cannot_start", reason=error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
