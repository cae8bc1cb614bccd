"""What a session needs of the rest of the process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from core.analytics.recorder import Recorder
from core.cache.envelope import RenditionEntry
from core.deadline import Deadline
from core.speech import Origin, SpeechPlan, SpeechRequest, SpeechTrace
from core.synthesis.live import Flush, SpokenPiece


class Speaker(Protocol):
    """What a session needs of the speech service."""

    async def plan(self, request: SpeechRequest) -> SpeechPlan: ...
    def new_trace(self, request_id: str, request: SpeechRequest) -> SpeechTrace: ...
    def new_deadline(self, origin: Origin = "live") -> Deadline: ...
    def peek(self, plan: SpeechPlan, trace: SpeechTrace) -> RenditionEntry | None: ...
    async def whole(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> RenditionEntry: ...
    def pieces(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> AsyncGenerator[SpokenPiece, None]: ...
    def converse(
        self,
        request: SpeechRequest,
        text: AsyncIterator[str | Flush],
        trace: SpeechTrace,
        *,
        lead_s: Callable[[], float],
    ) -> AsyncGenerator[SpokenPiece, None]: ...


class SessionParts(msgspec.Struct, frozen=True, gc=False):
    """What all sessions of a process share."""

    service: Speaker
    recorder: Recorder
    place: Callable[[], AbstractContextManager[None]]
    """One of the places for requests under way; raises `Busy`."""
    new_request_id: Callable[[], str]
    report: Callable[[BaseException, str], None]
    """Logs an error that nobody foresaw, with the request's id."""
    max_text_chars: int
    max_frame_bytes: int
    max_waiting: int = 8
    """Utterances of one session that may wait behind the one being spoken."""
