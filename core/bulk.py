"""One text of many: spoken as a whole, kept as its caller wants, told as a result, never raised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from core.analytics.recorder import CLIENT_GONE, Recorder
from core.cache.envelope import RenditionEntry
from core.deadline import Deadline
from core.errors import Busy, DeadlineExceeded, ProviderBusy, RequestError, SeiketsuError
from core.jobs import ItemResult
from core.longest import longest_speech_s
from core.speech import Origin, SpeechPlan, SpeechRequest, SpeechTrace

_LONGEST_PAUSE_S: Final = 5.0
_SHORTEST_PAUSE_S: Final = 0.2

Keep = Callable[[SpeechPlan, RenditionEntry], Awaitable[str | None]]
"""Keeps a text's audio and returns the signed id of its link; None where it has none."""

Again = Callable[[SeiketsuError], bool]
"""Whether whoever asks tries a text that failed so another time."""


async def in_the_cache(_: SpeechPlan, __: RenditionEntry) -> str | None:
    """Keeps nothing: the audio is in the cache, which is all that was wanted."""
    return None


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

    def __init__(self, service: Speaking, recorder: Recorder) -> None:
        self._service = service
        self._recorder = recorder

    async def speak(
        self,
        request: SpeechRequest,
        request_id: str,
        keep: Keep,
        *,
        patience_s: float,
        again: Again | None = None,
    ) -> ItemResult:
        """Speak one text. Where there is no room it is tried again for `patience_s` seconds; each
        try has the time of `longest_try_s`, and `keep` its own.

        A text is recorded once, as it ended. With `again`, being left off was not its end, nor is
        a failure of which that says so.

        Raises:
            Exception: a fault that is not one of ours; what is ours becomes a failed result.
        """
        trace = self._service.new_trace(request_id, request)
        passing = again is not None
        try:
            until_s = time.monotonic() + patience_s
            pause_s = _SHORTEST_PAUSE_S
            while True:
                try:
                    plan, entry = await self._in_time(request, trace)
                    result = _spoken(plan, entry, trace, await keep(plan, entry))
                    passing = False
                    return result
                except SeiketsuError as error:
                    trace.error_code = error.code
                    wait_s = min(_LONGEST_PAUSE_S, max(pause_s, error.retry_after_s or 0.0))
                    if not refused_for_load(error) or time.monotonic() + wait_s > until_s:
                        passing = again is not None and again(error)
                        return failed(error, trace)
                    pause_s *= 2
                await asyncio.sleep(wait_s)
                trace = self._service.new_trace(request_id, request)
        except BaseException as error:
            gone = isinstance(error, asyncio.CancelledError)
            trace.error_code = CLIENT_GONE if gone else SeiketsuError.code
            raise
        finally:
            if not passing:
                trace.processing_ms = trace.now_ms()
                self._recorder.record(trace)

    async def _in_time(
        self, request: SpeechRequest, trace: SpeechTrace
    ) -> tuple[SpeechPlan, RenditionEntry]:
        deadline = self._service.new_deadline(request.origin)
        bound = asyncio.timeout(longest_try_s(deadline, len(request.text)))
        try:
            async with bound:
                return await self._once(request, trace, deadline)
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise DeadlineExceeded("The text did not come to its end in time.") from error

    async def _once(
        self, request: SpeechRequest, trace: SpeechTrace, deadline: Deadline
    ) -> tuple[SpeechPlan, RenditionEntry]:
        try:
            plan = await self._service.plan(request)
        except RequestError:
            # Not known to be an agent's id: it may be anything the caller wrote.
            trace.agent_id = ""
            raise
        return plan, await self._service.whole(plan, trace, deadline)


def _spoken(
    plan: SpeechPlan, entry: RenditionEntry, trace: SpeechTrace, audio_id: str | None
) -> ItemResult:
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


def longest_try_s(deadline: Deadline, characters: int) -> float:
    """How long one try of a text may take: what one segment may, and all of it at the pace of
    speech, which the slowest voice keeps."""
    return deadline.left_s() + longest_speech_s(characters)


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
        error_action=error.action,
    )
