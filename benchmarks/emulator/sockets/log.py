"""The socket log: every WebSocket, its contexts, how each ended. Texts are kept as hashes."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

import msgspec

_SOCKETS_KEPT: Final = 2_000
_CONTEXTS_KEPT: Final = 1_000


class ContextNote(msgspec.Struct):
    """One context. Instants are `time.monotonic()`."""

    id: str
    opened_s: float
    messages: int = 0
    """That carried text for it."""
    flushes: int = 0
    text_chars: int = 0
    text_sha256: str | None = None
    """Of all texts received, put together."""
    spoken_chars: int = 0
    credits: int = 0
    frames: int = 0
    """Of audio."""
    audio_bytes: int = 0
    fault: str | None = None
    first_audio_s: float | None = None
    closed_by_client_s: float | None = None
    """When `close_context`, `close_socket` or the end of the text came."""
    final_s: float | None = None
    """When its final frame was sent; None: it never was."""
    failed: bool = False
    """An error frame ended it."""


class SocketNote(msgspec.Struct):
    """One socket, or a handshake that was refused."""

    id: int
    route: str
    voice_id: str
    opened_s: float
    query: dict[str, str] = msgspec.field(default_factory=dict)
    """Of the URL; keys and tokens are left out."""
    status: int | None = None
    """Of the handshake: 101 or a refusal's. None: none was sent."""
    error: str | None = None
    """The code of the refusal or of the error frame that ended it."""
    fault: str | None = None
    """Of the handshake; those of contexts stand there."""
    messages: int = 0
    opened: int = 0
    """Contexts in all."""
    closed_by_client: int = 0
    """Contexts."""
    ended: int = 0
    """Contexts whose final frame was sent."""
    active: int = 0
    """Contexts that count now: without a final frame yet."""
    most_active: int = 0
    contexts: list[ContextNote] = msgspec.field(default_factory=list)
    """The last 1,000, oldest first."""
    close_code: int | None = None
    """None after the end: the connection was lost or cut without a close frame."""
    closed_by: str | None = None
    """`client`, `emulator` or `lost`."""
    closed_s: float | None = None
    """None: still open."""


class SocketLog:
    """The last sockets, newest last, and how many are open."""

    def __init__(self) -> None:
        self._open = 0
        self._number = 0
        self.clear()

    def clear(self) -> None:
        """Forget all sockets but their number; open ones are counted on."""
        self._notes: deque[SocketNote] = deque(maxlen=_SOCKETS_KEPT)
        self.total = 0
        self.most_open = self._open

    @property
    def open(self) -> int:
        """Sockets open now."""
        return self._open

    def begin(self, route: str, voice_id: str, query: dict[str, str]) -> SocketNote:
        """A handshake that starts now."""
        self.total += 1
        self._number += 1
        note = SocketNote(self._number, route, voice_id, time.monotonic(), query)
        self._notes.append(note)
        return note

    def accepted(self, note: SocketNote) -> None:
        """The handshake went well."""
        note.status = 101
        self._open += 1
        self.most_open = max(self.most_open, self._open)

    def closed(self, note: SocketNote) -> None:
        """The socket is no more."""
        if note.status == 101:
            self._open -= 1
        note.closed_s = time.monotonic()

    def listing(self) -> list[SocketNote]:
        """All sockets kept."""
        return list(self._notes)

    def figures(self) -> dict[str, Any]:
        """Totals, for `/_emulator/state`."""
        return {"total": self.total, "open": self._open, "most_open": self.most_open}


def open_context(socket: SocketNote, context_id: str) -> ContextNote:
    """Note a context that opens now."""
    note = ContextNote(context_id, time.monotonic())
    socket.opened += 1
    socket.active += 1
    socket.most_active = max(socket.most_active, socket.active)
    socket.contexts.append(note)
    if len(socket.contexts) > _CONTEXTS_KEPT:
        del socket.contexts[0]
    return note
