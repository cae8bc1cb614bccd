"""The `seiketsu` command."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence

from core.embedded import with_default_places
from core.errors import ConfigurationError
from core.settings import Settings, load_settings

_Run = Callable[[argparse.Namespace, list[str]], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0, 1 when it cannot work, 2 for misuse."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "emulator":
        parser.error(f"unknown arguments: {' '.join(rest)}")
    run: _Run = options.run
    try:
        return run(options, rest)
    except ConfigurationError as error:
        print(f"seiketsu: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the command had taken Ctrl-C over
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seiketsu", description="A voice gateway. Settings are environment variables."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: _Run, does: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=does,
            description=does,
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    add(
        "up",
        _up,
        "Start Redis, the voice server and the gateway, and keep them running.",
        "SEIKETSU_PORT=9000 seiketsu up",
    )
    one = add(
        "serve",
        _serve,
        "Serve one gateway process; Redis and the voice server run already.",
        "REDIS_URL=redis://db/0 CACHE_REDIS_URL=redis://cache/0 seiketsu serve",
    )
    one.add_argument("--fd", type=int, help="serve on this listening socket, inherited open")
    emulator = add(
        "emulator",
        _emulator,
        "Answer as the voice provider does; all options: python -m benchmarks.emulator --help.",
        "seiketsu emulator --port 9100",
    )
    emulator.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    return parser


def _settings() -> Settings:
    return load_settings(os.environ)


def _up(_: argparse.Namespace, __: list[str]) -> int:
    from gateway.auth import require_safe_binding
    from gateway.supervisor import Supervisor

    settings = _settings()
    require_safe_binding(settings)

    def say(line: str) -> None:
        print(line, flush=True)

    return asyncio.run(Supervisor(settings, os.environ, say=say).run())


def _serve(options: argparse.Namespace, _: list[str]) -> int:
    from gateway.auth import require_safe_binding
    from gateway.server import open_listener, serve

    settings = with_default_places(_settings())
    require_safe_binding(settings)
    if options.fd is not None:
        with socket.socket(fileno=options.fd) as listener:
            serve(settings, listener)
        return 0
    with open_listener(settings.gateway.host, settings.gateway.port) as listener:
        serve(settings, listener)
    return 0


def _emulator(options: argparse.Namespace, rest: list[str]) -> int:
    command = [sys.executable, "-m", "benchmarks.emulator", "--port", str(options.port), *rest]
    os.execv(command[0], command)  # noqa: S606 - it takes this process's place


if __name__ == "__main__":
    sys.exit(main())
