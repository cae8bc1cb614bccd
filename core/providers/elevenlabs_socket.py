"""One WebSocket to ElevenLabs: its two tasks, its contexts, and a watch over what the vendor owes.

A context keeps its place until its final frame came: one that is left early is closed, and what
still comes for it is dropped.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

import aiohttp
import structlog

from core.errors import BadAudio, ProviderError, ProviderUnavailable
from core.providers import elevenlabs_frames as wire
from core.providers.elevenlabs_context import Context
from core.providers.elevenlabs_frames import Frame
from core.providers.elevenlabs_words import PROVIDER
from core.speech import Attempt

log = structlog.get_logger(__name__)

MAX_CONTEXTS: Final = 4
"""Open contexts on a socket, one below the five at which the vendor closes it: its count of ours
may be a message behind."""

_OUTGOING: Final = 256
"""Messages on a socket that are not yet written."""

_CLOCK_S: Final = 0.01
"""A timer may fire so much early."""

_LOST: Final = "The connection to ElevenLabs was lost."


class Socket:
    """An open connection. `on_idle` and `on_over` tell the pool; `stall_s` is how long it may be
    mute while it owes something, `left_s` how long a context that was left may stay open."""

    def __init__(
        self,
        ws: aiohttp.ClientWebSocketResponse[bool],
        url: str,
        *,
        stall_s: float,
        left_s: float,
        on_idle: Callable[[Socket], None],
        on_over: Callable[[Socket, ProviderError | None], None],
    ) -> None:
        self.url = url
        self.contexts: dict[str, Context] = {}
        self.usable = True
        headers = ws._response.headers
        self.trace_id = headers.get("request-id") or headers.get("x-trace-id")
        self.region = headers.get("x-region")
        self._ws = ws
        self._stall_s = stall_s
        self._left_s = left_s
        self._on_idle = on_idle
        self._on_over = on_over
        self._ids = itertools.count(1)
        self._outgoing: asyncio.Queue[str | bytes | None] = asyncio.Queue(_OUTGOING)
        self._loop = asyncio.get_running_loop()
        self.opened_at_s = self._received_at_s = self._frame_at_s = self._loop.time()
        self._watching: asyncio.TimerHandle | None = None
        self._asked_at_s: float | None = None
        """When a ping was sent that nothing has followed."""
        self._dropped = False
        self._reading = asyncio.create_task(self._read(), name="elevenlabs-reader")
        self._writing = asyncio.create_task(self._write(), name="elevenlabs-writer")

    @property
    def room(self) -> int:
        """Contexts that may still be opened."""
        return MAX_CONTEXTS - len(self.contexts) if self.usable else 0

    def open(self, attempt: Attempt) -> Context:
        """A new context; there must be room."""
        assert self.room > 0  # noqa: S101
        context = Context(self, f"c{next(self._ids)}")
        self.contexts[context.id] = context
        self.send(wire.opening(context.id, attempt))
        return context

    def send(self, message: str | bytes | None) -> None:
        """Have a message written; bytes are the answer to a ping, None is a ping."""
        if self._outgoing.full():
            self.drop(ProviderUnavailable("ElevenLabs takes no messages.", provider=PROVIDER))
        else:
            self._outgoing.put_nowait(message)

    async def written(self) -> None:
        """Wait until all messages so far are written; without end when the connection is lost."""
        await self._outgoing.join()

    def distrust(self, silent_s: float) -> None:
        """A stream waited that long in vain. Where no other frame came either, the socket takes no
        more contexts; those that are open come to their end."""
        silent_since_s = self._loop.time() - silent_s
        if silent_s >= self._stall_s / 2 and self._frame_at_s <= silent_since_s + _CLOCK_S:
            self.usable = False

    def drop(self, error: ProviderError | None) -> None:
        """Give the connection up at once: its contexts fail, each with an error of its own."""
        if self._dropped:
            return
        self._dropped = True
        self.usable = False
        contexts, self.contexts = self.contexts, {}
        for context in contexts.values():
            context.over = True
            context.put(_another(error))
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        self._reading.cancel()
        self._writing.cancel()
        self._on_over(self, error)

    async def closed(self) -> None:
        """Wait until the connection is closed; it must have been dropped."""
        await asyncio.wait([self._reading, self._writing])
        await self._ws.close()

    def watch(self) -> None:
        """Look after what the vendor owes, as long as it owes anything."""
        if self._watching is None and self.contexts:
            self._watching = self._loop.call_later(self._stall_s / 4, self._look)

    def _look(self) -> None:
        self._watching = None
        now_s = self._loop.time()
        for context in tuple(self.contexts.values()):
            if context.left_at_s is not None and now_s - context.left_at_s > self._left_s:
                log.warning("upstream_context_not_ended")
                self.usable = False
                self._forget(context)
        owed = [c.owed_at_s for c in self.contexts.values() if c.owed_at_s is not None]
        if not owed:
            return
        half_s = self._stall_s / 2
        if self._asked_at_s is not None:
            if now_s - self._asked_at_s >= half_s:
                # Not even a ping was answered: the connection is half open.
                self.drop(ProviderUnavailable(_LOST, provider=PROVIDER))
                return
        elif now_s - max(self._received_at_s, min(owed)) >= half_s:
            self._asked_at_s = now_s
            self.send(None)
        self._watching = self._loop.call_later(self._stall_s / 4, self._look)

    def _forget(self, context: Context) -> None:
        context.over = True
        self.contexts.pop(context.id, None)
        if self.contexts:
            return
        if self.usable:
            self._on_idle(self)
        else:
            self.drop(None)

    async def _read(self) -> None:
        try:
            while (error := await self._receive()) is None:
                pass
        except BadAudio as broken:
            error = broken
        except Exception as lost:
            error = _broken_off(lost)
        self.drop(error)

    async def _receive(self) -> ProviderError | None:
        """Take one message; the error that it means for the whole socket."""
        message = await self._ws.receive()
        self._received_at_s = self._loop.time()
        self._asked_at_s = None
        kind = message.type
        if kind in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return self._take(wire.frame_of(message.data))
        if kind is aiohttp.WSMsgType.PING:
            self.send(message.data)
            return None
        if kind is aiohttp.WSMsgType.PONG:
            return None
        if kind is aiohttp.WSMsgType.ERROR:
            return BadAudio("ElevenLabs sent a frame that is none.", provider=PROVIDER)
        reason = message.extra if isinstance(message.extra, str) else ""
        return wire.error_of_close(self._ws.close_code, reason)

    def _take(self, frame: Frame) -> ProviderError | None:
        context = self.contexts.get(frame.context or "")
        error = frame.failure()
        if error is not None:
            if frame.context is None:
                return error
            # The vendor closes the connection after most errors, whomever they name.
            self.usable = False
            if context is not None:
                context.put(error)
                self._forget(context)
            return None
        if context is None:
            return None
        self._frame_at_s = self._received_at_s
        context.put(frame)
        if frame.final:
            self._forget(context)
        return None

    async def _write(self) -> None:
        try:
            while True:
                message = await self._outgoing.get()
                if isinstance(message, str):
                    await self._ws.send_str(message)
                elif message is None:
                    await self._ws.ping()
                else:
                    await self._ws.pong(message)
                self._outgoing.task_done()
        except Exception as lost:
            self.drop(_broken_off(lost))


def _broken_off(lost: Exception) -> ProviderError:
    if not isinstance(lost, aiohttp.ClientError | OSError):
        # A fault of our own: whoever speaks on the socket must learn of it all the same.
        log.error("upstream_socket_broken", kind=type(lost).__name__, exc_info=lost)
    return ProviderUnavailable(f"ElevenLabs broke off ({type(lost).__name__}).", provider=PROVIDER)


def _another(error: ProviderError | None) -> ProviderError:
    """The same error for one more context: an exception that is raised carries its traceback."""
    if error is None:
        return ProviderUnavailable(_LOST, provider=PROVIDER)
    return type(error)(error.message, provider=PROVIDER, vendor_code=error.vendor_code)
