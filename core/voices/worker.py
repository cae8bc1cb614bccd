"""One child process of the voice server, as the server sees it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import structlog

from core.children import Child
from core.voices import protocol
from core.voices.protocol import (
    Cancel,
    Done,
    Failed,
    FrameBuffer,
    FrameError,
    Job,
    Ready,
    Unable,
)

log: Final = structlog.get_logger("core.voices")


class Listener(Protocol):
    """Who asked for a job."""

    def on_audio(self, body: bytes) -> None:
        """One `Audio` frame, still encoded."""
        ...

    def on_end(self, end: Done | Failed) -> None:
        """The end of the job."""
        ...


class Owner(Protocol):
    """What a worker tells the pool."""

    def on_idle(self, worker: Worker) -> None:
        """It is ready for the next job; the first time, it has loaded its voices."""
        ...

    def on_unable(self, worker: Worker, why: Unable) -> None:
        """It cannot load its voices and ends."""
        ...

    def on_first_audio(self, worker: Worker) -> None:
        """The first audio of its job has come."""
        ...

    def on_gone(self, worker: Worker) -> None:
        """It can take no more jobs; the one it had has ended."""
        ...


class Worker(asyncio.Protocol):
    """The stream to a child, its process and the job it is at."""

    def __init__(self, owner: Owner, command: Sequence[str], stall_s: float) -> None:
        """`command` with the number of a socket after it starts the child; one that is silent for
        `stall_s` seconds of a job is killed."""
        self._owner = owner
        self._command = command
        self._stall_s = stall_s
        self._buffer = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self._child: Child | None = None
        self._listener: Listener | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._last_frame_s = 0.0
        self._heard = False
        self._stalled = False
        self.started_at_s = 0.0
        """`loop.time()` when it was started."""
        self.ready_at_s: float | None = None
        """`loop.time()` when it had loaded its voices."""
        self.unable = False
        """Whether it has said that it cannot load its voices."""
        self.working = False
        self.gone = asyncio.Event()
        """Set when the stream has ended: the child is dead or of no use."""

    @property
    def pid(self) -> int:
        """Process id of the child; 0 before it is started."""
        return self._child.pid if self._child else 0

    async def start(self) -> None:
        """Start the child; it is ready when the owner hears `on_idle`."""
        loop = asyncio.get_running_loop()
        self.started_at_s = loop.time()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._child = Child(
                    [*self._command, str(theirs.fileno())], pass_fds=(theirs.fileno(),)
                )
                ours.setblocking(False)
                await loop.create_connection(lambda: self, sock=ours)
            except BaseException:
                ours.close()
                raise

    async def end(self) -> None:
        """Kill the child and wait until it is dead (it has no state, so nothing is lost)."""
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()
        if self._child is not None:
            self._child.signal(signal.SIGKILL)
            await self._child.wait()

    def speak(self, job: Job, listener: Listener) -> None:
        """Give the idle child a job."""
        loop = asyncio.get_running_loop()
        self.working = True
        self._listener = listener
        self._heard = False
        self._last_frame_s = loop.time()
        self._watch = loop.call_later(self._stall_s, self._check_stall)
        self._send(job)

    def detach(self, listener: Listener) -> None:
        """If it works for that listener: nobody listens any more, the rest is dropped."""
        if self._listener is listener:
            self._listener = None
            self._send(Cancel())

    def _send(self, message: protocol.ToChild) -> None:
        if self._transport is not None:
            self._transport.write(protocol.frame(message))

    def _check_stall(self) -> None:
        loop = asyncio.get_running_loop()
        left_s = self._last_frame_s + self._stall_s - loop.time()
        if left_s > 0:
            self._watch = loop.call_later(left_s, self._check_stall)
            return
        log.error("voice_child_stalled", pid=self.pid)
        self._stalled = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._last_frame_s = asyncio.get_running_loop().time()
        try:
            for body in self._buffer.feed(data):
                self._on_frame(body)
        except (FrameError, msgspec.DecodeError):
            log.exception("voice_child_protocol", pid=self.pid)
            if self._transport is not None:
                self._transport.abort()

    def _on_frame(self, body: bytes) -> None:
        message = protocol.decode_from_child(body)
        if isinstance(message, Ready):
            self.ready_at_s = asyncio.get_running_loop().time()
            self._owner.on_idle(self)
        elif isinstance(message, Done | Failed):
            if isinstance(message, Failed) and message.code == "engine_failed":
                log.warning("voice_engine_failed", reason=message.reason)
            self._finish(message)
            self._owner.on_idle(self)
        elif isinstance(message, Unable):
            self.unable = True
            self._owner.on_unable(self, message)
        else:
            self._on_audio(body)

    def _on_audio(self, body: bytes) -> None:
        if not self._heard:
            self._heard = True
            self._owner.on_first_audio(self)
        if self._listener is not None:
            self._listener.on_audio(body)

    def _finish(self, end: Done | Failed) -> None:
        self.working = False
        if self._watch is not None:
            self._watch.cancel()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_end(end)

    def connection_lost(self, error: Exception | None) -> None:
        if self.working:
            self._finish(Failed("stalled") if self._stalled else Failed("crashed", retryable=True))
        self._owner.on_gone(self)
        self.gone.set()
