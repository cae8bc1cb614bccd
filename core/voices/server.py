"""The voice server: a unix socket in front of the pools. It passes bytes on, never computes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from core.errors import ConfigurationError
from core.sockets import is_live
from core.voices import protocol
from core.voices.pool import Pool
from core.voices.protocol import (
    Done,
    Failed,
    FrameBuffer,
    FrameError,
    Job,
    LaneStatus,
    Speak,
    StatusReply,
)
from core.voices.registry import ENGINES, Lane, lane_of
from core.voices.schedule import Request

_MAX_CONNECTIONS: Final = 512
_MAX_BACKLOG_BYTES: Final = 32 * 1024 * 1024
"""Audio that may wait for one client to read it; a child never waits for a client."""
_READ_STALL_S: Final = 30.0
"""A client that reads nothing for so long, while audio waits for it, is cut off."""
_SPEED: Final = (0.5, 2.0)

log: Final = structlog.get_logger("core.voices")


class VoiceServer:
    """Connections to the pools of the lanes."""

    def __init__(self, pools: Mapping[Lane, Pool]) -> None:
        """A lane without a pool is switched off."""
        self.pools = pools
        self.connections: set[Connection] = set()

    def status(self) -> StatusReply:
        """The state at this moment."""
        return StatusReply(pid=os.getpid(), quick=self._lane("quick"), slow=self._lane("slow"))

    def _lane(self, lane: Lane) -> LaneStatus:
        pool = self.pools.get(lane)
        return LaneStatus(0, 0, 0, 0, 0, 0, ()) if pool is None else pool.status()


class Connection(asyncio.Protocol):
    """A client: one request at a time; when it goes, its request is cancelled."""

    def __init__(self, server: VoiceServer) -> None:
        self._server = server
        self._buffer = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self._request: Request | None = None
        self._pool: Pool | None = None
        self._unread_watch: asyncio.TimerHandle | None = None
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        connections = self._server.connections
        if len(connections) >= _MAX_CONNECTIONS:
            transport.write(protocol.frame(Failed("busy", retryable=True, retry_after_s=1.0)))
            transport.close()
            return
        connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._unread_watch is not None:
            self._unread_watch.cancel()
        request, self._request = self._request, None
        if request is not None and self._pool is not None:
            self._pool.cancel(request)

    def abort(self) -> None:
        """Cut the client off."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self not in self._server.connections:
            return
        try:
            for body in self._buffer.feed(data):
                message = protocol.decode_from_client(body)
                if self._request is not None:
                    raise FrameError("a second request before the end of the first")
                if isinstance(message, Speak):
                    self._speak(message)
                else:
                    self._write(protocol.frame(self._server.status()))
        except (FrameError, msgspec.DecodeError) as error:
            log.warning("voice_client_protocol", kind=type(error).__name__)
            if self._transport is not None and self._request is None:
                self._write(protocol.frame(Failed("bad_request")))
                self._transport.close()
            else:
                self.abort()

    def _speak(self, message: Speak) -> None:
        refusal = self._refusal(message)
        if refusal is not None:
            self._write(protocol.frame(refusal))
            return
        due_s = math.inf
        if message.due_ms is not None:
            due_s = asyncio.get_running_loop().time() + message.due_ms / 1000
        self._request = Request(
            Job(message.voice, message.text, message.speed, message.seed),
            message.work_class,
            self,
            due_s,
            message.refuse_late,
        )
        self._pool = self._server.pools[lane_of(message.voice)]
        self._pool.submit(self._request)

    def _refusal(self, message: Speak) -> Failed | None:
        if len(message.text) > protocol.MAX_TEXT_CHARS:
            return Failed("text_too_long")
        if not _SPEED[0] <= message.speed <= _SPEED[1]:
            return Failed("bad_request")
        if message.voice.partition("/")[0] not in ENGINES:
            return Failed("unknown_voice")
        if lane_of(message.voice) not in self._server.pools:
            return Failed("switched_off")
        return None

    def on_audio(self, body: bytes) -> None:
        """See `worker.Listener`: passed on as it came."""
        self._write(protocol.with_length(body))

    def on_end(self, end: Done | Failed) -> None:
        """See `worker.Listener`."""
        self._request = None
        self._write(protocol.frame(end))

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > _MAX_BACKLOG_BYTES:
            log.warning("voice_client_too_slow")
            self.abort()

    def pause_writing(self) -> None:
        self._watch_reading(unread_bytes=None)

    def resume_writing(self) -> None:
        if self._unread_watch is not None:
            self._unread_watch.cancel()

    def _watch_reading(self, unread_bytes: int | None) -> None:
        """Look at what is unread again and again, until the client has caught up; cut it off if
        the request is over and it has read nothing since there were `unread_bytes`."""
        if self._transport is None:
            return
        now = self._transport.get_write_buffer_size()
        if unread_bytes is not None and now >= unread_bytes and self._request is None:
            log.warning("voice_client_reads_nothing")
            self.abort()
            return
        loop = asyncio.get_running_loop()
        self._unread_watch = loop.call_later(_READ_STALL_S, self._watch_reading, now)


@contextlib.asynccontextmanager
async def listening(path: Path, server: VoiceServer) -> AsyncIterator[None]:
    """Listen on a new unix socket at `path`, for this user only.

    Raises:
        ConfigurationError: another server is alive there, or the path cannot be used.
    """
    listener, inode = _bind(path)
    try:
        loop = asyncio.get_running_loop()
        serving = await loop.create_unix_server(
            lambda: Connection(server), sock=listener, backlog=_MAX_CONNECTIONS
        )
        try:
            yield
        finally:
            serving.close()
            for connection in list(server.connections):
                connection.abort()
    finally:
        listener.close()
        _remove(path, inode)


def check_free(path: Path) -> None:
    """Make sure that no server is alive at `path`; blocks for half a second at the most.

    Raises:
        ConfigurationError: one is, or there is something else than a socket.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}.") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError(f"{path} exists and is no socket; set SEIKETSU_VOICE_SOCKET.")
    if is_live(path):
        raise ConfigurationError(f"A voice server is already running on {path}.")


def _bind(path: Path) -> tuple[socket.socket, int]:
    check_free(path)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise ConfigurationError(f"{path} cannot be listened on: {reason}.") from error
    finally:
        os.umask(mask)
    return listener, path.stat().st_ino


def _remove(path: Path, inode: int) -> None:
    """Remove the socket file if it is still the one we made, not a later server's."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            path.unlink()
