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
        *_judged(rows),
    ]
    return "\n".join(["\n".join(lines), *tables]) + "\n"


def section(title: str, rows: list[Row], command: str, seconds: float, note: str = "") -> str:
    """Rows as one section, `note` under its title; those without a budget are not judged."""
    ran = f"`{command}` on commit {commit()}, {machine()}; {seconds:.0f} s."
    head = [f"## {title}", "", ran, *([note] if note else []), ""]
    return "\n".join([*head, *_judged(rows)]) + "\n"


def _judged(rows: list[Row]) -> list[str]:
    verdicts = {True: "yes", False: "NO"}
    return [
        "| what | measured | budget | kept |",
        "|---|---|---|---|",
        *(
            f"| {r.what} | {r.measured} | {r.budget} | {verdicts[r.kept] if r.budget else ''} |"
            for r in rows
        ),
    ]


def section_of(text: str, title: str) -> str:
    """The section `## title` of a Markdown text, up to the next; empty: there is none."""
    begin = text.find(f"## {title}\n")
    if begin < 0:
        return ""
    end = text.find("\n## ", begin)
    return text[begin:] if end < 0 else text[begin : end + 1]


def with_section(text: str, title: str, section: str) -> str:
    """`text` with that section in place of the one it has, or at its end."""
    old = section_of(text, title)
    section = section.rstrip("\n") + "\n"
    if not old:
        return f"{text.rstrip()}\n\n{section}"
    last = text.endswith(old)
    return text.replace(old, section if last else f"{section}\n")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with a blank line before it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
