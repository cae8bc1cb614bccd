"""Percentiles, and what a figure must come with: commit and machine."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Sequence
from typing import Final

ENOUGH_FOR_P99: Final = 2_000
"""Values: twenty are above it then."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values are not above, by nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def tail(values: Sequence[float]) -> float:
    """p99; of fewer than `ENOUGH_FOR_P99` values the worst."""
    return percentile(values, 0.99) if len(values) >= ENOUGH_FOR_P99 else max(values)


def summary(values: Sequence[float]) -> str:
    """`p50 1.5, p95 2.4, p99 2.8 (n=4000)`; of too few values for a p99 the worst."""
    last = "p99" if len(values) >= ENOUGH_FOR_P99 else "worst"
    points = f"p50 {percentile(values, 0.5):.1f}, p95 {percentile(values, 0.95):.1f}"
    return f"{points}, {last} {tail(values):.1f} (n={len(values)})"


def commit() -> str:
    """Short id of the commit, with `+` when the tree has changes."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        return name + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """Processor, cores, kernel and Python."""
    model = platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            names = [
                line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
            ]
        model = names[0] if names else model
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()
