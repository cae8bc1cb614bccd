"""`doctor`: look at everything an installation needs and say what is wrong."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Literal

import msgspec

from core.embedded import with_default_places
from core.settings import Settings
from gateway.commands import checks
from gateway.commands.base import OK, WRONG, Commands, Context, table

State = Literal["ok", "wrong", "warning"]
_CHECK_S: Final = 10.0
"""Longest time of one check; they run at once."""


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    name: str
    state: State
    found: str
    action: str = ""


def add(commands: Commands) -> None:
    """Add it."""
    commands.add(
        "doctor",
        _doctor,
        "Check Redis, the voice server, the codecs, the gateway and the provider; exit code 1 "
        "when something that is needed is wrong.",
        "seiketsu doctor",
    )


def _doctor(context: Context, _: argparse.Namespace, __: list[str]) -> int:
    settings = with_default_places(context.settings())
    findings = asyncio.run(_all(settings))
    marks = {"ok": "ok", "warning": "!", "wrong": "WRONG"}
    rows = [(f.name, marks[f.state], f.found, f.action) for f in findings]
    wrong = any(f.state == "wrong" for f in findings)
    context.terminal.show(
        {"ok": not wrong, "checks": findings}, table(("what", "", "found", "what to do"), rows)
    )
    return WRONG if wrong else OK


async def _all(settings: Settings) -> list[Finding]:
    works: dict[str, Coroutine[Any, Any, str]] = {
        "state database": checks.state_database(settings),
        "audio database": checks.audio_database(settings),
        "voice server": checks.voice_server(settings),
        "codecs": checks.codecs(),
        "gateway": checks.gateway(settings),
        "provider": checks.provider(settings),
    }
    return list(await asyncio.gather(*(_bounded(n, w) for n, w in works.items())))


async def _bounded(name: str, work: Coroutine[Any, Any, str]) -> Finding:
    try:
        async with asyncio.timeout(_CHECK_S):
            return Finding(name, "ok", await work)
    except checks.Doubtful as doubt:
        return Finding(name, "warning", doubt.found, doubt.action)
    except checks.Wrong as wrong:
        return Finding(name, "wrong", wrong.found, wrong.action)
    except TimeoutError:
        return Finding(name, "wrong", f"no answer in {_CHECK_S:g} s", "See its log.")
