"""One clause on a WebSocket to ElevenLabs: a bounded queue from its connection to its stream.

The connection fills the queue and the stream reads it; neither touches anything else of the other.
Nothing of a stream's own waits for the network, so one that is cancelled gives all back at once.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from core.errors import BadAudio
from core.providers import elevenlabs_frames as wire
from core.providers.elevenlabs_frames import Frame
from core.providers.elevenlabs_words import PROVIDER

_WAITING_FRAMES: Final = 256
_WAITING_BYTES: Final = 6 * 1024 * 1024
"""Audio that a context may hold unread, a little above the longest flight's."""


class Line(Protocol):
    """What a context needs of its connection; see `elevenlabs_socket.Socket`."""

    trace_id: str | None
    region: str | None

    def send(self, message: str) -> None:
        """Have a message written."""
        ...

    async def written(self) -> None:
        """Wait until all messages so far are."""
        ...

    def watch(self) -> None:
        """The vendor owes something."""
        ...

    def distrust(self, silent_s: float) -> None:
        """A stream waited that long in vain."""
        ...


class Context:
    """One clause's place on a socket. `Socket.open` makes it; whoever has it calls `leave`."""

    def __init__(self, socket: Line, ident: str) -> None:
        self.id = ident
        self.over = False
        """Its final frame came, or its socket is gone."""
        self.left_at_s: float | None = None
        self.owed_at_s: float | None = None
        """Since when the vendor owes a final frame: all text is sent."""
        self.socket = socket
        self._items: asyncio.Queue[Frame | Exception | None] = asyncio.Queue(_WAITING_FRAMES)
        self._bytes = 0

    @property
    def trace_id(self) -> str | None:
        """The vendor's id of the handshake, with the context's own."""
        return f"{self.socket.trace_id}/{self.id}" if self.socket.trace_id else None

    @property
    def region(self) -> str | None:
        """The vendor's region that the socket is connected to."""
        return self.socket.region

    async def written(self) -> None:
        """Wait until what was said is on its way; whoever waits must end with the stream."""
        await self.socket.written()

    def say(self, text: str, *, flush: bool = False) -> None:
        """Send more text: whole words."""
        self.socket.send(wire.saying(self.id, text, flush=flush))

    def finish(self, *, flush: bool = False) -> None:
        """No more text comes; what was sent is spoken, then there is the final frame."""
        if self.owed_at_s is None and not self.over:
            self.owed_at_s = asyncio.get_running_loop().time()
            if flush:
                self.socket.send(wire.flushing(self.id))
            self.socket.send(wire.closing(self.id))
            self.socket.watch()
            self.put(None)

    async def next(self, wait_s: float) -> Frame | None:
        """The next frame; None once, when all text has been sent.

        Raises:
            TimeoutError: there is none by then.
            ProviderError: the context or its socket failed.
        """
        async with asyncio.timeout(max(0.0, wait_s)):
            item = await self._items.get()
        if isinstance(item, Exception):
            raise item
        if item is not None and item.audio is not None:
            self._bytes -= len(item.audio)
        return item

    def put(self, item: Frame | Exception | None) -> None:
        """Hand something to the stream; a queue that is full fails this context alone."""
        if self.left_at_s is not None:
            return
        if isinstance(item, Frame) and item.audio is not None:
            self._bytes += len(item.audio)
        if self._items.full() or self._bytes > _WAITING_BYTES:
            self._bytes = 0
            while not self._items.empty():
                self._items.get_nowait()
            if not isinstance(item, Exception):
                item = BadAudio("More audio came than a stream may hold.", provider=PROVIDER)
                self.leave()
        self._items.put_nowait(item)

    def leave(self) -> None:
        """Nobody listens any more; calling it again does nothing."""
        if not self.over and self.left_at_s is None:
            self.finish()
            self.left_at_s = asyncio.get_running_loop().time()
