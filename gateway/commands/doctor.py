"""`doctor`: look at everything an installation needs and say what is wrong."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Coroutine
from pathlib import Path
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
    absent: dict[str, Path] = {}
    found = await asyncio.gather(*(_bounded(n, w, absent) for n, w in works.items()))
    if any(one.name == "gateway" and one.state == "ok" for one in found):
        found = [_elsewhere(f, absent[f.name]) if f.name in absent else f for f in found]
    return found


def _elsewhere(finding: Finding, place: Path) -> Finding:
    """What a gateway that is ready has, and this folder has not."""
    return Finding(
        finding.name,
        "warning",
        f"not in {place}; the gateway has one, which answers it",
        "To check it ask in the folder where it was started, or set SEIKETSU_DATA_DIR.",
    )


async def _bounded(name: str, work: Coroutine[Any, Any, str], absent: dict[str, Path]) -> Finding:
    """What the check found; what is not where it would be, it puts into `absent`."""
    try:
        async with asyncio.timeout(_CHECK_S):
            return Finding(name, "ok", await work)
    except checks.Doubtful as doubt:
        return Finding(name, "warning", doubt.found, doubt.action)
    except checks.NothingHere as wrong:
        absent[name] = wrong.place
        return Finding(name, "wrong", wrong.found, wrong.action)
    except checks.Wrong as wrong:
        return Finding(name, "wrong", wrong.found, wrong.action)
    except TimeoutError:
        return Finding(name, "wrong", f"no answer in {_CHECK_S:g} s", "See its log.")
