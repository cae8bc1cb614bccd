"""One conversation: commands in, events out. It knows no socket and no web server.

Commands are handled as they arrive; only speech waits. One task at a time speaks, in the order of
the commands, and there is none while nothing is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from core.analytics.recorder import CLIENT_GONE, Recorder
from core.audio.formats import format_names, resolve
from core.cache.envelope import RenditionEntry
from core.conversation.events import (
    AudioMetadata,
    AudioResponse,
    Capabilities,
    Command,
    ConnectionEstablished,
    ErrorEvent,
    GetStats,
    Ping,
    Pong,
    SessionStats,
    Synthesize,
    encode_event,
)
from core.conversation.outbox import ClientLost, Outbox
from core.conversation.registry import Connection
from core.deadline import Deadline
from core.errors import Busy, FrameTooLarge, SeiketsuError, SessionBusy
from core.speech import Origin, SpeechPlan, SpeechRequest, SpeechTrace
from core.text.languages import AUTO, LANGUAGES

MAX_WAITING: Final = 8
"""Texts of one session that may wait behind the one being spoken."""
MAX_AUDIO_FRAME_BYTES: Final = 900_000
"""Largest frame sent: clients commonly close at 1 MiB."""
_END_S: Final = 5.0
"""Longest time that speech nobody waits for any more may take to end."""
_TOO_LARGE: Final = (
    f"The audio as hex is larger than a frame of {MAX_AUDIO_FRAME_BYTES} bytes may be."
)


class Speaker(Protocol):
    """What a session needs of the speech service."""

    async def plan(self, request: SpeechRequest) -> SpeechPlan: ...
    def new_trace(self, request_id: str, request: SpeechRequest) -> SpeechTrace: ...
    def new_deadline(self, origin: Origin = "live") -> Deadline: ...
    def peek(self, plan: SpeechPlan, trace: SpeechTrace) -> RenditionEntry | None: ...
    async def whole(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> RenditionEntry: ...


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


class Session:
    """The state of one conversation. Close it with `aclose()`."""

    __slots__ = (
        "_audio_bytes",
        "_cached",
        "_characters",
        "_connection",
        "_failed",
        "_outbox",
        "_parts",
        "_processing_ms",
        "_served",
        "_speaking",
        "_waiting",
    )

    def __init__(self, connection: Connection, parts: SessionParts, outbox: Outbox) -> None:
        self._connection = connection
        self._parts = parts
        self._outbox = outbox
        self._waiting: deque[Synthesize] = deque()
        self._speaking: asyncio.Task[None] | None = None
        self._served = self._failed = self._cached = 0
        self._characters = self._audio_bytes = 0
        self._processing_ms = 0.0

    @property
    def speaking(self) -> bool:
        """Whether a text is being spoken or waits."""
        return self._speaking is not None

    async def greet(self) -> None:
        """Send the first event."""
        connection, parts = self._connection, self._parts
        event = ConnectionEstablished(
            session_id=connection.session_id,
            voice_agent_id=connection.voice_agent_id,
            language=connection.language,
            capabilities=Capabilities(
                formats=format_names(),
                languages=(*LANGUAGES, AUTO),
                max_text_chars=parts.max_text_chars,
                max_frame_bytes=parts.max_frame_bytes,
                max_audio_frame_bytes=MAX_AUDIO_FRAME_BYTES,
                max_waiting_commands=MAX_WAITING,
            ),
            server_time_unix_s=round(time.time(), 3),
        )
        await self._outbox.put(encode_event(event))

    async def handle(self, command: Command) -> None:
        """Carry a command out, or let it wait for its turn to be spoken.

        Raises:
            ClientLost: the client cannot be reached any more.
        """
        match command:
            case Ping():
                event = Pong(round(time.time(), 3), command.command_id)
                await self._outbox.put(encode_event(event))
            case GetStats():
                await self._outbox.put(encode_event(self._stats(command.command_id)))
            case Synthesize():
                if len(self._waiting) > MAX_WAITING:
                    await self.refuse(SessionBusy(), command.command_id)
                    return
                self._connection.requests += 1
                self._waiting.append(command)
                if self._speaking is None:
                    self._speaking = asyncio.create_task(self._speak_all(), name="session-speech")

    async def refuse(self, error: SeiketsuError, command_id: str | UnsetType = UNSET) -> None:
        """Answer with an error; the session goes on."""
        self._parts.recorder.refuse(error.code)
        await self._outbox.put(encode_event(_error_event(error, command_id)))

    async def finish(self, within_s: float) -> None:
        """Wait until all that was asked is spoken and sent, for so long at most; what was not is
        answered with an error."""
        if self._speaking is not None:
            await asyncio.wait((self._speaking,), timeout=within_s)
        for command in tuple(self._waiting):
            await self.refuse(Busy("This gateway is going to end."), command.command_id)
        await self._outbox.flush()

    async def aclose(self) -> None:
        """End what is being spoken and drop what waits; leaves no task behind."""
        self._waiting.clear()
        if self._speaking is not None:
            self._speaking.cancel()
            await asyncio.wait((self._speaking,), timeout=_END_S)
        await self._outbox.aclose()

    async def _speak_all(self) -> None:
        try:
            while self._waiting:
                # The text being spoken stays at the head: the count is right from the start.
                await self._outbox.put(await self._speak(self._waiting[0]))
                if self._waiting:
                    self._waiting.popleft()
        except ClientLost:
            self._waiting.clear()
        finally:
            self._speaking = None

    async def _speak(self, command: Synthesize) -> bytes:
        """The encoded event that answers the command."""
        parts, connection = self._parts, self._connection
        language = command.language or connection.language
        request = SpeechRequest(
            tenant=connection.tenant,
            text=command.text,
            agent_id=connection.voice_agent_id,
            language=None if language == AUTO else language,
            output_format=command.format,
            optimize_for_speed=command.optimize_for_speed,
            enable_caching=command.enable_caching,
        )
        request_id = parts.new_request_id()
        trace = parts.service.new_trace(request_id, request)
        try:
            plan = await parts.service.plan(request)
            entry = parts.service.peek(plan, trace)
            if entry is None:
                with parts.place():
                    deadline = parts.service.new_deadline()
                    entry = await parts.service.whole(plan, trace, deadline)
            frame = _spoken(command, plan, trace, entry)
            self._count(trace, plan)
            return frame
        except asyncio.CancelledError:
            trace.error_code = CLIENT_GONE
            raise
        except Exception as error:
            shown = error
            if not isinstance(shown, SeiketsuError):
                parts.report(error, request_id)
                shown = SeiketsuError("Something went wrong inside the gateway.")
            trace.error_code = shown.code
            self._failed += 1
            return encode_event(_error_event(shown, command.command_id, request_id))
        finally:
            trace.processing_ms = trace.now_ms()
            parts.recorder.record(trace)

    def _count(self, trace: SpeechTrace, plan: SpeechPlan) -> None:
        self._served += 1
        self._cached += trace.cached
        self._characters += plan.characters
        self._audio_bytes += trace.audio_bytes
        self._processing_ms += trace.now_ms()

    def _stats(self, command_id: str | UnsetType) -> SessionStats:
        connection = self._connection
        served = self._served
        return SessionStats(
            session_id=connection.session_id,
            connected_s=round(time.time() - connection.connected_unix_s, 3),
            requests=connection.requests,
            served=served,
            failed=self._failed,
            waiting=connection.requests - served - self._failed,
            cached=self._cached,
            characters=self._characters,
            audio_bytes=self._audio_bytes,
            average_processing_time_ms=(round(self._processing_ms / served, 3) if served else None),
            command_id=command_id,
        )


def _spoken(
    command: Synthesize, plan: SpeechPlan, trace: SpeechTrace, entry: RenditionEntry
) -> bytes:
    """The encoded `audio_response`. Raises `FrameTooLarge`."""
    if 2 * len(entry.audio) > MAX_AUDIO_FRAME_BYTES:
        raise FrameTooLarge(_TOO_LARGE)
    first_ms = trace.first_audio_ms
    event = AudioResponse(
        audio_data=entry.audio.hex(),
        metadata=AudioMetadata(
            text=command.text,
            voice_id=trace.voice,
            provider=trace.provider,
            model=trace.model,
            format=plan.output_format,
            content_type=resolve(plan.output_format, 0).content_type,
            language=plan.language,
            duration_ms=entry.duration_ms,
            processing_time_ms=round(trace.now_ms(), 3),
            first_audio_ms=None if first_ms is None else round(first_ms, 3),
            cached=trace.cached,
            fallback=trace.fallback,
            quality_score=entry.quality_score,
            characters=plan.characters,
            request_id=trace.request_id,
        ),
        command_id=command.command_id,
    )
    frame = encode_event(event)
    if len(frame) > MAX_AUDIO_FRAME_BYTES:
        raise FrameTooLarge(_TOO_LARGE)
    return frame


def _error_event(
    error: SeiketsuError,
    command_id: str | UnsetType = UNSET,
    request_id: str | UnsetType = UNSET,
) -> ErrorEvent:
    return ErrorEvent(
        code=error.code,
        message=error.message,
        action=error.action,
        retryable=error.retryable,
        request_id=request_id,
        command_id=command_id,
    )
