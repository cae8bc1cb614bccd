"""`up`, `serve`, `worker`, `emulator`: the commands that stay until they are ended."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from typing import Final

import orjson
import structlog

from core.embedded import with_default_places
from core.log import configure_logging
from core.settings import Settings
from gateway.commands.base import Commands, Context

log = structlog.get_logger("seiketsu.gateway")

_MOST_PROCESSES: Final = 64


def add(commands: Commands) -> None:
    """Add them."""
    commands.add(
        "up",
        _up,
        "Start Redis, the voice server, the gateway and a worker, and keep them running.",
        "SEIKETSU_PORT=9000 seiketsu up",
        has_json=False,
    )
    serve = commands.add(
        "serve",
        _serve,
        "Serve the gateway; Redis and the voice server run already. "
        "SIGHUP replaces its processes one after the other, SIGTERM drains them.",
        "REDIS_URL=redis://db/0 CACHE_REDIS_URL=redis://cache/0 seiketsu serve --processes 2",
        has_json=False,
    )
    serve.add_argument("--host", help="address to listen on, instead of SEIKETSU_HOST")
    serve.add_argument("--port", type=int, help="port to listen on, instead of SEIKETSU_PORT")
    serve.add_argument(
        "--processes", type=_count, default=1, help="gateway processes on that port (1)"
    )
    serve.add_argument("--fd", type=int, help="serve on this listening socket, inherited open")
    serve.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    worker = commands.add(
        "worker",
        _worker,
        "Do jobs in the background: bulk speech, pre-generation, maintenance.",
        "REDIS_URL=redis://db/0 CACHE_REDIS_URL=redis://cache/0 seiketsu worker",
        has_json=False,
    )
    worker.add_argument("--burst", action="store_true", help="end when no job is left")
    emulator = commands.add(
        "emulator",
        _emulator,
        "Answer as the voice provider does; all options: python -m benchmarks.emulator --help.",
        "seiketsu emulator --port 9100",
        has_json=False,
    )
    emulator.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= _MOST_PROCESSES:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {_MOST_PROCESSES}")
    return int(text)


def _up(context: Context, _: argparse.Namespace, __: list[str]) -> int:
    from gateway.auth import require_safe_binding
    from gateway.supervisor import Supervisor

    settings = context.settings()
    require_safe_binding(settings)

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    return asyncio.run(Supervisor(settings, context.env, say=say).run())


def _serve(context: Context, options: argparse.Namespace, _: list[str]) -> int:
    from gateway.auth import require_safe_binding
    from gateway.server import open_listener, serve

    env = dict(context.env)
    # As variables, so that they are checked like these, and reach every process.
    if options.host is not None:
        env["SEIKETSU_HOST"] = options.host
    if options.port is not None:
        env["SEIKETSU_PORT"] = str(options.port)
    settings = with_default_places(Context(env, as_json=False).settings())
    require_safe_binding(settings)
    if options.fd is not None:
        with socket.socket(fileno=options.fd) as listener:
            serve(settings, listener, handed_over=True, ready_fd=options.ready_fd)
        return 0
    configure_logging(settings.log_level, orjson.dumps)
    with open_listener(settings.gateway.host, settings.gateway.port) as listener:
        host, port = listener.getsockname()[:2]
        log.info("gateway_listens", host=host, port=port, processes=options.processes)
        if options.processes > 1:
            return _serve_many(settings, env, listener, options.processes)
        serve(settings, listener)
    return 0


def _serve_many(
    settings: Settings, env: dict[str, str], listener: socket.socket, count: int
) -> int:
    from gateway.processes import Processes

    env["SEIKETSU_PORT"] = str(listener.getsockname()[1])
    return asyncio.run(Processes(settings, env, listener, count).run())


def _worker(context: Context, options: argparse.Namespace, _: list[str]) -> int:
    context.settings()  # what is wrong with them is said here, in one line
    command = [sys.executable, "-m", "workers.main", *(["--burst"] if options.burst else [])]
    os.execv(command[0], command)  # noqa: S606 - it takes this process's place


def _emulator(_: Context, options: argparse.Namespace, rest: list[str]) -> int:
    command = [sys.executable, "-m", "benchmarks.emulator", "--port", str(options.port), *rest]
    os.execv(command[0], command)  # noqa: S606 - it takes this process's place
