"""`python -m benchmarks.emulator`: serves until SIGTERM or SIGINT.

Prints one line of JSON with `url`, `pid` and, with `--tls`, `certificate` (a file that clients must
trust) when it is ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, get_args

import uvloop
from aiohttp import web

from benchmarks.emulator.app import make_app
from benchmarks.emulator.catalogue import PLANS
from benchmarks.emulator.faults import FaultRule, read_rules
from benchmarks.emulator.latency import JITTER, LatencyName
from benchmarks.emulator.speakers import AudioKind
from benchmarks.emulator.state import EmulatorSettings
from benchmarks.emulator.tls import make_certificate

_STOP_S: Final = 0.5
_LAST_PORT: Final = 65535


class _NotOpened(Exception):
    """Its port is taken, or not ours to take."""


def _rules(text: str) -> tuple[FaultRule, ...]:
    try:
        return tuple(read_rules(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {_LAST_PORT}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="benchmarks.emulator",
        description="Emulates the ElevenLabs speech API on a real port, with seeded faults.",
    )
    made.add_argument("--host", default="127.0.0.1", help="address to listen on")
    made.add_argument("--port", type=_port, default=0, help="port; 0: the system chooses")
    made.add_argument("--plan", choices=list(PLANS), default="creator")
    made.add_argument("--concurrency", type=_count, help="requests at once, instead of the plan's")
    made.add_argument(
        "--audio",
        choices=get_args(AudioKind),
        default="words",
        help="words: real speech; clips: a ready-made bank, for load; coded: one burst per word",
    )
    made.add_argument("--jitter", type=float, default=JITTER, help="share that latencies vary by")
    made.add_argument("--seed", type=int, default=0, help="of jitter and faults")
    made.add_argument("--faults", type=_rules, default=(), help="JSON: one rule or a list")
    made.add_argument(
        "--latency",
        choices=get_args(LatencyName),
        default="recorded",
        help="recorded: by the model; flash, multilingual: that model's for all; none: at once",
    )
    made.add_argument(
        "--key", action="append", default=[], help="accepted key, may be repeated; none: any"
    )
    made.add_argument("--credits", type=int, help="credits of the period, instead of the plan's")
    made.add_argument("--queue-ms", type=int, default=50, help="wait of a request over the limit")
    made.add_argument(
        "--close-ms", type=int, default=800, help="from a socket's last frame to its close frame"
    )
    made.add_argument("--region", default="europe-west4", help="value of x-region")
    made.add_argument(
        "--tls", action="store_true", help="serve https and wss, self-signed; needs openssl"
    )
    made.add_argument(
        "--stdin-guard", action="store_true", help="end when standard input is closed"
    )
    return made


async def _serve(
    options: argparse.Namespace, tls: tuple[ssl.SSLContext, Path] | None = None
) -> None:
    settings = EmulatorSettings(
        plan=options.plan,
        concurrency=options.concurrency,
        audio=options.audio,
        seed=options.seed,
        latency=options.latency,
        jitter=options.jitter,
        keys=tuple(options.key),
        credit_limit=options.credits,
        queue_ms=options.queue_ms,
        close_ms=options.close_ms,
        region=options.region,
        faults=tuple(options.faults),
    )
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    guard: asyncio.Task[None] | None = None
    if options.stdin_guard:
        guard = asyncio.create_task(_wait_for_end_of_input(stop))
    runner = web.AppRunner(
        make_app(settings),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=_STOP_S,
        keepalive_timeout=120,
    )
    await runner.setup()
    try:
        context = None if tls is None else tls[0]
        try:
            await web.TCPSite(
                runner, options.host, options.port, backlog=1024, ssl_context=context
            ).start()
        except OSError as error:
            raise _NotOpened(
                f"Port {options.port} on {options.host} cannot be opened ({error.strerror})."
            ) from error
        port = runner.addresses[0][1]
        host = f"[{options.host}]" if ":" in options.host else options.host
        scheme = "http" if tls is None else "https"
        ready: dict[str, Any] = {"url": f"{scheme}://{host}:{port}", "pid": os.getpid()}
        if tls is not None:
            ready["certificate"] = str(tls[1])
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()
        if guard is not None:
            guard.cancel()


async def _wait_for_end_of_input(stop: asyncio.Event) -> None:
    """Standard input ends when the parent does, however it dies."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while await reader.read(1024):
        pass
    stop.set()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = parser().parse_args(arguments)
    with ExitStack() as stack:
        tls = None
        if options.tls:
            tls = make_certificate(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        try:
            runner.run(_serve(options, tls))
        except _NotOpened as error:
            sys.exit(f"benchmarks.emulator: {error}")


if __name__ == "__main__":
    main()
