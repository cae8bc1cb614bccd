"""What one process has measured, in a form that others can add to their own."""

from __future__ import annotations

import msgspec

HistogramFigures = tuple[int, float, float, float, tuple[tuple[int, int], ...]]
"""Count, total, lowest, highest, and (bucket, count) of the buckets that hold something."""

MAX_LANGUAGES = 8
"""Languages that are told to other processes, each with its histogram."""


class LanguageFigures(msgspec.Struct, frozen=True, array_like=True):
    """One language of a process."""

    requests: int
    errors: int
    first_audio: HistogramFigures


MAX_AGENTS = 64
"""Agents that are told to other processes, each with its histogram."""


class AgentFigures(msgspec.Struct, frozen=True, array_like=True):
    """One voice agent of a tenant."""

    tenant: str
    agent_id: str
    requests: int
    errors: int
    abandoned: int
    cached: int
    first_audio: HistogramFigures


class Figures(msgspec.Struct, frozen=True, array_like=True):
    """Every counter of a `Recorder`, by its name there."""

    since_unix_s: float
    counts: dict[str, int]
    names: dict[str, dict[str, int]]
    histograms: dict[str, HistogramFigures]
    languages: dict[str, LanguageFigures]
    agents: tuple[AgentFigures, ...] = ()
