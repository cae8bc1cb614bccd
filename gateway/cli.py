"""The `seiketsu` command."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from core.errors import ConfigurationError
from gateway.commands.base import (
    MISUSED,
    WRONG,
    CommandFailed,
    Commands,
    Context,
    Misuse,
    Run,
)

_FILES: Final = {
    **dict.fromkeys(("up", "serve", "worker", "emulator"), "serving"),
    "say": "say",
    **dict.fromkeys(("bulk", "pregenerate"), "bulk"),
    "voices": "voices",
    "agents": "agents",
    "jobs": "jobs",
    "doctor": "doctor",
    "verify-upstream": "verify",
}
"""Command to its file in `gateway/commands`, in the order of the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0, 1 when it cannot work, 2 for misuse."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser(words[0] if words else "")
    options, rest = parser.parse_known_args(words)
    if rest and options.command != "emulator":
        parser.error(f"unknown arguments: {' '.join(rest)}")
    run: Run = options.run
    context = Context(os.environ, as_json=options.json)
    try:
        return run(context, options, rest)
    except ConfigurationError as error:
        context.terminal.problem(CommandFailed(error.message, code=error.code))
        return WRONG
    except CommandFailed as failure:
        context.terminal.problem(failure)
        return MISUSED if isinstance(failure, Misuse) else WRONG
    except KeyboardInterrupt:  # a command that stays takes Ctrl-C over
        return 130


def _parser(command: str) -> argparse.ArgumentParser:
    """The parser; where a command is named, only its own file is loaded."""
    parser = argparse.ArgumentParser(
        prog="seiketsu", description="A voice gateway. Settings are environment variables."
    )
    commands = Commands(parser)
    files = [_FILES[command]] if command in _FILES else dict.fromkeys(_FILES.values())
    for file in files:
        importlib.import_module(f"gateway.commands.{file}").add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
