"""Runs the k6 scripts against a whole installation of its own: `python -m benchmarks.load`.

The provider is the emulator, with recorded latency; `session` gets the installation of
`benchmarks.sessions`, its settings and a core for the gateway. k6 prints its summary and the
thresholds, which are those of `budgets.json`; the exit code is 1 when one is broken. Settings of
the scripts (`LOAD_RATE`, `SESSION_COUNT`, ...) are handed on from the environment:

    SESSION_COUNT=1000 SESSION_SECONDS=120 python -m benchmarks.load session
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.sessions_load import open_installation
from benchmarks.stack import Stack, open_stack

SCRIPTS: Final = ("load", "session")
EMULATOR: Final = ("--audio", "clips", "--latency", "flash", "--concurrency", "60", "--seed", "7")
K6: Final = (str(Path(sys.executable).parent / "k6"), "run", "--no-usage-report", "--quiet")
_FOLDER: Final = Path(__file__).resolve().parent.parent / "k6"
_LONGEST_S: Final = 1800


async def load(scripts: Sequence[str]) -> int:
    """Run each script in turn; the worst exit code."""
    worst = 0
    for script in scripts:
        async with _installation(script) as stack:
            worst = max(worst, await _run(script, stack))
    return worst


@asynccontextmanager
async def _installation(script: str) -> AsyncIterator[Stack]:
    if script == "session":
        async with open_installation() as (stack, _):
            yield stack
    else:
        async with open_stack(emulator=EMULATOR) as stack:
            yield stack


async def _run(script: str, stack: Stack) -> int:
    env = {**os.environ, "SEIKETSU_URL": stack.base_url}
    k6 = await asyncio.create_subprocess_exec(*K6, str(_FOLDER / f"{script}.js"), env=env)
    try:
        async with asyncio.timeout(_LONGEST_S):
            return await k6.wait()
    finally:
        if k6.returncode is None:
            k6.kill()
            await k6.wait()


def main() -> int:
    """Parse, run, judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scripts", nargs="*", help="load, session; default: both")
    chosen = parser.parse_args().scripts or list(SCRIPTS)
    unknown = sorted(set(chosen) - set(SCRIPTS))
    if unknown:
        parser.error(f"no such script: {', '.join(unknown)}")
    return 1 if asyncio.run(load(chosen)) else 0


if __name__ == "__main__":
    sys.exit(main())
