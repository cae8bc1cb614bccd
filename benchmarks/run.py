"""Measures the gateway against its budgets: `python -m benchmarks.run [--ci] [--write]`.

Prints a table; exits 1 when a budget is broken. `--ci` takes fewer samples and stays within
`ci_seconds`; `--write` puts the tables into `benchmarks/RESULTS.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import budgets, languages, scenarios, sessions
from benchmarks.budgets import Budgets
from benchmarks.emulator.latency import FLASH_FIRST_S
from benchmarks.formats import costs_table, format_costs
from benchmarks.report import Row, at_least, at_most, report, section_of, with_section
from benchmarks.sessions_load import run_on
from benchmarks.stack import open_stack
from benchmarks.stats import percentile, summary, tail

RESULTS: Final = Path(__file__).with_name("RESULTS.md")
DIRECT_MS: Final = 2.1
"""Median of 55 direct calls on a quiet machine (2 cores of an EPYC of the Zen 4 kind)."""
ADDED_SLICES: Final = 4
EMULATOR: Final = (
    *("--audio", "clips", "--latency", "flash", "--jitter", "0", "--concurrency", "60"),
    *("--seed", "7", "--credits", "1000000000"),
)
"""Recorded times without jitter, so that differences are ours."""


class Size(msgspec.Struct, frozen=True):
    """How many samples."""

    cold_rounds: int
    cached_requests: int
    local: languages.Size
    slices: int
    slice_s: float
    pairs: int
    format_runs: int


FULL: Final = Size(40, 4000, languages.Size(200, 30, 200), 9, 2.0, 100, 11)
CI: Final = Size(4, 2000, languages.Size(24, 3, 40), 5, 1.0, 44, 3)


async def measure(size: Size, limits: Budgets) -> list[Row]:
    """Run every scenario."""
    rows: list[Row] = []
    added: list[scenarios.Ratio] = []
    async with open_stack(emulator=EMULATOR) as stack:
        assert stack.emulator is not None
        pairs = size.pairs // ADDED_SLICES
        rows += count_rows(await scenarios.counts(stack), limits)
        added.append(await scenarios.added_first_byte(stack, stack.emulator, pairs=pairs))
        rows += cold_rows(
            await scenarios.cold(stack, rounds=size.cold_rounds, concurrent=50, seed=3), limits
        )
        added.append(await scenarios.added_first_byte(stack, stack.emulator, pairs=pairs))
        times = await scenarios.cached(stack, requests=size.cached_requests, concurrent=8)
        rows += [
            at_most(
                "cached, 8 at once: first audio, ms",
                tail(times.first_audio_ms),
                limits.first_audio_ms.cached_p99,
                summary(times.first_audio_ms),
            ),
            at_most("cached: failed", len(times.failed), 0, str(len(times.failed))),
        ]
        added.append(await scenarios.added_first_byte(stack, stack.emulator, pairs=pairs))
        load = msgspec.structs.replace(sessions.CI, coded=False)
        held = sessions.rows_of(load, await run_on(stack, load), limits.sessions)
        rows += [row for row in held if row.budget]
        added.append(await scenarios.added_first_byte(stack, stack.emulator, pairs=pairs))
        rows.append(added_row(added, limits))
        band = limits.ratios.band
        ratio = await scenarios.cached_throughput(
            stack, slices=size.slices, seconds=size.slice_s, connections=16
        )
        rows.append(
            at_least(
                f"cached throughput over a bare handler (goal "
                f"{limits.ratios.cached_throughput:g}, gate -{band:.0%})",
                ratio.quotient,
                limits.ratios.cached_throughput * (1 - band),
                f"{ratio.quotient:.2f} ({percentile(ratio.ours, 0.5):.0f} to "
                f"{percentile(ratio.theirs, 0.5):.0f} a second, n={len(ratio.ours)} slices)",
            )
        )
    async with open_stack(slow_voice_processes=2) as stack:
        rows += await languages.measure(stack, limits, size.local)
    return rows


def added_row(slices: Sequence[scenarios.Ratio], limits: Budgets) -> Row:
    """What the gateway adds to the first audio; the goal is one for a machine of known speed.

    A call straight to the emulator takes `DIRECT_MS` over the recorded latency on a quiet machine;
    what it takes over that in the same slice is how slow the machine is then. Of the slices, spread
    over the run, the least counts: whatever else the machine does can only add to it.
    """
    least = min(slices, key=lambda one: one.difference)
    direct_ms = percentile(least.theirs, 0.5) - FLASH_FIRST_S * 1000
    slow = max(1.0, direct_ms / DIRECT_MS)
    goal, band = limits.ratios.added_first_byte_ms_p50, limits.ratios.band
    all_of_them = ", ".join(f"{one.difference:.2f}" for one in slices)
    return at_most(
        f"first audio added to the emulator's own, ms p50 (goal {goal:g} on a quiet machine, "
        f"this one {slow:.2f} times as slow, gate +{band:.0%})",
        least.difference,
        goal * slow * (1 + band),
        f"{least.difference:.2f} (the least of {all_of_them}, n={len(least.ours)} pairs each; "
        f"direct call {direct_ms:.2f} over its latency)",
    )


def count_rows(found: scenarios.Counts, limits: Budgets) -> list[Row]:
    """Exact counts."""
    expected = msgspec.structs.asdict(limits.counts)
    return [
        Row(name.replace("_", " "), f"{value:g}", f"= {expected[name]:g}", value == expected[name])
        for name, value in msgspec.structs.asdict(found).items()
    ]


def cold_rows(times: scenarios.Times, limits: Budgets) -> list[Row]:
    """Fifty callers with new texts."""
    asked = times.providers.get("elevenlabs", 0) / max(1, len(times.first_audio_ms))
    return [
        at_most(
            "cold, 50 at once: whole reply, ms",
            percentile(times.whole_reply_ms, 0.95),
            limits.whole_reply_ms.cold_50_p95,
            summary(times.whole_reply_ms),
        ),
        at_most(
            "cold, 50 at once: first audio, ms (the worst is gated)",
            max(times.first_audio_ms),
            limits.first_audio_ms.promise,
            f"{summary(times.first_audio_ms)}, worst {max(times.first_audio_ms):.0f}",
        ),
        at_least(
            "cold: share in the asked voice", asked, limits.ratios.asked_voice_min, f"{asked:.3f}"
        ),
        at_most("cold: underruns over 300 ms", times.underruns, 0, str(times.underruns)),
        at_most("cold: failed", len(times.failed), 0, str(len(times.failed))),
    ]


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ci", action="store_true", help="fewer samples")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md")
    options = parser.parse_args()
    limits = budgets.load()
    began = time.monotonic()
    size = CI if options.ci else FULL
    rows = asyncio.run(measure(size, limits))
    costs = costs_table(asyncio.run(format_costs(runs=size.format_runs)))
    seconds = time.monotonic() - began
    if options.ci:
        rows.append(at_most("seconds this took", seconds, limits.ci_seconds, f"{seconds:.0f}"))
    command = "python -m benchmarks.run" + (" --ci" if options.ci else "")
    text = report(rows, ["", "## What a format costs", "", costs], command, seconds)
    print(text)
    if options.write:
        kept = section_of(RESULTS.read_text(), sessions.SECTION)
        RESULTS.write_text(with_section(text, sessions.SECTION, kept) if kept else text)
    broken = [row.what for row in rows if not row.kept]
    for what in broken:
        print(f"over budget: {what}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
