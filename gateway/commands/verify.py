"""`verify-upstream`: does the real provider answer as the emulator does?"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from gateway.commands import upstream
from gateway.commands.base import OK, WRONG, CommandFailed, Commands, Context, Misuse, table
from gateway.commands.upstream import Answer, differences

_EMULATOR_KEY: Final = "sk_" + "1" * 48
_START_S: Final = 30.0
_STOP_S: Final = 5.0


class Compared(msgspec.Struct, frozen=True):
    """One call, answered twice."""

    call: str
    differences: list[str]
    real: Answer
    emulated: Answer


def add(commands: Commands) -> None:
    """Add it."""
    verify = commands.add(
        "verify-upstream",
        _verify,
        "Compare the real provider with the emulator by a handful of calls; needs "
        f"ELEVEN_LABS_API_KEY and spends fewer than {upstream.MOST_CREDITS + 1} of its credits. "
        "Exit code 1 when they differ.",
        "ELEVEN_LABS_API_KEY=... seiketsu verify-upstream --out recorded.json",
    )
    verify.add_argument("--voice", default=upstream.VOICE, help="id of a voice of the account")
    verify.add_argument("--out", type=Path, metavar="FILE", help="write what was recorded as JSON")


def _verify(context: Context, options: argparse.Namespace, _: list[str]) -> int:
    settings = context.settings().upstream
    if not settings.enabled:
        raise CommandFailed(
            "There is no key to call the provider with.", "Set ELEVEN_LABS_API_KEY."
        )
    if not options.voice.isalnum():
        raise Misuse("A voice's id is letters and digits.")
    made = upstream.calls(options.voice)
    context.terminal.say(f"This may cost up to {upstream.require_cheap(made)} credits.")
    compared = asyncio.run(_compare(settings.base_url, settings.api_key, made))
    spent = sum(one.real.credits for one in compared)
    differ = any(one.differences for one in compared)
    record = {"same": not differ, "credits": spent, "calls": compared}
    if options.out is not None:
        options.out.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
    rows = [
        (one.call, one.real.status, "\n".join(one.differences) or "as the emulator")
        for one in compared
    ]
    context.terminal.show(record, table(("call", "status", "answered"), rows))
    context.terminal.say(f"{spent:g} credits were spent.")
    return WRONG if differ else OK


async def _compare(
    base_url: str, key: str, made: tuple[upstream.UpstreamCall, ...]
) -> list[Compared]:
    async with _emulator() as url:
        emulated = await upstream.record(f"{url}/v1", _EMULATOR_KEY, made)
    real = await upstream.record(base_url, key, made)
    return [
        Compared(
            call.name,
            differences(real[call.name], emulated[call.name]),
            real[call.name],
            emulated[call.name],
        )
        for call in made
    ]


@asynccontextmanager
async def _emulator() -> AsyncIterator[str]:
    """An emulator as a child; its URL. It also ends when this process does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.emulator", "--stdin-guard", "--key", _EMULATOR_KEY),
        *("--close-ms", "20"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise CommandFailed("The emulator could not start.")
    try:
        async with asyncio.timeout(_START_S):
            line = await process.stdout.readline()
        if not line:
            raise CommandFailed("The emulator could not start.")
        url: str = msgspec.json.decode(line)["url"]
        yield url
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
