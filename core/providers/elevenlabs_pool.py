"""Warm WebSockets to ElevenLabs, pooled by what their URL fixes.

A context goes to the open socket with the most room; a new socket is opened when there is none, and
ahead of need where a busy pool is nearly full. Idle sockets are closed after `IDLE_S`, well before
the vendor would, and the least recently used first when there are too many.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import structlog

from core.errors import ProviderBusy, ProviderError, ProviderSilent, ProviderUnavailable
from core.providers.elevenlabs_context import Context
from core.providers.elevenlabs_frames import socket_url
from core.providers.elevenlabs_handshake import open_session, shake_hands
from core.providers.elevenlabs_socket import MAX_CONTEXTS, Socket
from core.providers.elevenlabs_words import PROVIDER
from core.speech import Attempt

log = structlog.get_logger(__name__)

T = TypeVar("T")

IDLE_S: Final = 120.0
"""An idle socket is closed after this time, below the 180 s that the vendor is asked for."""

LEFT_S: Final = 5.0
"""Longest wait for the final frame of a context that was left. Afterwards nobody knows what the
vendor still counts, so its socket takes no more contexts and is closed when the others are over."""

MAX_IDLE: Final = 12
"""Idle sockets kept open; each costs about 30 KB here and a connection at the vendor."""

_AHEAD_POOLS: Final = 4
"""So many of the busiest pools have a socket opened ahead."""
_SPARE: Final = 2
"""Free places below which the next socket is opened ahead."""
_BUSY_S: Final = 300.0
"""Half-life of a pool's uses; one that was not used for as long is not opened ahead."""
_MAX_POOLS: Final = 256
"""Pools whose uses are counted."""

_REST_S: Final = 5.0
"""After a handshake failed, or a socket that was as young as this was lost, nothing is opened ahead
for so long, and whole texts go over HTTP."""


class _Opening:
    """A handshake under way and how many wait for a place on its socket."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.waiting = 0
        self.error: ProviderError | None = None


class SocketPool:
    """All sockets of a process. Needs a running loop; `aclose` closes them."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        stall_s: float,
        max_sockets: int,
        idle_s: float = IDLE_S,
        left_s: float = LEFT_S,
    ) -> None:
        """`base_url` is the HTTP one, without a slash at its end."""
        self._base_url = base_url
        self._stall_s = stall_s
        self._max_sockets = max_sockets
        self._idle_s = idle_s
        self._left_s = left_s
        self._session = open_session(api_key)
        self._sockets: dict[str, list[Socket]] = {}
        self._openings: dict[str, list[_Opening]] = {}
        self._idle: dict[Socket, asyncio.TimerHandle] = {}
        """In the order in which they became idle."""
        self._closing: set[asyncio.Task[None]] = set()
        self._uses: dict[str, tuple[float, float]] = {}
        """By URL how often it was used, decaying, and when last."""
        self._without: set[str] = set()
        """Models that the vendor does not speak over a WebSocket."""
        self._rest_until_s = 0.0
        self._closed = False

    @property
    def sockets(self) -> int:
        """Open sockets, and handshakes under way."""
        return sum(map(len, self._sockets.values())) + sum(map(len, self._openings.values()))

    @property
    def contexts(self) -> int:
        """Contexts whose final frame has not come."""
        return sum(len(socket.contexts) for found in self._sockets.values() for socket in found)

    @property
    def resting(self) -> bool:
        """True for a while after a socket could not be opened or kept."""
        return asyncio.get_running_loop().time() < self._rest_until_s

    def speaks(self, attempt: Attempt) -> bool:
        """False for a model that the vendor has refused over a WebSocket."""
        return attempt.model not in self._without

    def prepare(self, attempt: Attempt) -> None:
        """Have a socket ready for that voice: somebody has begun to write what it will say."""
        url = socket_url(self._base_url, attempt)
        if self._with_room(url) or self._openings.get(url) or self.resting or self._closed:
            return
        if self.sockets < self._max_sockets:
            self._open(url)

    async def lease(self, attempt: Attempt, wait_s: float) -> Context:
        """A new context for that voice; whoever has it calls `leave`.

        Raises:
            ProviderBusy: every socket there may be is in use.
            ProviderSilent: no socket was open in time.
            ProviderUnavailable: none was open within the stall limit, and there is time left.
            ProviderError: the handshake failed.
        """
        url = socket_url(self._base_url, attempt)
        give_up_at_s = asyncio.get_running_loop().time() + wait_s
        self._count(url)
        while (socket := self._with_room(url)) is None:
            opening = self._opening_for(url)
            opening.waiting += 1
            try:
                left_s = give_up_at_s - asyncio.get_running_loop().time()
                await asyncio.wait([opening.task], timeout=min(max(0.0, left_s), self._stall_s))
            finally:
                opening.waiting -= 1
            if not opening.task.done():
                if left_s <= self._stall_s:
                    raise ProviderSilent("ElevenLabs opened no WebSocket.", provider=PROVIDER)
                self._rest()
                raise ProviderUnavailable("ElevenLabs opened no WebSocket.", provider=PROVIDER)
            if (error := opening.error) is not None:
                raise type(error)(error.message, provider=PROVIDER, vendor_code=error.vendor_code)
        idle = self._idle.pop(socket, None)
        if idle is not None:
            idle.cancel()
        context = socket.open(attempt)
        self._open_ahead(url)
        return context

    async def aclose(self) -> None:
        """Close every socket."""
        self._closed = True
        openings = [opening.task for found in self._openings.values() for opening in found]
        for task in openings:
            task.cancel()
        if openings:
            await asyncio.wait(openings)
        for socket in [socket for found in self._sockets.values() for socket in found]:
            socket.drop(None)
        while self._closing:
            await asyncio.wait(self._closing)
        await self._session.close()

    def _with_room(self, url: str) -> Socket | None:
        found = max(self._sockets.get(url, ()), key=lambda socket: socket.room, default=None)
        return found if found is not None and found.room > 0 else None

    def _opening_for(self, url: str) -> _Opening:
        for opening in self._openings.get(url, ()):
            if opening.waiting < MAX_CONTEXTS:
                return opening
        if self._closed:
            raise ProviderUnavailable("The connections are being closed.", provider=PROVIDER)
        if self.sockets >= self._max_sockets:
            if not self._idle:
                raise ProviderBusy("Every connection is in use.", provider=PROVIDER)
            next(iter(self._idle)).drop(None)
        return self._open(url)

    def _open(self, url: str) -> _Opening:
        opening = _Opening()
        self._openings.setdefault(url, []).append(opening)
        opening.task = asyncio.create_task(self._begin(url, opening), name="elevenlabs-connect")
        return opening

    async def _begin(self, url: str, opening: _Opening) -> None:
        """Open a socket and make it known, so that who waits for the task finds it."""
        try:
            socket = await self._connect(url)
        except ProviderError as error:
            opening.error = error
            self._rest()
            log.warning("upstream_socket_failed", code=error.code, vendor_code=error.vendor_code)
        except Exception as error:
            opening.error = ProviderUnavailable("ElevenLabs cannot be reached.", provider=PROVIDER)
            self._rest()
            log.error("upstream_socket_failed", error_type=type(error).__name__)
        else:
            self._sockets.setdefault(url, []).append(socket)
            self._became_idle(socket)
        finally:
            _take_out(self._openings, url, opening)

    def _rest(self) -> None:
        self._rest_until_s = asyncio.get_running_loop().time() + _REST_S

    async def _connect(self, url: str) -> Socket:
        try:
            ws = await shake_hands(self._session, url)
        except ProviderError as error:
            if error.vendor_code != "unsupported_model":
                raise
            self._without.add(parse_qs(urlsplit(url).query)["model_id"][0])
            # Asked again it goes over HTTP.
            raise ProviderUnavailable(
                error.message, provider=PROVIDER, vendor_code=error.vendor_code
            ) from error
        return Socket(
            ws,
            url,
            stall_s=self._stall_s,
            left_s=self._left_s,
            on_idle=self._became_idle,
            on_over=self._ended,
        )

    def _became_idle(self, socket: Socket) -> None:
        if self._closed or not socket.usable:
            socket.drop(None)
            return
        loop = asyncio.get_running_loop()
        self._idle[socket] = loop.call_later(self._idle_s, socket.drop, None)
        while len(self._idle) > MAX_IDLE:
            next(iter(self._idle)).drop(None)

    def _ended(self, socket: Socket, error: ProviderError | None) -> None:
        idle = self._idle.pop(socket, None)
        if idle is not None:
            idle.cancel()
        _take_out(self._sockets, socket.url, socket)
        task = asyncio.create_task(socket.closed(), name="elevenlabs-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        if isinstance(error, ProviderUnavailable):
            now_s = asyncio.get_running_loop().time()
            if now_s - socket.opened_at_s < _REST_S:
                self._rest()
            elif now_s - self._uses.get(socket.url, (0.0, 0.0))[1] < self._idle_s:
                self._open_ahead(socket.url)

    def _count(self, url: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self._uses[url] = (self._score(url, now_s) + 1.0, now_s)
        if len(self._uses) > _MAX_POOLS:
            del self._uses[min(self._uses, key=lambda known: self._uses[known][1])]

    def _score(self, url: str, now_s: float) -> float:
        score, used_at_s = self._uses.get(url, (0.0, now_s))
        decayed: float = score * 0.5 ** ((now_s - used_at_s) / _BUSY_S)
        return decayed

    def _open_ahead(self, url: str) -> None:
        """Open the next socket of a busy pool that is nearly full."""
        free = sum(socket.room for socket in self._sockets.get(url, ()))
        now_s = asyncio.get_running_loop().time()
        full = self.sockets >= self._max_sockets
        if free >= _SPARE or full or self.resting or self._closed or self._openings.get(url):
            return
        busiest = heapq.nlargest(
            _AHEAD_POOLS, self._uses, key=lambda known: self._score(known, now_s)
        )
        if url in busiest:
            self._open(url)


def _take_out(found: dict[str, list[T]], url: str, one: T) -> None:
    if one in found.get(url, ()):
        found[url].remove(one)
        if not found[url]:
            del found[url]
