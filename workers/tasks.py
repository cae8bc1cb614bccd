"""The manual tasks, for programs in Python:

    from workers.tasks import bulk_voice_synthesis, pregenerate_agent_voices

    await pregenerate_agent_voices.delay(agent_id="agent_123", language="en")
    await bulk_voice_synthesis.delay(texts=["text1", "text2"], agent_id="agent_123", language="en")

Each makes a job and calls workers to it; `GET /api/v1/voice/jobs/{id}` tells how it stands. The
settings are those of the environment unless given.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec
from arq.connections import ArqRedis

from core.agent_store import open_agent_store
from core.agents import AgentSnapshot, languages_of
from core.embedded import with_default_places
from core.job_start import start_job
from core.job_store import JobStore
from core.jobs import JobSpec
from core.phrases import PhraseStore, phrases_of
from core.redis import open_redis
from core.settings import Settings, load_settings
from workers.queue import open_queue

_TENANT: Final = "default"
"""Whose keys name no tenant."""
_CONNECTIONS: Final = 4


class _Desk(msgspec.Struct, frozen=True):
    """What making a job needs."""

    agents: AgentSnapshot
    phrases: PhraseStore
    store: JobStore
    queue: ArqRedis

    max_text_chars: int

    async def start(self, tenant: str, spec: JobSpec, texts: Sequence[str]) -> str:
        enqueue, longest = self.queue.enqueue_job, self.max_text_chars
        ref = await start_job(self.store, enqueue, tenant, spec, texts, max_text_chars=longest)
        return ref.job_id


@asynccontextmanager
async def _desk(settings: Settings | None) -> AsyncIterator[_Desk]:
    settings = with_default_places(settings or load_settings(os.environ))
    async with AsyncExitStack() as stack:
        redis = open_redis(
            settings.redis.state_url,
            timeout_s=settings.redis.state_timeout_s,
            max_connections=_CONNECTIONS,
        )
        stack.push_async_callback(redis.aclose)
        agents = AgentSnapshot()
        await stack.enter_async_context(open_agent_store(redis, agents))
        queue = open_queue(settings.redis.state_url)
        stack.push_async_callback(queue.aclose)
        store = JobStore(redis, settings.jobs)
        phrases = PhraseStore(redis, agents)
        yield _Desk(agents, phrases, store, queue, settings.speech.max_text_chars)


class BulkVoiceSynthesis:
    """Speak texts in the background."""

    async def delay(
        self,
        *,
        texts: Sequence[str],
        agent_id: str,
        language: str | None = None,
        tenant: str = _TENANT,
        settings: Settings | None = None,
    ) -> str:
        """The id of the job that was made.

        Raises:
            UnknownAgent, UnsupportedLanguage: the agent is not there, or does not speak it.
            InvalidRequest, TextTooLong: no text, or one over the limit.
            TooManyTexts, TooManyJobs, NoAudioRoom: see `JobStore.create`.
            StoreError: the state database does not answer.
        """
        async with _desk(settings) as desk:
            languages_of(desk.agents.get(tenant, agent_id), language)
            return await desk.start(tenant, JobSpec("bulk", agent_id, language), texts)


class PregenerateAgentVoices:
    """Speak an agent's phrases into the cache."""

    async def delay(
        self,
        *,
        agent_id: str,
        language: str | None = None,
        tenant: str = _TENANT,
        settings: Settings | None = None,
    ) -> list[str]:
        """The ids of the jobs that were made: one for the language, or for each of the agent's.

        Raises:
            UnknownAgent, UnsupportedLanguage: the agent is not there, or does not speak it.
            TooManyJobs: see `JobStore.create`.
            StoreError: the state database does not answer.
        """
        async with _desk(settings) as desk:
            made: list[str] = []
            for one in languages_of(desk.agents.get(tenant, agent_id), language):
                phrases = await phrases_of(desk.phrases, tenant, agent_id, one)
                spec = JobSpec("pregenerate", agent_id, one)
                made.append(await desk.start(tenant, spec, phrases))
            return made


bulk_voice_synthesis: Final = BulkVoiceSynthesis()
pregenerate_agent_voices: Final = PregenerateAgentVoices()
