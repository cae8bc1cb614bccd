"""Speech in time: several providers under one deadline, the first that is heard wins.

The first arm starts at once; the next when it has failed, or when only the reserve of the response
time is left. The first chunk is the commit point: the other arms are cancelled, and a failure after
it is a truncated stream, never a second voice.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing

import structlog

from core.errors import (
    AllProvidersFailed,
    Busy,
    DeadlineExceeded,
    SeiketsuError,
    SpeechError,
    StreamTruncated,
)
from core.providers.base import SpeechCall, SpeechProvider, SpokenText
from core.speech import AttemptTrace, AudioChunk, SegmentPlan
from core.text.shared import SharedText

log = structlog.get_logger(__name__)

_STOP_S = 2.0
"""Longest wait for cancelled arms to give back what they hold."""

_Event = tuple["_Arm", AudioChunk | SeiketsuError | None]


class _Arm:
    """One provider in the race, read by a task of its own so that it can be cancelled alone."""

    def __init__(self, provider: SpeechProvider, record: AttemptTrace) -> None:
        self.provider = provider
        self.record = record
        self._task: asyncio.Task[None] | None = None

    def start(
        self,
        text: SpokenText,
        segment: SegmentPlan,
        call: SpeechCall,
        events: asyncio.Queue[_Event],
    ) -> None:
        self._task = asyncio.create_task(
            self._read(text, segment, call, events), name=f"arm-{self.provider.name}"
        )

    def cancel(self) -> asyncio.Task[None] | None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
        return self._task

    async def _read(
        self,
        text: SpokenText,
        segment: SegmentPlan,
        call: SpeechCall,
        events: asyncio.Queue[_Event],
    ) -> None:
        end: SeiketsuError | None = None
        try:
            async with aclosing(self.provider.stream(text, segment, call)) as chunks:
                async for chunk in chunks:
                    await events.put((self, chunk))
        except SeiketsuError as error:
            end = error
        except TimeoutError:
            end = DeadlineExceeded()
        except Exception as error:
            log.exception("provider_failed", provider=self.provider.name, kind=type(error).__name__)
            end = SpeechError("A voice provider failed for a reason of our own.")
        await events.put((self, end))


class Race:
    """Providers in order of preference, raced for each segment that has an attempt with them."""

    def __init__(self, arms: Sequence[SpeechProvider], *, reserve_s: float) -> None:
        self._providers = tuple(arms)
        self._reserve_s = reserve_s

    @property
    def name(self) -> str:
        """The names of the arms."""
        return "+".join(provider.name for provider in self._providers)

    async def stream(
        self, text: SpokenText, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        """Audio of the first provider that is heard; `call.trace.winner` says whose it is.

        Raises:
            AllProvidersFailed: none was heard.
            Busy: none has room, and nothing else is wrong; with the smallest hint.
            DeadlineExceeded: none was heard in time.
            StreamTruncated: the one that was heard did not come to its end.
        """
        async with AsyncExitStack() as stack:
            shared: SharedText | None = None
            if not isinstance(text, str):
                shared = await stack.enter_async_context(SharedText(text))
            arms: list[_Arm] = []
            waiting = [p for p in self._providers if segment.attempt_of(p.name) is not None]
            events: asyncio.Queue[_Event] = asyncio.Queue(maxsize=64)

            def start_next() -> None:
                provider = waiting.pop(0)
                attempt = segment.attempt_of(provider.name)
                assert attempt is not None  # noqa: S101
                arm = _Arm(provider, call.trace.begin(attempt))
                arms.append(arm)
                arm.start(text if shared is None else shared.reader(), segment, call, events)

            stack.push_async_callback(_stop, arms)
            if not waiting:
                raise AllProvidersFailed("No provider has a voice for this segment.")
            start_next()
            failures: list[SeiketsuError] = []
            while True:
                event = await self._next(events, call, can_start=bool(waiting))
                if event is None:
                    start_next()
                    continue
                arm, what = event
                if isinstance(what, AudioChunk):
                    break
                failures.append(_failed(arm, what))
                if waiting:
                    start_next()
                elif len(failures) == len(arms):
                    raise _all_failed(failures)
            arm.record.outcome = "won"
            arm.record.first_chunk_ms = call.trace.now_ms()
            call.trace.winner = segment.attempt_of(arm.provider.name)
            for other in arms:
                if other is not arm and other.record.outcome == "running":
                    other.record.outcome = "lost"
                    other.cancel()
            while isinstance(what, AudioChunk):
                yield what
                what = await _after(arm, events, call)

    async def _next(
        self, events: asyncio.Queue[_Event], call: SpeechCall, *, can_start: bool
    ) -> _Event | None:
        """The next event before the commit point; None when it is time to start another arm."""
        if can_start:
            left_s = call.deadline.due_left_s() - self._reserve_s
        else:
            left_s = call.deadline.first_audio_left_s()
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                return await events.get()
        except TimeoutError as error:
            if can_start:
                return None
            raise DeadlineExceeded() from error

    async def aclose(self) -> None:
        """Close every arm's provider."""
        for provider in self._providers:
            await provider.aclose()


async def _after(
    winner: _Arm, events: asyncio.Queue[_Event], call: SpeechCall
) -> AudioChunk | None:
    """The winner's next chunk, or None at its end."""
    name = winner.provider.name
    while True:
        try:
            async with asyncio.timeout(call.deadline.left_s()):
                arm, what = await events.get()
        except TimeoutError as error:
            raise StreamTruncated("The speech did not end in time.", provider=name) from error
        if arm is not winner:
            continue
        if isinstance(what, SeiketsuError):
            winner.record.outcome = "failed"
            winner.record.error_code = what.code
            if isinstance(what, StreamTruncated):
                raise what
            raise StreamTruncated(what.message, provider=name) from what
        return what


def _failed(arm: _Arm, what: SeiketsuError | None) -> SeiketsuError:
    error = what or SpeechError(f"The {arm.provider.name} voice sent nothing.")
    arm.record.outcome = "failed"
    arm.record.error_code = error.code
    return error


def _all_failed(failures: list[SeiketsuError]) -> SeiketsuError:
    if all(isinstance(failure, Busy) for failure in failures):
        return min(failures, key=lambda failure: failure.retry_after_s or math.inf)
    return AllProvidersFailed("; ".join(f.message for f in failures), causes=failures)


async def _stop(arms: list[_Arm]) -> None:
    tasks = [task for arm in arms if (task := arm.cancel()) is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=_STOP_S)
