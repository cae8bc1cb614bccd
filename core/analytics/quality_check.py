"""Speaks a text anew, measures it, and tries the other profiles where it is not good enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from core.agents import PROFILES
from core.analytics.quality_advice import Heard, Recommendation, recommend
from core.audio.quality import QualityReport, quality_score
from core.cache.envelope import RenditionEntry
from core.deadline import Deadline
from core.errors import DeadlineExceeded, SeiketsuError
from core.speech import Origin, SpeechPlan, SpeechRequest, SpeechTrace, VoiceSettings

CANONICAL_FORMAT: Final = "pcm_24000"
"""What `core.audio.quality` measures: no codec stands between it and the voice."""

MAX_ALTERNATIVES: Final = 4
_AT_ONCE: Final = 2


class Voice(Protocol):
    """What is needed of `core.synthesis.service`."""

    async def plan(self, request: SpeechRequest) -> SpeechPlan: ...

    def new_trace(self, request_id: str, request: SpeechRequest) -> SpeechTrace: ...

    def new_deadline(self, origin: Origin = "live") -> Deadline: ...

    async def whole(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> RenditionEntry: ...


class Measured(msgspec.Struct, frozen=True):
    """One speaking of the text."""

    plan: SpeechPlan
    trace: SpeechTrace
    spoken: str
    """The text as the voice got it."""
    report: QualityReport
    duration_ms: int


class Alternative(msgspec.Struct, frozen=True):
    """The same text in another profile."""

    profile: str
    report: QualityReport
    provider: str | None


class Unmeasured(msgspec.Struct, frozen=True):
    """A profile that could not be measured, and why."""

    profile: str
    error: SeiketsuError


class Analysis(msgspec.Struct, frozen=True):
    """What was found."""

    heard: Measured
    meets_threshold: bool
    recommendations: list[Recommendation]
    alternatives: list[Alternative]
    """Best first; empty where the threshold is met."""
    unmeasured: list[Unmeasured]


class QualityCheck:
    """Analyses texts; `record` is handed every speaking when it is over."""

    def __init__(self, voice: Voice, record: Callable[[SpeechTrace], None]) -> None:
        self._voice = voice
        self._record = record

    async def analyse(self, request: SpeechRequest, request_id: str, threshold: float) -> Analysis:
        """Speak and judge `request.text`; no cache is read or written.

        Ends within the time of a whole request, alternatives included.

        Raises:
            RequestError: it cannot be spoken as asked.
            SpeechError, Busy: it was not spoken.
        """
        request = msgspec.structs.replace(
            request, output_format=CANONICAL_FORMAT, enable_caching=False
        )
        deadline = self._voice.new_deadline()
        heard = await self._measure(request, request_id, deadline)
        meets = heard.report.score >= threshold
        attempt = heard.plan.segments[0].attempts[0] if heard.plan.segments else None
        settings: VoiceSettings | None = None if attempt is None else attempt.settings
        alternatives: list[Alternative] = []
        unmeasured: list[Unmeasured] = []
        if not meets:
            same = msgspec.structs.replace(request, language=heard.plan.language)
            for found in await self._alternatives(same, request_id, heard.plan.profile, deadline):
                if isinstance(found, Alternative):
                    alternatives.append(found)
                else:
                    unmeasured.append(found)
        return Analysis(
            heard=heard,
            meets_threshold=meets,
            recommendations=recommend(
                Heard(
                    report=heard.report,
                    text=request.text,
                    spoken=heard.spoken,
                    language=heard.plan.language,
                    duration_ms=heard.duration_ms,
                    settings=settings,
                    meets_threshold=meets,
                )
            ),
            alternatives=sorted(alternatives, key=lambda a: -a.report.score),
            unmeasured=unmeasured,
        )

    async def _alternatives(
        self, request: SpeechRequest, request_id: str, profile: str, deadline: Deadline
    ) -> list[Alternative | Unmeasured]:
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(other: str) -> Alternative | Unmeasured:
            asked = msgspec.structs.replace(request, profile=other)
            try:
                async with asyncio.timeout(deadline.left_s()), places:
                    heard = await self._measure(asked, request_id, self._voice.new_deadline())
            except SeiketsuError as error:
                return Unmeasured(other, error)
            except TimeoutError:
                return Unmeasured(other, DeadlineExceeded("The request's time was over."))
            return Alternative(other, heard.report, heard.trace.provider)

        others = [other for other in PROFILES if other != profile][:MAX_ALTERNATIVES]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(other)) for other in others]
        return [task.result() for task in tasks]

    async def _measure(
        self, request: SpeechRequest, request_id: str, deadline: Deadline
    ) -> Measured:
        trace = self._voice.new_trace(request_id, request)
        # Not known to be an agent's id: it may be anything the caller wrote.
        trace.agent_id = ""
        try:
            plan = await self._voice.plan(request)
            trace.agent_id = plan.agent_id
            entry = await self._voice.whole(plan, trace, deadline)
            spoken = " ".join(segment.text for segment in plan.segments)
            report = await asyncio.to_thread(quality_score, entry.audio, spoken, plan.language)
            trace.quality_score = report.score
            return Measured(plan, trace, spoken, report, entry.duration_ms)
        except SeiketsuError as error:
            trace.error_code = trace.error_code or error.code
            raise
        finally:
            trace.processing_ms = trace.now_ms()
            self._record(trace)
