"""What a run found, as rows against budgets and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from benchmarks.stats import commit, machine


class Row(msgspec.Struct, frozen=True):
    """One line of the report."""

    what: str
    measured: str
    budget: str
    kept: bool


def at_most(what: str, value: float, limit: float, shown: str) -> Row:
    """A row whose figure may not be larger."""
    return Row(what, shown, f"<= {limit:g}", value <= limit)


def at_least(what: str, value: float, limit: float, shown: str) -> Row:
    """A row whose figure may not be smaller."""
    return Row(what, shown, f">= {limit:g}", value >= limit)


def report(rows: list[Row], tables: Sequence[str], command: str, seconds: float) -> str:
    """All of it as Markdown; `tables` come after the table of budgets."""
    lines = [
        "# Results",
        "",
        f"`{command}` on commit {commit()}, {machine()}; {seconds:.0f} s.",
        "",
        "First audio is what an outside listener hears: the arrival of the piece that lets a",
        "decoder produce the first sample over -45 dBFS. Machines like this one are shared and",
        "noisy: compare ratios, not times of different runs.",
        "",
        "| what | measured | budget | kept |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {r.what} | {r.measured} | {r.budget} | {'yes' if r.kept else 'NO'} |" for r in rows
    ]
    return "\n".join(["\n".join(lines), *tables]) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with a blank line before it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
