"""What each voice agent of each tenant was asked for, and how it went."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Final

import msgspec

from core.analytics.figures import MAX_AGENTS, AgentFigures
from core.analytics.histogram import Histogram
from core.speech import SpeechTrace

OTHER: Final = "other"
"""The agents of a tenant for which there is no place, together."""
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

    def add(self, other: AgentCounts) -> None:
        """Add what another agent was asked for."""
        self.requests += other.requests
        self.errors += other.errors
        self.abandoned += other.abandoned
        self.cached += other.cached
        self.first_audio.merge(other.first_audio)


class AgentWatch:
    """Counts by agent. Of more than 256, those that were asked longest ago become part of their
    tenant's `other`; nothing is lost with up to 256 tenants."""

    def __init__(self) -> None:
        self._agents: OrderedDict[Key, AgentCounts] = OrderedDict()
        """The one that was asked last stands last."""

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
        """Every tenant's figures, for `merge` in another process.

        There are `MAX_AGENTS` places, or one for each tenant where there are more of these. They
        are handed out in turns to each tenant's busiest; what is left of a tenant is its `other`.
        """
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
            for (tenant, agent_id), one in self._shared_out().items()
        )

    def _shared_out(self) -> dict[Key, AgentCounts]:
        named: dict[str, list[tuple[str, AgentCounts]]] = defaultdict(list)
        told: dict[Key, AgentCounts] = {}
        for (tenant, agent), one in self._agents.items():
            mine = named[tenant]
            if agent == OTHER:
                told[tenant, OTHER] = _copy(one)
            else:
                mine.append((agent, one))
        for mine in named.values():
            mine.sort(key=lambda pair: pair[1].requests)
        left = MAX_AGENTS - len(named)  # each tenant has one, for its `other` where it needs that
        for tenant, mine in named.items():
            if len(mine) == 1 and (tenant, OTHER) not in told:
                agent, one = mine.pop()
                told[tenant, agent] = one
        while left > 0 and any(named.values()):
            for tenant, mine in named.items():
                if mine and left > 0:
                    agent, one = mine.pop()
                    told[tenant, agent] = one
                    left -= 1
        for tenant, mine in named.items():
            for _, one in mine:
                told.setdefault((tenant, OTHER), AgentCounts()).add(one)
        return told

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
        while key not in self._agents and len(self._agents) >= _MOST:
            self._forget()
        found = self._agents.get(key)
        if found is None:
            found = self._agents[key] = AgentCounts()
        self._agents.move_to_end(key)
        return found

    def _forget(self) -> None:
        """Make a place: what was asked longest ago becomes part of its tenant's `other`."""
        first: dict[str, Key] = {}
        for key in self._agents:
            tenant, agent = key
            if agent == OTHER:
                continue
            if (tenant, OTHER) in self._agents:
                self._fold(tenant, [key])
                return
            if tenant in first:
                self._fold(tenant, [first[tenant], key])
                return
            first[tenant] = key
        # As many tenants as places, each with one: no `other` would be smaller.
        self._agents.popitem(last=False)

    def _fold(self, tenant: str, keys: list[Key]) -> None:
        gone = [self._agents.pop(key) for key in keys]
        rest = self._agents.setdefault((tenant, OTHER), AgentCounts())
        for one in gone:
            rest.add(one)


def _copy(one: AgentCounts) -> AgentCounts:
    same = AgentCounts()
    same.add(one)
    return same
