"""The sessions that are open in this process, and how many there may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from core.errors import SessionsFull, TooManySessions


class Connection(msgspec.Struct, eq=False):
    """One open session, as others may see it."""

    session_id: str
    tenant: str
    key_id: str
    """The API key behind it; empty without keys."""
    voice_agent_id: str
    language: str
    connected_unix_s: float
    requests: int = 0
    """Texts it has asked to be spoken."""
    end: Callable[[], None] | None = None
    """Asks the session to come to its close; what is being spoken is finished."""


class SessionRegistry:
    """Every open session of this process. The count of a key is bounded, so is that of all."""

    def __init__(self, *, max_sessions: int, max_per_key: int) -> None:
        self._max_sessions = max_sessions
        self._max_per_key = max_per_key
        self._open: dict[int, Connection] = {}
        self._per_key: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._open.values()))

    @contextmanager
    def enter(self, connection: Connection, *, takes_over: bool = False) -> Iterator[None]:
        """Hold a place for the session as long as the block runs; `takes_over`: the place of the
        connection that it takes the session from will do.

        Raises:
            SessionsFull: this process has all the sessions it takes.
            TooManySessions: this key has.
        """
        key = connection.key_id
        self.require_room(key, instead_of=connection.session_id if takes_over else None)
        self._open[id(connection)] = connection
        self._per_key[key] += 1
        try:
            yield
        finally:
            del self._open[id(connection)]
            self._per_key[key] -= 1
            if not self._per_key[key]:
                del self._per_key[key]

    def require_room(self, key: str, *, instead_of: str | None = None) -> None:
        """Whether another session of this key may be opened; what it costs is not spent in vain.
        One that is open already needs no place beside its own.

        Raises:
            SessionsFull, TooManySessions: see `enter`.
        """
        spare = instead_of is not None and any(
            one.session_id == instead_of and one.key_id == key for one in self._open.values()
        )
        if len(self._open) - spare >= self._max_sessions:
            raise SessionsFull(retry_after_s=5)
        if key and self._per_key[key] - spare >= self._max_per_key:
            raise TooManySessions(
                f"This key has {self._max_per_key} sessions open, which is its limit.",
                retry_after_s=5,
            )

    def end_all(self) -> None:
        """Ask every session to come to its close."""
        for connection in self:
            if connection.end is not None:
                connection.end()
