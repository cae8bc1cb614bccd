"""Single flight: one provider call for any number of equal segments asked for at the same time.

A flight owns the task that reads the provider and keeps every chunk; callers are listeners, which
replay what was said and then follow. Listeners come and go without effect on each other; when the
last one leaves, a flight whose audio will be kept runs on, any other is stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from core.audio.pcm import BYTES_PER_S
from core.audio.quality import QualityReport, quality_score
from core.deadline import Deadline
from core.errors import Busy, DeadlineExceeded, SeiketsuError, SpeechError
from core.providers.base import SpeechCall, SpeechProvider, WorkClass
from core.speech import AudioChunk, SegmentPlan, SegmentTrace

Keep = Callable[["Flight"], Awaitable[None]]
"""Called once with a flight that ended well, before equal requests stop finding it."""


MAX_FLIGHT_BYTES = 120 * BYTES_PER_S
"""One segment's audio is never longer than two minutes: text has a limit, so its speech has one."""

_NEWCOMERS_SHARE = 0.75
"""New flights begin only below this share of the bound; the rest is for those under way."""


class Flight:
    """One provider call, its chunks so far and how it ended."""

    def __init__(self, segment: SegmentPlan, board: FlightBoard, keep: Keep | None) -> None:
        self.segment = segment
        self.trace = SegmentTrace()
        self.started_unix_s = time.time()
        self.chunks: list[AudioChunk] = []
        self.error: SeiketsuError | None = None
        self.ended = False
        self._quality: QualityReport | None = None
        self._board = board
        self._keep = keep
        self._listeners = 0
        self._bytes = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def key(self) -> str:
        """The voice key of what was asked for."""
        return self.segment.attempts[0].voice_key

    def start(
        self, provider: SpeechProvider, call_of: Callable[[SegmentTrace], SpeechCall]
    ) -> None:
        """Begin the call in a task of the flight's own."""
        self._task = asyncio.create_task(
            self._run(provider, call_of(self.trace)), name=f"flight-{self.key[:8]}"
        )
        # Not in `_run`: a task that is cancelled before its first step never runs at all.
        self._task.add_done_callback(self._over)

    def listen(self, *, joined: bool) -> Listener:
        """A new listener; whoever takes it closes it."""
        self._listeners += 1
        return Listener(self, joined=joined)

    def leave(self) -> None:
        """One listener less; the last one out stops a flight whose audio nobody will keep, or that
        no provider was asked for yet."""
        self._listeners -= 1
        if self._listeners == 0 and self._task is not None:
            if not self.ended and (self._keep is None or not self._asked):
                self._board.forget(self)
                self._task.cancel()
            if self._task.done():
                self._board.release(self, self._take_bytes())

    @property
    def _asked(self) -> bool:
        return any(attempt.tries for attempt in self.trace.attempts)

    @property
    def quality(self) -> QualityReport:
        """Of the whole audio, once it is there; measured once."""
        if self._quality is None:
            pcm = b"".join(chunk.pcm for chunk in self.chunks)
            language = (self.trace.winner or self.segment.attempts[0]).language
            self._quality = quality_score(pcm, self.segment.text, language)
        return self._quality

    async def changed(self, seen: int) -> None:
        """Wait until there are more than `seen` chunks, or the end."""
        while len(self.chunks) <= seen and not self.ended:
            await self._changed.wait()

    async def stop(self) -> None:
        """End the call now; listeners get an error."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, provider: SpeechProvider, call: SpeechCall) -> None:
        try:
            async with (
                asyncio.timeout(call.deadline.left_s()),
                aclosing(provider.stream(self.segment.text, self.segment, call)) as stream,
            ):
                async for chunk in stream:
                    self._take(chunk)
        except SeiketsuError as error:
            self._end(error)
        except TimeoutError:
            self._end(DeadlineExceeded("The speech did not end in time."))
        except asyncio.CancelledError:
            self._end(SpeechError("The speech was stopped before its end."))
            raise
        except BaseException:
            self._end(SpeechError("The speech failed for a reason of our own."))
            raise
        else:
            self._end(None)
            if self._keep is not None:
                await self._keep(self)

    def _take(self, chunk: AudioChunk) -> None:
        size_bytes = len(chunk.pcm)
        if self._bytes + size_bytes > MAX_FLIGHT_BYTES:
            raise SpeechError("The speech does not come to an end.")
        self._board.take(size_bytes)
        self._bytes += size_bytes
        self.chunks.append(chunk)
        self._wake()

    def _end(self, error: SeiketsuError | None) -> None:
        self.error = error
        self.ended = True
        if error is not None:
            self._board.forget(self)
        self._wake()

    def _over(self, task: asyncio.Task[None]) -> None:
        if not self.ended:
            self._end(SpeechError("The speech was stopped before its end."))
        self._board.forget(self)
        if self._listeners == 0:
            self._board.release(self, self._take_bytes())

    def _take_bytes(self) -> int:
        taken, self._bytes = self._bytes, 0
        return taken

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Listener:
    """One caller's place on a flight."""

    def __init__(self, flight: Flight, *, joined: bool) -> None:
        self.flight = flight
        self.joined = joined
        """True when another request had begun the flight."""
        self.complete = flight.ended
        """True when the flight was over by then: nothing is waited for."""
        self._open = True

    async def chunks(self, deadline: Deadline) -> AsyncGenerator[AudioChunk, None]:
        """Every chunk from the first on. Words come with the first chunk that leaves after they are
        there, though it may be before their audio: a voice that tells none until its end is known
        in time, since it is ahead of whoever listens.

        A flight that has failed already is an error before any chunk: none should be heard.

        Raises:
            SeiketsuError: what ended the flight.
            DeadlineExceeded: the first chunk was not there in time, or the last.
        """
        flight = self.flight
        if flight.error is not None:
            raise flight.error.with_traceback(None)
        position = told = 0
        while True:
            while position < len(flight.chunks):
                words = tuple(word for chunk in flight.chunks[told:] for word in chunk.words)
                told = len(flight.chunks)
                yield AudioChunk(flight.chunks[position].pcm, words)
                position += 1
            if flight.error is not None:
                raise flight.error.with_traceback(None)
            if flight.ended:
                return
            left = deadline.left_s() if position else deadline.first_audio_left_s()
            try:
                async with asyncio.timeout(left):
                    await flight.changed(position)
            except TimeoutError as error:
                raise DeadlineExceeded() from error

    def close(self) -> None:
        """Give the place back; calling it again does nothing."""
        if self._open:
            self._open = False
            self.flight.leave()


class FlightBoard:
    """All flights of a process, found by voice key; bounds the audio they hold."""

    def __init__(self, provider: SpeechProvider, *, max_bytes: int) -> None:
        self._provider = provider
        self._max_bytes = max_bytes
        self._shared: dict[str, Flight] = {}
        self._all: set[Flight] = set()
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._all)

    def join(
        self,
        segment: SegmentPlan,
        deadline: Deadline,
        *,
        work_class: WorkClass,
        share: bool,
        keep: Keep | None,
        arriving: bool = False,
    ) -> Listener:
        """Listen to the flight of this segment, starting one where there is none.

        `share` false neither joins a flight nor lets others join it. `keep` receives a flight of
        ours that ended well. `arriving`: see `SpeechCall`.

        Raises:
            Busy: the process holds too much unheard audio already.
        """
        key = segment.attempts[0].voice_key
        if share and key in self._shared:
            return self._shared[key].listen(joined=True)
        if self.held_bytes >= self._max_bytes * _NEWCOMERS_SHARE:
            raise Busy("Too much audio is under way in this process.", retry_after_s=1.0)
        flight = Flight(segment, self, keep)
        self._all.add(flight)
        if share:
            self._shared[key] = flight
        listener = flight.listen(joined=False)
        flight.start(
            self._provider,
            lambda trace: SpeechCall(
                deadline=deadline, trace=trace, work_class=work_class, arriving=arriving
            ),
        )
        return listener

    def take(self, size_bytes: int) -> None:
        """Count audio that a flight received.

        Raises:
            Busy: it is more than the process may hold.
        """
        self.held_bytes += size_bytes
        if self.held_bytes > self._max_bytes:
            self.held_bytes -= size_bytes
            raise Busy("Too much audio is under way in this process.", retry_after_s=1.0)

    def forget(self, flight: Flight) -> None:
        """Let no further request join this flight."""
        if self._shared.get(flight.key) is flight:
            del self._shared[flight.key]

    def release(self, flight: Flight, size_bytes: int) -> None:
        """The flight is over and nobody listens: its audio is no longer held."""
        self.held_bytes -= size_bytes
        self._all.discard(flight)

    async def aclose(self) -> None:
        """Stop every flight."""
        await asyncio.gather(*(flight.stop() for flight in tuple(self._all)))
