"""What the edge needs of the core, as protocols that `core.runtime` fulfils."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from redis.asyncio import Redis

from core.agent_store import AgentStore
from core.analytics.recorder import Recorder
from core.cache.envelope import RenditionEntry
from core.deadline import Deadline
from core.phrases import PhraseStore
from core.results import ResultStore
from core.settings import Settings
from core.speech import Origin, SpeechPlan, SpeechRequest, SpeechTrace
from core.synthesis.live import Flush, SpokenPiece
from core.text.languages import Language


class Speech(Protocol):
    """The speech service (`core.synthesis.service`)."""

    async def plan(self, request: SpeechRequest) -> SpeechPlan:
        """Decide everything about a request. Raises `RequestError`."""
        ...

    def new_trace(self, request_id: str, request: SpeechRequest) -> SpeechTrace:
        """The record of a request that begins now."""
        ...

    def new_deadline(self, origin: Origin = "live") -> Deadline:
        """The time of a request that begins now."""
        ...

    def peek(self, plan: SpeechPlan, trace: SpeechTrace) -> RenditionEntry | None:
        """The whole reply if this process holds it in memory."""
        ...

    def speak(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> AsyncGenerator[bytes, None]:
        """The encoded reply piece by piece; whoever iterates closes it."""
        ...

    async def whole(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> RenditionEntry:
        """The whole reply at once."""
        ...

    def pieces(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> AsyncGenerator[SpokenPiece, None]:
        """The encoded reply piece by piece with its timings; whoever iterates closes it."""
        ...

    def converse(
        self,
        request: SpeechRequest,
        text: AsyncIterator[str | Flush],
        trace: SpeechTrace,
        *,
        lead_s: Callable[[], float],
    ) -> AsyncGenerator[SpokenPiece, None]:
        """The same of a text that is still being written."""
        ...


class Runtime(Protocol):
    """Everything a gateway process has open."""

    @property
    def service(self) -> Speech: ...

    @property
    def results(self) -> ResultStore: ...

    @property
    def state(self) -> Redis: ...

    @property
    def recorder(self) -> Recorder: ...

    @property
    def agent_store(self) -> AgentStore: ...

    @property
    def phrases(self) -> PhraseStore: ...

    def gauges(self) -> dict[str, int]:
        """What is under way in this process at this moment."""
        ...

    async def ready(self) -> dict[str, bool]:
        """Each part this process leans on, and whether it answers."""
        ...

    async def spoken_offline(self) -> dict[Language, bool | None]:
        """By language whether the local voice is ready; None: it is not known."""
        ...


RuntimeFactory = Callable[[Settings], AbstractAsyncContextManager[Runtime]]
