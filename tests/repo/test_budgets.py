"""Budgets may be tightened silently; loosening one is told to users in the CHANGELOG."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.budgets import load, loosened

BUDGETS = "benchmarks/budgets.json"


def at(repository: Path, revision: str, path: str) -> str | None:
    shown = subprocess.run(
        ["git", "show", f"{revision}:{path}"], cwd=repository, capture_output=True, text=True
    )
    return shown.stdout if shown.returncode == 0 else None


def test_the_file_holds_every_budget() -> None:
    assert load().first_audio_ms.promise == 2000


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ({"a": {"p99": 50}}, {"a": {"p99": 50}}, []),
        ({"a": {"p99": 50}}, {"a": {"p99": 40}}, []),
        ({"a": {"p99": 50}}, {"a": {"p99": 60}}, ["a.p99"]),
        ({"a": {"p99": 50}}, {"a": {}}, ["a.p99"]),
        (
            {"r": {"cached_throughput": 0.6}},
            {"r": {"cached_throughput": 0.5}},
            ["r.cached_throughput"],
        ),
        ({"r": {"cached_throughput": 0.6}}, {"r": {"cached_throughput": 0.7}}, []),
        ({"r": {"asked_voice_min": 0.99}}, {"r": {"asked_voice_min": 0.9}}, ["r.asked_voice_min"]),
        ({}, {"new": 1}, []),
    ],
)
def test_what_counts_as_looser(
    before: dict[str, dict[str, float]], after: dict[str, dict[str, float]], names: list[str]
) -> None:
    assert loosened(before, after) == names


def test_a_looser_budget_has_a_line_in_the_changelog(repository: Path) -> None:
    before = at(repository, "HEAD^", BUDGETS)
    if before is None:
        # The first commit that has budgets has nothing to loosen.
        return
    names = loosened(json.loads(before), json.loads((repository / BUDGETS).read_text()))
    old = at(repository, "HEAD^", "CHANGELOG.md") or ""
    now = (repository / "CHANGELOG.md").read_text()
    added = set(now.splitlines()) - set(old.splitlines())
    for name in names:
        assert any(name in line for line in added), f"{name} was loosened without a word"
