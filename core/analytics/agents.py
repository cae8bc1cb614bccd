"""What each voice agent of each tenant was asked for, and how it went."""

from __future__ import annotations

from typing import Final

import msgspec

from core.analytics.figures import MAX_AGENTS, AgentFigures
from core.analytics.histogram import Histogram
from core.speech import SpeechTrace

OTHER: Final = "other"
"""The agents of a tenant for which there was no place."""
_MOST: Final = 256
_LONGEST_NAME: Final = 64

Key = tuple[str, str]
"""A tenant and the id of one of its agents."""


class AgentCounts(msgspec.Struct):
    """One agent. What is left of `requests` without errors and the abandoned was served."""

    requests: int = 0
    errors: int = 0
    abandoned: int = 0
    cached: int = 0
    first_audio: Histogram = msgspec.field(default_factory=Histogram)

    @property
    def served(self) -> int:
        return self.requests - self.errors - self.abandoned


class AgentWatch:
    """Counts by agent. After 256 agents the rest of a tenant is `other`."""

    def __init__(self) -> None:
        self._agents: dict[Key, AgentCounts] = {}

    def observe(self, trace: SpeechTrace, *, abandoned: bool) -> None:
        """Count a finished request; one of no known agent is left out."""
        if not trace.agent_id:
            return
        one = self._of(trace.tenant, trace.agent_id)
        one.requests += 1
        if abandoned:
            one.abandoned += 1
        elif trace.error_code is not None:
            one.errors += 1
        else:
            one.cached += trace.cached
            if trace.first_audio_ms is not None:
                one.first_audio.add(trace.first_audio_ms)

    def of(self, tenant: str) -> dict[str, AgentCounts]:
        """A tenant's agents by id, the most asked first."""
        mine = [(agent, one) for (owner, agent), one in self._agents.items() if owner == tenant]
        return dict(sorted(mine, key=lambda named: -named[1].requests))

    def export(self) -> tuple[AgentFigures, ...]:
        """The `MAX_AGENTS` that were asked most, for `merge` in another process."""
        most = sorted(self._agents.items(), key=lambda named: -named[1].requests)[:MAX_AGENTS]
        return tuple(
            AgentFigures(
                tenant=tenant,
                agent_id=agent_id,
                requests=one.requests,
                errors=one.errors,
                abandoned=one.abandoned,
                cached=one.cached,
                first_audio=one.first_audio.export(),
            )
            for (tenant, agent_id), one in most
        )

    def merge(self, told: tuple[AgentFigures, ...]) -> None:
        """Add what another process exported."""
        for figures in told:
            one = self._of(figures.tenant, figures.agent_id)
            one.requests += figures.requests
            one.errors += figures.errors
            one.abandoned += figures.abandoned
            one.cached += figures.cached
            one.first_audio.add_figures(figures.first_audio)

    def _of(self, tenant: str, agent_id: str) -> AgentCounts:
        key = (tenant, agent_id[:_LONGEST_NAME])
        if key not in self._agents and len(self._agents) >= _MOST:
            key = (tenant, OTHER)
        found = self._agents.get(key)
        if found is None:
            found = self._agents[key] = AgentCounts()
        return found
