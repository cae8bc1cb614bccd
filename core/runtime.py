"""The one place where concretes meet: builds what the settings describe and closes all of it.

Opened by the gateway's lifespan and by every worker; nothing else makes clients, pools or tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.agent_store import AgentStore, open_agent_store
from core.agents import AgentSnapshot
from core.analytics.exporter import open_exporter
from core.analytics.recorder import Recorder
from core.audio.codecs import CodecPool
from core.cache.memory import MemoryTier
from core.cache.shared import SharedTier
from core.cache.tiered import SpeechCache
from core.embedded import with_default_places
from core.errors import ProviderError
from core.heap import trimmed
from core.phrases import PhraseStore
from core.providers import elevenlabs
from core.providers.base import SpeechProvider
from core.providers.elevenlabs import ElevenLabs, open_elevenlabs
from core.providers.local import LocalProvider
from core.redis import open_redis
from core.resilience.audible import Audible
from core.resilience.race import Race
from core.resilience.retry import Retry
from core.results import ResultStore
from core.settings import (
    Settings,
    SpeechSettings,
    UpstreamSettings,
    VoiceServerSettings,
)
from core.settings_check import PLAN_CONCURRENCY
from core.signing import load_signing_key
from core.synthesis.flight import FlightBoard
from core.synthesis.limiter import Limited, Limiter, LocalLanes
from core.synthesis.plan import ChainLink, Planner
from core.synthesis.service import SpeechService, deadline_maker
from core.synthesis.voicing import ReplyParts
from core.text.languages import LANGUAGES, Language
from core.text.spoken import warm as warm_text
from core.voices.registry import LOCAL_VOICES, lane_of

log = structlog.get_logger(__name__)

_CALLS_PER_VOICE_PROCESS = 2
"""Calls under way for each quick child of the voice server: one at work and one ready to follow.
The rest wait here, where the first segments of utterances go before later ones. For the slow
children all wait at the server, which knows at once who cannot be in time."""

_CACHE_CONNECTIONS = 24
_STATE_CONNECTIONS = 16
_RETRY_PAUSE_S = 0.05
_LOCAL_TRIES = 3
"""The local voice costs nothing and is the last of the chain: a crash may hit one request twice."""
_MOST_RESERVE = 0.65
"""Share of the response time that the fallback's reserve takes at the most."""
_WRITE_TIMEOUTS = 10
"""The audio client waits this many times as long as a lookup does, which has a bound of its own:
nobody waits for a write, and it carries more."""
_READY_S = 1.0
_DRAIN_S = 2.0
"""Longest wait at the end for audio that was paid for to reach the shared cache."""


class Runtime(msgspec.Struct, frozen=True):
    """Everything that is open."""

    settings: Settings
    service: SpeechService
    results: ResultStore
    recorder: Recorder
    agents: AgentSnapshot
    agent_store: AgentStore
    phrases: PhraseStore
    cache: SpeechCache
    board: FlightBoard
    limiters: tuple[Limiter, ...]
    upstream: ElevenLabs | None
    local: LocalProvider
    state: Redis
    audio: Redis

    async def ready(self) -> dict[str, bool]:
        """What a load balancer wants to know, by part; bounded to about a second.

        Only the local voice is needed: without Redis speech goes on.
        """
        voice, state, audio = await asyncio.gather(
            self._voice_ready(), _answers(self.state), _answers(self.audio)
        )
        return {"local_voice": voice, "state_store": state, "cache_store": audio}

    async def spoken_offline(self) -> dict[Language, bool | None]:
        """By language whether the local voice is ready; None while the voice server is silent."""
        try:
            status = await self.local.status(timeout_s=_READY_S)
        except ProviderError:
            return dict.fromkeys(LANGUAGES)
        ready = {"quick": status.quick.ready > 0, "slow": status.slow.ready > 0}
        return {language: ready[lane_of(voice)] for language, voice in LOCAL_VOICES.items()}

    def gauges(self) -> dict[str, int]:
        """What is under way in this process at this moment."""
        gauges = {"flights": len(self.board), "held_audio_bytes": self.board.held_bytes}
        for limiter in self.limiters:
            gauges[f"{limiter.name}_in_use"] = limiter.in_use
            gauges[f"{limiter.name}_waiting"] = limiter.waiting
            gauges[f"{limiter.name}_limit"] = limiter.limit
        return gauges if self.upstream is None else gauges | self.upstream.gauges()

    async def _voice_ready(self) -> bool:
        try:
            async with asyncio.timeout(_READY_S):
                status = await self.local.status()
                return status.quick.ready > 0
        except Exception as error:  # whatever it is, the voice is not ready
            log.debug("voice_not_ready", kind=type(error).__name__)
            return False


async def _answers(store: Redis) -> bool:
    try:
        async with asyncio.timeout(_READY_S):
            await store.ping()
            return True
    except (RedisError, OSError, RuntimeError):
        return False


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Build everything; leaving the block closes it in the opposite order."""
    settings = with_default_places(settings)
    async with AsyncExitStack() as stack:
        state = _redis(
            stack, settings.redis.state_url, settings.redis.state_timeout_s, _STATE_CONNECTIONS
        )
        audio = _redis(
            stack,
            settings.redis.cache_url,
            settings.redis.timeout_s * _WRITE_TIMEOUTS,
            _CACHE_CONNECTIONS,
        )
        await stack.enter_async_context(trimmed(settings.trim_every_s))
        codecs = await stack.enter_async_context(CodecPool())
        cache = SpeechCache(
            MemoryTier(settings.cache.memory_bytes),
            SharedTier(audio, timeout_s=settings.redis.timeout_s, ttl_s=settings.cache.ttl_s),
            ttl_s=settings.cache.ttl_s,
            common_ttl_s=settings.cache.common_ttl_s,
        )
        stack.push_async_callback(cache.aclose)
        stack.push_async_callback(cache.drain, _DRAIN_S)

        local = LocalProvider(settings.voice_socket)
        lanes = _local_lanes(settings.voices)
        arms: list[SpeechProvider] = [
            Audible(Limited(Retry(local, tries=_LOCAL_TRIES, pause_s=_RETRY_PAUSE_S), lanes))
        ]
        chain = [ChainLink("local", "")]
        limiters = [lanes.quick, lanes.slow]
        upstream: ElevenLabs | None = None
        if settings.upstream.enabled:
            upstream, arm, limiter = await _upstream_arm(stack, settings.upstream)
            arms.insert(0, arm)
            limiters.insert(0, limiter)
            chain.insert(0, ChainLink("elevenlabs", _account(settings.upstream), elevenlabs.ENGINE))
        race = Race(arms, reserve_s=_reserve_s(settings.speech))
        stack.push_async_callback(race.aclose)
        board = FlightBoard(race, max_bytes=settings.speech.max_flight_bytes)
        stack.push_async_callback(board.aclose)

        await asyncio.to_thread(warm_text)
        agents = AgentSnapshot()
        agent_store = await stack.enter_async_context(open_agent_store(state, agents))
        service = SpeechService(
            settings,
            Planner(agents, chain, settings.speech),
            cache,
            ReplyParts(
                cache=cache,
                board=board,
                codecs=codecs,
                new_deadline=deadline_maker(settings),
                lookahead_segments=settings.speech.lookahead_segments,
                prepare=None if upstream is None else upstream.prepare,
            ),
        )
        results = ResultStore(
            state,
            await load_signing_key(state, settings),
            settings.cache.result_ttl_s,
            max_text_chars=settings.speech.max_text_chars,
        )
        recorder = Recorder()
        exporter = await stack.enter_async_context(open_exporter(settings.monitoring))
        if exporter is not None:
            recorder.tell = exporter.offer
        yield Runtime(
            settings=settings,
            service=service,
            results=results,
            recorder=recorder,
            agents=agents,
            agent_store=agent_store,
            phrases=PhraseStore(state, agents),
            cache=cache,
            board=board,
            limiters=tuple(limiters),
            upstream=upstream,
            local=local,
            state=state,
            audio=audio,
        )


def _redis(stack: AsyncExitStack, url: str, timeout_s: float, connections: int) -> Redis:
    client = open_redis(url, timeout_s=timeout_s, max_connections=connections)
    stack.push_async_callback(client.aclose)
    return client


def _local_lanes(settings: VoiceServerSettings) -> LocalLanes:
    calls, queue = settings.processes * _CALLS_PER_VOICE_PROCESS, settings.queue_limit
    everything = settings.slow_processes + queue + 1
    return LocalLanes(
        quick=Limiter("local", limit=calls, cap=calls, queue_limit=queue),
        slow=Limiter("local_slow", limit=everything, cap=everything, queue_limit=0),
    )


async def _upstream_arm(
    stack: AsyncExitStack, settings: UpstreamSettings
) -> tuple[ElevenLabs, SpeechProvider, Limiter]:
    limiter = Limiter(
        "elevenlabs",
        limit=PLAN_CONCURRENCY[settings.plan],
        cap=settings.max_concurrent,
        queue_limit=settings.queue_limit,
    )
    provider = open_elevenlabs(settings, on_concurrency=limiter.follow)
    warming = asyncio.create_task(provider.warm(), name="upstream-warm")

    async def stop_warming() -> None:
        warming.cancel()
        await asyncio.wait([warming])

    stack.push_async_callback(stop_warming)
    arm = Audible(Limited(Retry(provider, tries=settings.tries, pause_s=_RETRY_PAUSE_S), limiter))
    return provider, arm, limiter


def _reserve_s(settings: SpeechSettings) -> float:
    """Never so much that the asked voice would have no head start left."""
    most_ms = settings.response_timeout_ms * _MOST_RESERVE
    return min(settings.fallback_reserve_ms, most_ms) / 1000


def _account(settings: UpstreamSettings) -> str:
    return settings.account or (urlsplit(settings.base_url).hostname or "")
