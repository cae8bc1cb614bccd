"""Bounds the calls under way at one provider, and who waits for a place.

The limiter stands inside each arm of the race, so a full provider never holds up the other one.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Protocol

import msgspec

from core.deadline import Deadline
from core.errors import Busy, ProviderRejected
from core.providers.base import SpeechCall, SpeechProvider, SpokenText
from core.speech import Attempt, AudioChunk, SegmentPlan
from core.voices.registry import lane_of

_SMOOTHING = 0.2
"""Weight of the newest call in the running mean of how long a place is held."""


class Limits(Protocol):
    """The limiters of a provider."""

    def of(self, attempt: Attempt) -> Limiter:
        """The one whose places an attempt takes."""
        ...


class Limiter:
    """Places at a provider. Whose first audio is due earliest goes first, then who came first."""

    def __init__(self, name: str, *, limit: int, cap: int, queue_limit: int) -> None:
        self.name = name
        self.limit = min(limit, cap)
        self.in_use = 0
        self._cap = cap
        self._queue_limit = queue_limit
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrivals = 0
        self._held_s = 0.3

    def of(self, attempt: Attempt) -> Limiter:
        """See `Limits`: the only one."""
        return self

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return sum(1 for _, _, place in self._waiting if not place.done())

    def follow(self, limit: int) -> None:
        """Take over the limit that the provider itself reports; the cap stays."""
        self.limit = max(1, min(limit, self._cap))
        self._admit()

    @asynccontextmanager
    async def place(self, deadline: Deadline) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        Raises:
            Busy: the queue is full or no place came free before the first audio is due.
        """
        await self._acquire(deadline)
        loop = asyncio.get_running_loop()
        since = loop.time()
        try:
            yield
        finally:
            self._held_s += _SMOOTHING * (loop.time() - since - self._held_s)
            self._release()

    async def _acquire(self, deadline: Deadline) -> None:
        if self.in_use < self.limit and not self._waiting:
            self.in_use += 1
            return
        waiting = self.waiting
        if waiting >= self._queue_limit:
            raise self._busy(waiting)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (deadline.first_audio_at_s, self._arrivals, place))
        try:
            async with asyncio.timeout(deadline.first_audio_left_s()):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self._release()
            else:
                place.cancel()
                self._drop_cancelled()
            if isinstance(error, TimeoutError):
                raise self._busy(waiting) from error
            raise

    def _busy(self, waiting: int) -> Busy:
        seconds = self._held_s * (waiting + 1) / self.limit
        return Busy(
            f"Every place at the {self.name} voice is taken.", retry_after_s=max(0.1, seconds)
        )

    def _release(self) -> None:
        self.in_use -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.in_use < self.limit:
            _, _, place = heapq.heappop(self._waiting)
            if not place.done():
                self.in_use += 1
                place.set_result(None)

    def _drop_cancelled(self) -> None:
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)


class LocalLanes(msgspec.Struct, frozen=True):
    """One limiter for each lane of the local voices: a slow voice holds no place of a quick one."""

    quick: Limiter
    slow: Limiter

    def of(self, attempt: Attempt) -> Limiter:
        """See `Limits`."""
        return self.slow if lane_of(attempt.voice) == "slow" else self.quick


class Limited:
    """A provider behind a limiter: a place is held until the provider's last byte."""

    def __init__(self, provider: SpeechProvider, limits: Limits) -> None:
        self._provider = provider
        self._limits = limits

    @property
    def name(self) -> str:
        """The wrapped provider's name."""
        return self._provider.name

    async def stream(
        self, text: SpokenText, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        """As the wrapped provider, after a place came free.

        Raises:
            Busy: none did.
            ProviderRejected: the segment has no attempt with this provider.
        """
        attempt = segment.attempt_of(self.name)
        if attempt is None:
            raise ProviderRejected("The plan has no voice of this provider.", provider=self.name)
        record = call.trace.begin(attempt)
        asked_ms = call.trace.now_ms()
        async with self._limits.of(attempt).place(call.deadline):
            record.queued_ms = call.trace.now_ms() - asked_ms
            async with aclosing(self._provider.stream(text, segment, call)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def aclose(self) -> None:
        """Close the wrapped provider."""
        await self._provider.aclose()
