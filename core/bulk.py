"""One text of many: spoken as a whole, kept behind a link, and told as a result, never raised."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from core.analytics.recorder import Recorder
from core.cache.envelope import RenditionEntry
from core.deadline import Deadline
from core.errors import Busy, ProviderBusy, RequestError, SeiketsuError
from core.jobs import ItemResult
from core.results import ResultStore
from core.speech import Origin, SpeechPlan, SpeechRequest, SpeechTrace

_LONGEST_PAUSE_S: Final = 5.0
_SHORTEST_PAUSE_S: Final = 0.2


class Speaking(Protocol):
    """What is needed of the speech service (`core.synthesis.service`)."""

    async def plan(self, request: SpeechRequest) -> SpeechPlan: ...

    def new_trace(self, request_id: str, request: SpeechRequest) -> SpeechTrace: ...

    def new_deadline(self, origin: Origin = "live") -> Deadline: ...

    async def whole(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> RenditionEntry: ...


class BulkSpeaker:
    """Speaks texts one after the other or at once; holds nothing between them."""

    def __init__(self, service: Speaking, results: ResultStore, recorder: Recorder) -> None:
        self._service = service
        self._results = results
        self._recorder = recorder

    async def speak(
        self,
        request: SpeechRequest,
        request_id: str,
        *,
        patience_s: float,
        keep: bool = True,
        keep_s: int | None = None,
    ) -> ItemResult:
        """Speak one text. Where there is no room it is tried again for `patience_s` seconds.

        `keep` puts the audio into the result store, for `keep_s` seconds or as long as usual.

        Raises:
            Exception: a fault that is not one of ours; what is ours becomes a failed result.
        """
        until_s = time.monotonic() + patience_s
        pause_s = _SHORTEST_PAUSE_S
        while True:
            trace = self._service.new_trace(request_id, request)
            try:
                return await self._once(request, trace, keep=keep, keep_s=keep_s)
            except SeiketsuError as error:
                trace.error_code = error.code
                wait_s = min(_LONGEST_PAUSE_S, max(pause_s, error.retry_after_s or 0.0))
                if not refused_for_load(error) or time.monotonic() + wait_s > until_s:
                    return failed(error, trace)
                pause_s *= 2
            finally:
                trace.processing_ms = trace.now_ms()
                self._recorder.record(trace)
            await asyncio.sleep(wait_s)

    async def _once(
        self, request: SpeechRequest, trace: SpeechTrace, *, keep: bool, keep_s: int | None
    ) -> ItemResult:
        try:
            plan = await self._service.plan(request)
        except RequestError:
            # Not known to be an agent's id: it may be anything the caller wrote.
            trace.agent_id = ""
            raise
        deadline = self._service.new_deadline(request.origin)
        entry = await self._service.whole(plan, trace, deadline)
        audio_id = None
        if keep:
            audio_id = await self._results.put(
                plan.tenant, plan.agent_id, plan.rendition_key, entry, ttl_s=keep_s
            )
        return ItemResult(
            state="done",
            audio_id=audio_id,
            duration_ms=entry.duration_ms,
            cached=trace.cached,
            quality_score=entry.quality_score,
            provider=trace.provider,
            fallback=trace.fallback,
            characters=plan.characters,
            processing_time_ms=round(trace.now_ms(), 3),
        )


def refused_for_load(error: SeiketsuError) -> bool:
    """Whether the same text may well be spoken a little later."""
    if isinstance(error, Busy | ProviderBusy):
        return True
    causes = getattr(error, "causes", ())
    return bool(causes) and any(isinstance(cause, Busy | ProviderBusy) for cause in causes)


def failed(error: SeiketsuError, trace: SpeechTrace | None = None) -> ItemResult:
    """The result of a text that was not spoken."""
    return ItemResult(
        state="failed",
        characters=0 if trace is None else trace.characters,
        processing_time_ms=0.0 if trace is None else round(trace.now_ms(), 3),
        error_code=error.code,
        error_message=error.message,
        retryable=error.retryable,
    )
