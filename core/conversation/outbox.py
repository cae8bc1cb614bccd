"""Events on their way to one client: in order, bounded, and one writer.

The writer is a task that lives only while something waits, so that a quiet session has none.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec
import structlog

from core.conversation.events import Event, encode_event

_MAX_FRAMES: Final = 32
_MAX_BYTES: Final = 1024 * 1024
"""One frame may be on its way however large it is; further ones wait for room beside it."""
_KEPT_FRAMES: Final = 8
_KEPT_BYTES: Final = 64 * 1024
"""Of these, what speech leaves free: answers to commands do not wait for audio."""

_HELD_UP_S: Final = 0.1
"""A timer that is later than this tells of the process, not of the client."""

_log = structlog.get_logger("seiketsu.conversation")


class ClientLost(Exception):
    """The client is gone or takes nothing any more; nothing can be sent to it."""


class Turn(msgspec.Struct, frozen=True, gc=False):
    """Marks a frame as part of an utterance: an interruption drops it where it still waits."""

    number: int
    """Of the utterance."""
    offset_ms: float | None = None
    """Where the audio of the frame begins in the utterance; None: it holds none."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame that waits to be sent."""

    data: bytes
    binary: bool
    queued_at_s: float
    turn: Turn | None


class Send(Protocol):
    """Hands a frame to the client; cancelled while it waits it has handed nothing over. Raises
    `OSError` when the client left."""

    def __call__(self, data: bytes, *, binary: bool) -> Awaitable[None]: ...


class Outbox:
    """Put events in; they are numbered, encoded and handed to `send` one after the other.

    A frame that could not be sent within `slow_s` of being put means that the client reads too
    slowly: everything that waits is dropped. `on_lost` is called once when that happened or the
    client is gone.
    """

    __slots__ = (
        *("_bytes", "_frames", "_lost", "_next_sequence", "_on_lost", "_room", "_send", "_slow_s"),
        *("_watchdog", "_writer", "too_slow"),
    )

    def __init__(
        self,
        send: Send,
        *,
        slow_s: float,
        next_sequence: Callable[[], int],
        on_lost: Callable[[], None],
    ) -> None:
        self._send = send
        self._slow_s = slow_s
        self._next_sequence = next_sequence
        self._on_lost = on_lost
        self._frames: deque[Frame] | None = None
        self._bytes = 0
        self._room: asyncio.Event | None = None
        self._writer: asyncio.Task[None] | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._lost = False
        self.too_slow = False
        """The client is still there and reads too slowly."""

    @property
    def lost(self) -> bool:
        """Whether nothing can be put any more."""
        return self._lost

    async def put(
        self,
        encode: Callable[[int], bytes],
        size: int,
        *,
        binary: bool = False,
        turn: Turn | None = None,
    ) -> int:
        """Queue what `encode` makes of its sequence number, about `size` bytes; the number.

        Waits while the queue is full, never longer than a client may be slow.

        Raises:
            ClientLost: it cannot be sent any more.
        """
        while self._is_full(size, turn) and not self._lost:
            # The writer bounds the waiting: it makes room or finds the client too slow.
            self._room = self._room or asyncio.Event()
            await self._room.wait()
        if self._lost:
            raise ClientLost
        sequence = self._next_sequence()
        frame = Frame(encode(sequence), binary, time.monotonic(), turn)
        if self._frames is None:
            self._frames = deque()
        self._frames.append(frame)
        self._bytes += len(frame.data)
        self._start()
        return sequence

    async def tell(self, event: Event, *, turn: Turn | None = None, size: int = 1024) -> int:
        """`put` of an event."""

        def encode(sequence: int) -> bytes:
            event.sequence = sequence
            return encode_event(event)

        return await self.put(encode, size, turn=turn)

    def drop_turns(self) -> dict[int, float]:
        """Drop every frame of an utterance that was not handed to the client yet.

        Returns:
            By utterance, where its dropped audio begins, in ms; infinite where none was audio.
        """
        dropped: dict[int, float] = {}
        if not self._frames:
            return dropped
        if self._writer is not None and self._frames[0].turn is not None:
            # It waits for the client to take the first frame, or has not begun to run.
            self._writer.cancel()
            self._writer = None
        kept: deque[Frame] = deque()
        for frame in self._frames:
            if frame.turn is None:
                kept.append(frame)
                continue
            self._bytes -= len(frame.data)
            begins_ms = math.inf if frame.turn.offset_ms is None else frame.turn.offset_ms
            number = frame.turn.number
            dropped[number] = min(begins_ms, dropped.get(number, math.inf))
        self._frames = kept
        self._make_room()
        if kept:
            self._start()
        return dropped

    def turns(self) -> set[int]:
        """The utterances of which something was not handed to the client yet."""
        return {frame.turn.number for frame in self._frames or () if frame.turn is not None}

    async def flush(self) -> None:
        """Wait until everything queued is sent or the client is lost."""
        if self._writer is not None:
            await asyncio.wait((self._writer,), timeout=self._slow_s)

    async def aclose(self) -> None:
        """Drop what is queued and end the writer."""
        self._lost = True
        self._frames = None
        self._make_room()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait((self._writer,))

    def _start(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="session-writer")
        if self._watchdog is None:
            self._watch()

    def _watch(self, late: Frame | None = None) -> None:
        """Give up when the first frame is too late. One timer looks after all frames: one for each
        would cost as much as handing it over."""
        self._watchdog = None
        if not self._frames:
            return
        first = self._frames[0]
        left_s = first.queued_at_s + self._slow_s - time.monotonic()
        loop = asyncio.get_running_loop()
        if left_s > 0:
            self._watchdog = loop.call_later(left_s, self._watch)
        elif left_s < -_HELD_UP_S and first is not late:
            # The process itself was held up: what the client has taken meanwhile is not known yet.
            self._watchdog = loop.call_later(_HELD_UP_S, self._watch, first)
        else:
            self.too_slow = True
            if self._writer is not None:
                self._writer.cancel()
            self._give_up("too_slow")

    def _is_full(self, size: int, turn: Turn | None) -> bool:
        queued = len(self._frames) if self._frames is not None else 0
        most, most_bytes = _MAX_FRAMES, _MAX_BYTES
        if turn is not None:
            most, most_bytes = most - _KEPT_FRAMES, most_bytes - _KEPT_BYTES
        return queued >= most or (queued > 0 and self._bytes + size > most_bytes)

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None

    async def _write(self) -> None:
        try:
            while self._frames:
                frame = self._frames[0]
                await self._send(frame.data, binary=frame.binary)
                if self._frames:
                    self._frames.popleft()
                    self._bytes -= len(frame.data)
                self._make_room()
            self._frames = None  # an empty deque would take 600 bytes
        except OSError as error:
            self._give_up(type(error).__name__)
        except Exception as error:
            _log.error("session_writer_failed", error_type=type(error).__name__)
            self._give_up(type(error).__name__)
        finally:
            if self._writer is asyncio.current_task():
                self._writer = None

    def _give_up(self, reason: str) -> None:
        if self._lost:
            return
        _log.debug("session_client_lost", reason=reason)
        self._lost = True
        self._frames = None
        self._bytes = 0
        self._make_room()
        self._on_lost()
