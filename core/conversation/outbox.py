"""Events on their way to one client: in order, bounded, and one writer.

The writer is a task that lives only while something waits, so that a quiet session has none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

_MAX_FRAMES: Final = 32
_MAX_BYTES: Final = 1024 * 1024
"""One frame may be on its way however large it is; further ones wait for room beside it."""

_log = structlog.get_logger("seiketsu.conversation")


class ClientLost(Exception):
    """The client is gone or takes nothing any more; nothing can be sent to it."""


class Outbox:
    """Put encoded events in; they are handed to `send` one after the other.

    `on_lost` is called once when a frame could not be sent within `stall_s` or the client is gone.
    """

    __slots__ = ("_bytes", "_frames", "_lost", "_on_lost", "_room", "_send", "_stall_s", "_writer")

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[None]],
        *,
        stall_s: float,
        on_lost: Callable[[], None],
    ) -> None:
        self._send = send
        self._stall_s = stall_s
        self._on_lost = on_lost
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._room: asyncio.Event | None = None
        self._writer: asyncio.Task[None] | None = None
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether the client cannot be reached any more."""
        return self._lost

    async def put(self, frame: bytes) -> None:
        """Queue a frame; waits while the queue is full, never longer than `stall_s`.

        Raises:
            ClientLost: it cannot be sent any more.
        """
        if self._is_full(frame):
            try:
                async with asyncio.timeout(self._stall_s):
                    while self._is_full(frame) and not self._lost:
                        self._room = self._room or asyncio.Event()
                        self._room.clear()
                        await self._room.wait()
            except TimeoutError:
                self._give_up("queue_full")
        if self._lost:
            raise ClientLost
        self._frames.append(frame)
        self._bytes += len(frame)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="session-writer")

    async def flush(self) -> None:
        """Wait until everything queued is sent or the client is lost; bounded by `stall_s`."""
        if self._writer is not None:
            await asyncio.wait((self._writer,), timeout=self._stall_s)

    async def aclose(self) -> None:
        """Drop what is queued and end the writer."""
        self._lost = True
        self._frames.clear()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait((self._writer,))

    def _is_full(self, frame: bytes) -> bool:
        queued = len(self._frames)
        return queued >= _MAX_FRAMES or (queued > 0 and self._bytes + len(frame) > _MAX_BYTES)

    async def _write(self) -> None:
        try:
            while self._frames:
                frame = self._frames[0]
                async with asyncio.timeout(self._stall_s):
                    await self._send(frame)
                if self._frames:
                    self._frames.popleft()
                    self._bytes -= len(frame)
                if self._room is not None:
                    self._room.set()
                    self._room = None
        except (OSError, TimeoutError) as error:
            self._give_up(type(error).__name__)
        except Exception as error:
            _log.error("session_writer_failed", error_type=type(error).__name__)
            self._give_up(type(error).__name__)
        finally:
            self._writer = None

    def _give_up(self, reason: str) -> None:
        if self._lost:
            return
        _log.debug("session_client_lost", reason=reason)
        self._lost = True
        self._frames.clear()
        if self._room is not None:
            self._room.set()
        self._on_lost()
