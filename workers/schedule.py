"""What happens by the clock, once in a whole cluster: maintenance at night, voices warm by day."""

from __future__ import annotations

from typing import Any, Final

import structlog
from arq.cron import CronJob, cron
from arq.typing import WorkerCoroutine

from core.agents import AgentSnapshot
from core.errors import RequestError, TooManyJobs
from core.job_store import JobStore
from core.jobs import (
    PREGENERATE_AGENT_VOICES,
    VOICE_CACHE_MAINTENANCE,
    WARM_UP_VOICES,
    JobRef,
    JobSpec,
)
from core.phrases import PhraseStore, phrases_of
from core.settings import Settings

MAINTENANCE_HOUR: Final = 2
WARM_UP_HOURS: Final = frozenset({8, 17})
_TASK_S: Final = 120
_REMEMBERED_S: Final = 3600
"""How long it is known that a task of the clock has run: longer than any worker's clock is off."""
_DEFAULT: Final = "default"
"""Whose keys name no tenant."""
MOST_AGENTS: Final = 1000
"""Agents that one warm-up takes care of."""

_log = structlog.get_logger("seiketsu.workers")


def cron_jobs(maintain: WorkerCoroutine, warm_up: WorkerCoroutine) -> list[CronJob]:
    """The tasks with their times; the time zone is the worker's."""

    def daily(task: WorkerCoroutine, name: str, hours: set[int]) -> CronJob:
        return cron(
            task,
            name=name,
            hour=hours,
            minute=0,
            second=0,
            unique=True,
            timeout=_TASK_S,
            keep_result=_REMEMBERED_S,
            max_tries=3,
        )

    return [
        daily(maintain, VOICE_CACHE_MAINTENANCE, {MAINTENANCE_HOUR}),
        daily(warm_up, WARM_UP_VOICES, set(WARM_UP_HOURS)),
    ]


def tenants_of(settings: Settings) -> frozenset[str]:
    """The tenants that have keys; without keys there is the one of this computer."""
    named = (entry.partition(":") for entry in settings.gateway.api_keys)
    return frozenset(tenant if colon else _DEFAULT for tenant, colon, _ in named) or frozenset(
        {_DEFAULT}
    )


async def warm_up_jobs(
    store: JobStore, agents: AgentSnapshot, phrases: PhraseStore, tenants: frozenset[str]
) -> tuple[list[JobRef], dict[str, Any]]:
    """Make a job for each language of each agent. The jobs, and a report of what was left out.

    Passed over are a language whose warm-up before is unfinished, an agent that was deleted
    meanwhile, and agents over the bounds.

    Raises:
        StoreError: the state database does not answer.
    """
    made: list[JobRef] = []
    passed = seen = 0
    for tenant in sorted(tenants | agents.owners):
        for agent_id, record in agents.of(tenant).items():
            if seen >= MOST_AGENTS:
                passed += len(record.agent.language_preferences)
                continue
            seen += 1
            for language in record.agent.language_preferences:
                try:
                    texts = await phrases_of(phrases, tenant, agent_id, language)
                    spec = JobSpec("pregenerate", agent_id, language)
                    ref = await store.create_warm_up(tenant, spec, texts)
                    made += [ref] if ref is not None else []
                    passed += ref is None
                except (RequestError, TooManyJobs):
                    passed += 1
    report = {"jobs": len(made), "agents": seen, "passed": passed}
    tell = _log.warning if passed else _log.info
    tell("warm_up", task=PREGENERATE_AGENT_VOICES, **report)
    return made, report
