"""A speech service with knobs behind `gateway.ports`, and a runtime around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import msgspec
from redis.asyncio import Redis

from core.agent_store import AgentStore
from core.agents import AgentSnapshot
from core.analytics.recorder import Recorder
from core.cache.envelope import RenditionEntry
from core.deadline import Deadline
from core.errors import TextEmpty, UnknownAgent
from core.phrases import PhraseStore
from core.redis import open_redis
from core.results import ResultStore
from core.settings import Settings
from core.signing import SigningKey
from core.speech import Origin, Provenance, SegmentResult, SpeechPlan, SpeechRequest, SpeechTrace
from core.synthesis.live import Flush, SpokenPiece
from core.text.languages import Language
from gateway.ports import Runtime, RuntimeFactory

PROVENANCE = Provenance(provider="fake", voice="v1", model="m1", language="en")


def entry_of(audio: bytes, output_format: str = "mp3_24000_128") -> RenditionEntry:
    """A finished reply with that audio."""
    return RenditionEntry(output_format, audio, 500, 0.9, (), PROVENANCE)


class FakeSpeech:
    """Every knob may be turned while it runs; counts what is open."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = [b"one", b"two", b"three"]
        self.first_after_s = 0.0
        self.between_s = 0.0
        self.fail_before: BaseException | None = None
        self.fail_after: BaseException | None = None
        """Raised after the last piece."""
        self.plan_error: Exception | None = None
        self.held: dict[str, RenditionEntry] = {}
        """What `peek` finds, by text."""
        self.fallback = False
        self.endless = False
        self.calls = 0
        self.opened = 0
        self.closed = 0
        self.made_at_s: list[float] = []
        self.requests: list[SpeechRequest] = []
        self._texts: dict[str, str] = {}

    async def plan(self, request: SpeechRequest) -> SpeechPlan:
        self.requests = [*self.requests[-99:], request]
        if self.plan_error is not None:
            raise self.plan_error
        if request.agent_id != "agent_123":
            raise UnknownAgent("There is no such voice agent.")
        if not any(c.isalnum() for c in request.text):
            raise TextEmpty()
        from core.audio.formats import resolve

        name = resolve(request.output_format, 128).name
        key = f"{hash((request.text, name, request.language)) & (2**64 - 1):032x}"
        self._texts = {key: request.text}
        return SpeechPlan(
            tenant=request.tenant,
            agent_id=request.agent_id,
            profile="friendly_female",
            language=request.language or "en",
            output_format=name,
            characters=len(request.text),
            enable_caching=request.enable_caching,
            origin="live",
            common=request.common,
            segments=(),
            rendition_key=key,
        )

    def new_trace(self, request_id: str, request: SpeechRequest) -> SpeechTrace:
        return SpeechTrace(request_id, request.tenant, request.agent_id, language="en")

    def new_deadline(self, origin: Origin = "live") -> Deadline:
        return Deadline.after(first_audio_s=2, whole_s=30)

    def peek(self, plan: SpeechPlan, trace: SpeechTrace) -> RenditionEntry | None:
        entry = self.held.get(self._texts.get(plan.rendition_key, ""))
        if entry is not None:
            trace.rendition_source = "memory"
            self._name(trace)
            trace.duration_ms = entry.duration_ms
            trace.quality_score = entry.quality_score
            trace.audio_bytes = len(entry.audio)
            trace.first_audio_ms = trace.now_ms()
        return entry

    async def speak(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> AsyncGenerator[bytes, None]:
        self.calls += 1
        self.opened += 1
        self.made_at_s = []
        try:
            await asyncio.sleep(self.first_after_s)
            if self.fail_before is not None:
                raise self.fail_before
            trace.segments.append(SegmentResult("flight", PROVENANCE, self.fallback))
            self._name(trace)
            trace.fallback = self.fallback
            while True:
                for chunk in self.chunks:
                    self.made_at_s.append(time.monotonic())
                    if trace.first_audio_ms is None:
                        trace.first_audio_ms = trace.now_ms()
                    trace.audio_bytes += len(chunk)
                    yield chunk
                    await asyncio.sleep(self.between_s)
                if not self.endless:
                    break
            if self.fail_after is not None:
                raise self.fail_after
        finally:
            self.closed += 1

    async def whole(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> RenditionEntry:
        audio = b"".join([chunk async for chunk in self.speak(plan, trace, deadline)])
        trace.duration_ms, trace.quality_score = 500, 0.9
        return entry_of(audio, plan.output_format)

    async def pieces(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> AsyncGenerator[SpokenPiece, None]:
        """Every chunk is 100 ms without words."""
        trace.language, trace.output_format = plan.language, plan.output_format
        at_ms = 0.0
        async with aclosing(self.speak(plan, trace, deadline)) as chunks:
            async for chunk in chunks:
                yield SpokenPiece(chunk, at_ms, 100.0, (), 0, 0, 0.0)
                at_ms += 100.0
        trace.duration_ms, trace.quality_score = round(at_ms), 0.9

    async def converse(
        self,
        request: SpeechRequest,
        text: AsyncIterator[str | Flush],
        trace: SpeechTrace,
        *,
        lead_s: Callable[[], float],
    ) -> AsyncGenerator[SpokenPiece, None]:
        """Spoken once it is complete."""
        whole = "".join([piece async for piece in text if isinstance(piece, str)])
        plan = await self.plan(msgspec.structs.replace(request, text=whole))
        async with aclosing(self.pieces(plan, trace, self.new_deadline())) as pieces:
            async for piece in pieces:
                yield piece

    def _name(self, trace: SpeechTrace) -> None:
        trace.provider, trace.voice, trace.model = "fake", "v1", "m1"


class FakeRuntime:
    """A runtime around a fake service and a real result store."""

    def __init__(self, service: FakeSpeech, redis: Redis, settings: Settings) -> None:
        self.service = service
        self.state = redis
        key = SigningKey(b"k" * 32, shared=True)
        self.results = ResultStore(redis, key, settings.cache.result_ttl_s)
        self.recorder = Recorder()
        agents = AgentSnapshot()
        self.agent_store = AgentStore(redis, agents)
        self.phrases = PhraseStore(redis, agents)
        self.checks = {"local_voice": True, "state_store": True}
        self.ready_after_s = 0.0

    async def spoken_offline(self) -> dict[Language, bool | None]:
        return {"en": True, "es": True, "zh": False}

    def gauges(self) -> dict[str, int]:
        return {"flights": 0}

    async def ready(self) -> dict[str, bool]:
        await asyncio.sleep(self.ready_after_s)
        return self.checks


class Box:
    """Hands a test the runtime that its app opened."""

    def __init__(self, service: FakeSpeech) -> None:
        self.service = service
        self.runtime: FakeRuntime | None = None

    def factory(self) -> RuntimeFactory:
        """Opens a `FakeRuntime` on the state database of the settings."""

        @asynccontextmanager
        async def open_fake(settings: Settings) -> AsyncIterator[Runtime]:
            redis = open_redis(settings.redis.state_url, timeout_s=0.5, max_connections=16)
            self.runtime = FakeRuntime(self.service, redis, settings)
            try:
                yield self.runtime
            finally:
                await redis.aclose()

        return open_fake
