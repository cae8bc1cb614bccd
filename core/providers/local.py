"""The local voice: a client of the voice server on this host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from core.audio.pcm import RATE_HZ, duration_ms, samples_of
from core.errors import (
    BadAudio,
    Busy,
    ProviderError,
    ProviderRejected,
    ProviderSilent,
    ProviderUnavailable,
    SeiketsuError,
    StreamTruncated,
)
from core.providers.base import SpeechCall, SpokenText
from core.speech import Attempt, AttemptTrace, AudioChunk, SegmentPlan, WordTiming
from core.text.languages import LANGUAGES, Language, language_of
from core.text.segment import segment as split
from core.voices import protocol
from core.voices.protocol import Audio, Done, Failed, FrameError, Speak, Status, StatusReply

_MAX_IDLE: Final = 16
"""Connections kept open between requests."""
_MAX_PIECE_CHARS: Final[dict[Language, int]] = {"en": 240, "es": 240, "zh": 60}
"""Longest piece spoken in one request of a text that is still being written, in characters: about
15 s of speech. A child cannot be interrupted for somebody else's first words."""

_MESSAGES: Final[dict[protocol.FailureCode, str]] = {
    "busy": "The local voice cannot begin in time.",
    "switched_off": "The local voice of this language is switched off on this host.",
}

_Reply = Audio | Done | Failed | StatusReply


class LocalProvider:
    """Speaks through the voice server that listens on a unix socket."""

    def __init__(self, socket: Path, *, name: str = "local") -> None:
        """`name` is the provider that attempts carry. Nothing is opened yet."""
        self._socket = socket
        self._name = name
        self._idle: list[_Connection] = []
        self._closed = False

    @property
    def name(self) -> str:
        """See `SpeechProvider`."""
        return self._name

    async def stream(
        self, text: SpokenText, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        """See `SpeechProvider`; of a text still being written each sentence is spoken as soon as
        the next one begins. Word timings are exact where the voice tells them, else estimated.

        Raises:
            ProviderUnavailable: the server cannot be reached, or the child at work crashed.
            Busy: its queue is full, or it cannot begin in time; said as soon as it is known.
            ProviderRejected: it has no such voice, or cannot speak this text.
            BadAudio: there is nothing in the text that can be spoken.
            ProviderSilent: no audio by the deadline.
            StreamTruncated: any of these after the first chunk.
            DeadlineExceeded: the first audio was already due.
        """
        attempt = segment.attempt_of(self._name)
        if attempt is None:
            raise ProviderRejected("The plan has no local voice.", provider=self._name)
        record = call.trace.begin(attempt)
        record.tries += 1
        call.deadline.require_first_audio_time()
        speech = _Speech(self._name, attempt, call, record)
        async with self._lease(call.deadline.first_audio_left_s()) as connection:
            async with aclosing(speech.sentences(text)) as sentences:
                async for sentence in sentences:
                    async with aclosing(speech.speak(sentence, connection)) as chunks:
                        async for chunk in chunks:
                            yield chunk
            if not speech.samples:
                raise BadAudio("The local voice found nothing to speak.", provider=self._name)

    async def status(self, *, timeout_s: float = 2.0) -> StatusReply:
        """The server's state.

        Raises:
            ProviderUnavailable: it cannot be reached or does not answer in time.
        """
        try:
            async with asyncio.timeout(timeout_s), self._lease(timeout_s) as connection:
                connection.send(Status())
                reply = await connection.receive()
        except (TimeoutError, OSError, EOFError, FrameError, msgspec.DecodeError) as error:
            raise self._unreachable(error) from error
        if not isinstance(reply, StatusReply):
            raise ProviderUnavailable("The voice server has no time.", provider=self._name)
        return reply

    async def aclose(self) -> None:
        """Close the connections."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    @asynccontextmanager
    async def _lease(self, wait_s: float) -> AsyncIterator[_Connection]:
        """A connection of one's own; whatever is under way on it afterwards is cancelled."""
        connection = await self._connect(wait_s)
        try:
            yield connection
        finally:
            if connection.at_rest and not self._closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
            else:
                connection.abort()

    async def _connect(self, wait_s: float) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.abort()
        try:
            async with asyncio.timeout(wait_s):
                reader, writer = await asyncio.open_unix_connection(
                    self._socket, limit=protocol.MAX_FRAME_BYTES
                )
        except (TimeoutError, OSError) as error:
            raise self._unreachable(error) from error
        return _Connection(reader, writer)

    def _unreachable(self, error: Exception) -> ProviderUnavailable:
        return ProviderUnavailable(
            f"The voice server cannot be reached ({type(error).__name__}).", provider=self._name
        )


class _Speech:
    """One call: its place in the audio and in the text, and the translation of what fails."""

    def __init__(
        self, provider: str, attempt: Attempt, call: SpeechCall, record: AttemptTrace
    ) -> None:
        self._provider = provider
        self._attempt = attempt
        self._call = call
        self._record = record
        self._language = language_of(attempt.language) or LANGUAGES[0]
        self._heard_at_s: float | None = None
        self.samples = 0

    async def sentences(self, text: SpokenText) -> AsyncGenerator[tuple[str, int], None]:
        """What to speak next, and where it begins in the whole text."""
        if isinstance(text, str):
            yield text, 0
            return
        waiting, start, ended = "", 0, False
        while not ended:
            piece = await self._next_piece(text)
            ended = piece is None
            waiting += piece or ""
            spans = split(waiting, self._language, max_chars=_MAX_PIECE_CHARS[self._language])
            taken = 0
            for first, last in spans if ended else spans[:-1]:
                if waiting[first:last].strip():
                    yield waiting[first:last], start + first
                taken = last
            waiting, start = waiting[taken:], start + taken

    async def _next_piece(self, text: AsyncIterator[str]) -> str | None:
        try:
            async with asyncio.timeout(self._left_s()):
                return await anext(text, None)
        except TimeoutError as error:
            raise self._late() from error

    async def speak(
        self, sentence: tuple[str, int], connection: _Connection
    ) -> AsyncGenerator[AudioChunk, None]:
        """The audio of one sentence."""
        text, char_offset = sentence
        settings = self._attempt.settings
        connection.send(
            Speak(
                voice=self._attempt.voice,
                text=text.encode("utf-8", "replace").decode(),  # a lone surrogate has no UTF-8
                speed=1.0 if settings is None or settings.speed is None else settings.speed,
                seed=self._attempt.seed,
                work_class=self._call.work_class,
                due_ms=round(self._due_in_s() * 1000),
                refuse_late=self._call.deadline.strict and not self.samples,
            )
        )
        before = self.samples
        while not isinstance(reply := await self._receive(connection), Done):
            if not isinstance(reply, Audio):
                raise self._failure(reply)
            if self._heard_at_s is None:
                self._heard_at_s = time.monotonic()
                self._record.first_chunk_ms = self._call.trace.now_ms()
            self.samples += samples_of(len(reply.pcm))
            yield AudioChunk(reply.pcm, _shift(reply.words, duration_ms(before), char_offset))
        if reply.samples != self.samples - before:
            raise self._broken("The voice server sent other audio than it said.")

    async def _receive(self, connection: _Connection) -> _Reply:
        try:
            async with asyncio.timeout(self._left_s()):
                return await connection.receive()
        except TimeoutError as error:
            raise self._late() from error
        except (OSError, EOFError, FrameError, msgspec.DecodeError) as error:
            raise self._broken(f"The voice server broke off ({type(error).__name__}).") from error

    def _due_in_s(self) -> float:
        """When audio is due: as the deadline says, or when what was sent has been played."""
        if self._heard_at_s is None:
            return self._call.deadline.due_left_s()
        return max(0.0, self.samples / RATE_HZ - (time.monotonic() - self._heard_at_s))

    def _left_s(self) -> float:
        deadline = self._call.deadline
        return deadline.left_s() if self.samples else deadline.first_audio_left_s()

    def _late(self) -> ProviderError:
        if self.samples:
            return StreamTruncated("The local voice did not end in time.", provider=self._provider)
        return ProviderSilent("The local voice sent no audio in time.", provider=self._provider)

    def _broken(self, message: str) -> ProviderError:
        kind = StreamTruncated if self.samples else ProviderUnavailable
        return kind(message, provider=self._provider)

    def _failure(self, reply: Failed | StatusReply) -> SeiketsuError:
        if isinstance(reply, StatusReply):
            return self._broken("The voice server answered something else.")
        message = _MESSAGES.get(reply.code, f"The voice server reports: {reply.code}.")
        if self.samples:
            return StreamTruncated(message, provider=self._provider, vendor_code=reply.code)
        if reply.code == "busy":
            return Busy(message, retry_after_s=reply.retry_after_s)
        kind = ProviderUnavailable if reply.retryable else ProviderRejected
        return kind(
            message,
            provider=self._provider,
            vendor_code=reply.code,
            retry_after_s=reply.retry_after_s,
        )


class _Connection:
    """A connection to the voice server with at most one request under way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.at_rest = True
        """Whether no answer is to be expected."""

    @property
    def usable(self) -> bool:
        """Whether the server has not closed it."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def send(self, message: Speak | Status) -> None:
        """Begin a request. It is small, so it is not waited for."""
        self.at_rest = False
        self._writer.write(protocol.frame(message))

    async def receive(self) -> _Reply:
        """The next message of the answer.

        Raises:
            EOFError, OSError: the connection has ended.
            FrameError, msgspec.DecodeError: the server says something that is not understood.
        """
        head = await self._reader.readexactly(protocol.LENGTH_BYTES)
        body = await self._reader.readexactly(protocol.length_of(head))
        reply = protocol.decode_from_server(body)
        self.at_rest = not isinstance(reply, Audio)
        return reply

    def abort(self) -> None:
        """Close it at once, which cancels what is under way."""
        self._writer.transport.abort()


def _shift(words: tuple[WordTiming, ...], by_ms: int, by_chars: int) -> tuple[WordTiming, ...]:
    if not by_ms and not by_chars:
        return words
    return tuple(
        msgspec.structs.replace(
            word,
            start_ms=word.start_ms + by_ms,
            end_ms=word.end_ms + by_ms,
            char_start=word.char_start + by_chars,
            char_end=word.char_end + by_chars,
        )
        for word in words
    )
