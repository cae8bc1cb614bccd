"""Runs the k6 scripts against a whole installation of its own: `python -m benchmarks.load`.

The provider is the emulator, with recorded latency. k6 prints its summary and the thresholds, which
are those of `budgets.json`; the exit code is 1 when one is broken. Settings of the scripts
(`LOAD_RATE`, `SESSION_COUNT`, ...) are handed on from the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.stack import open_stack

SCRIPTS: Final = ("load", "session")
EMULATOR: Final = ("--audio", "clips", "--latency", "flash", "--concurrency", "60", "--seed", "7")
_FOLDER: Final = Path(__file__).resolve().parent.parent / "k6"
_LONGEST_S: Final = 1800


async def load(scripts: Sequence[str]) -> int:
    """Run each script in turn; the worst exit code."""
    worst = 0
    async with open_stack(emulator=EMULATOR) as stack:
        for script in scripts:
            env = {**os.environ, "SEIKETSU_URL": stack.base_url}
            k6 = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).parent / "k6"),
                *("run", "--no-usage-report", "--quiet", str(_FOLDER / f"{script}.js")),
                env=env,
            )
            try:
                async with asyncio.timeout(_LONGEST_S):
                    worst = max(worst, await k6.wait())
            finally:
                if k6.returncode is None:
                    k6.kill()
                    await k6.wait()
    return worst


def main() -> int:
    """Parse, run, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scripts", nargs="*", help="load, session; default: both")
    chosen = parser.parse_args().scripts or list(SCRIPTS)
    unknown = sorted(set(chosen) - set(SCRIPTS))
    if unknown:
        parser.error(f"no such script: {', '.join(unknown)}")
    return 1 if asyncio.run(load(chosen)) else 0


if __name__ == "__main__":
    sys.exit(main())
