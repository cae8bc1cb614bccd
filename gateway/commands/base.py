"""What every command has: its settings, two places to write to, and one way of ending."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from core.settings import Settings, load_settings

OK: Final = 0
WRONG: Final = 1
"""Exit code when something that is needed does not work."""
MISUSED: Final = 2
"""Exit code of a command line that asks for what cannot be, argparse's own."""


class CommandFailed(Exception):
    """A command cannot do what was asked; both texts are for people."""

    def __init__(self, message: str, action: str = "", *, code: str = "failed") -> None:
        self.message, self.action, self.code = message, action, code
        super().__init__(message)


class Misuse(CommandFailed):
    """The command line asks for what cannot be."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="misuse")


class Terminal:
    """Results on stdout, everything else on stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(soft_wrap=True)
        self.err = Console(stderr=True, soft_wrap=True)

    def show(self, value: Any, seen: RenderableType) -> None:
        """The result: `value` as one line of JSON with `--json`, else `seen`."""
        if self.as_json:
            self.out.file.write(msgspec.json.encode(value).decode() + "\n")
            self.out.file.flush()
        else:
            self.out.print(seen)

    def say(self, line: str) -> None:
        """What goes on beside the result; nothing with `--json`."""
        if not self.as_json:
            self.err.print(escape(line), highlight=False)

    def problem(self, failure: CommandFailed) -> None:
        """Why the command ends without its result."""
        if self.as_json:
            told = {"code": failure.code, "message": failure.message, "action": failure.action}
            self.err.file.write(msgspec.json.encode({"error": told}).decode() + "\n")
        else:
            lines = [f"seiketsu: {failure.message}", failure.action]
            self.err.print(escape("\n".join(filter(None, lines))), highlight=False)


class Context:
    """One run of the command line."""

    def __init__(self, env: Mapping[str, str], *, as_json: bool) -> None:
        self.env = env
        self.terminal = Terminal(as_json=as_json)

    def settings(self) -> Settings:
        """The settings. Raises `ConfigurationError`."""
        return load_settings(self.env)


Run = Callable[[Context, argparse.Namespace, list[str]], int]
"""A command: context, options, and what was left over of the line. The exit code."""


class Commands:
    """The parsers of all commands."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._group = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        self, name: str, run: Run, does: str, example: str, *, has_json: bool = True
    ) -> argparse.ArgumentParser:
        """A new command; `example` is a line that works as it stands."""
        command: argparse.ArgumentParser = self._group.add_parser(
            name,
            help=does,
            description=does,
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run, json=False)
        if has_json:
            command.add_argument("--json", action="store_true", help="print JSON, one line")
        return command


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Rows under column heads; what is None stays empty."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    return made
