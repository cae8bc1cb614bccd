"""The sessions that are open in this process, and how many there may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import islice

import msgspec

from core.conversation.journal import Journal
from core.errors import SessionInUse, SessionsFull, TooManySessions


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
    is_there: Callable[[], Awaitable[bool]] | None = None
    """Asks its client for a sign of life; False where none comes soon. None: it cannot be asked."""
    journal: Journal | None = None
    """What could be regained of it."""
    number: int = 0
    """Its place in the registry. A session that is taken over has two connections for a moment."""
    told: bool = False
    """Other processes may have heard of it."""
    changed: bool = True
    """It is not as it was when they did."""

    def asked(self, texts: int = 1) -> None:
        """So many more texts are to be spoken."""
        self.requests += texts
        self.changed = True

    def configured(self, voice_agent_id: str, language: str) -> None:
        """What it speaks from now on."""
        self.voice_agent_id, self.language = voice_agent_id, language
        self.changed = True


class Changes(msgspec.Struct, frozen=True):
    """What others have not been told of yet."""

    changed: list[Connection]
    """Opened, or not as they were."""
    closed: list[tuple[str, int]]
    """Tenant and number of those that others had been told of."""


class SessionRegistry:
    """Every open session of this process. The count of a key is bounded, so is that of all."""

    def __init__(self, *, max_sessions: int, max_per_key: int) -> None:
        self._max_sessions = max_sessions
        self._max_per_key = max_per_key
        self._open: dict[int, Connection] = {}
        self._named: dict[tuple[str, str], Connection] = {}
        """The newest of that tenant and session id."""
        self._last = 0
        self._per_key: Counter[str] = Counter()
        self._per_tenant: Counter[str] = Counter()
        self._closed: list[tuple[str, int]] = []

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._open.values()))

    def named(self, tenant: str, session_id: str) -> Connection | None:
        """Who has that name here, the newest where one is about to go."""
        return self._named.get((tenant, session_id))

    @contextmanager
    def enter(
        self,
        connection: Connection,
        *,
        takes_over: bool = False,
        beside: Connection | None = None,
    ) -> Iterator[None]:
        """Hold a place and the name for the session as long as the block runs. `takes_over`: it
        goes on with the session of that name, whose place will do. `beside`: who has the name, and
        need not be asked.

        Raises:
            SessionInUse: another has the name.
            SessionsFull: this process has all the sessions it takes.
            TooManySessions: this key has.
        """
        key, name = connection.key_id, (connection.tenant, connection.session_id)
        held = self._named.get(name)
        if held is not None and not takes_over and held is not beside:
            raise SessionInUse()
        self.require_room(key, instead_of=held if takes_over else None)
        self._last += 1
        connection.number = self._last
        self._open[connection.number] = connection
        self._named[name] = connection
        self._per_key[key] += 1
        self._per_tenant[connection.tenant] += 1
        try:
            yield
        finally:
            del self._open[connection.number]
            if self._named.get(name) is connection:
                del self._named[name]
            _one_less(self._per_key, key)
            _one_less(self._per_tenant, connection.tenant)
            if connection.told:
                self._closed.append((connection.tenant, connection.number))

    @property
    def tenants(self) -> frozenset[str]:
        """Whose sessions are open."""
        return frozenset(self._per_tenant)

    def of(self, tenant: str) -> Iterator[Connection]:
        """A tenant's, the newest first."""
        return (one for one in reversed(self._open.values()) if one.tenant == tenant)

    def take_changes(self, most: int) -> Changes:
        """What was not told yet, `most` sessions of it; from now on it counts as told."""
        changed = list(islice((one for one in self._open.values() if one.changed), most))
        for one in changed:
            one.told, one.changed = True, False
        closed, self._closed = self._closed, []
        return Changes(changed, closed)

    def forget_told(self) -> None:
        """Nobody knows of any session any more: all are to be told anew."""
        self._closed.clear()
        for one in self._open.values():
            one.told, one.changed = False, True

    def require_room(self, key: str, *, instead_of: Connection | None = None) -> None:
        """Whether another session of this key may be opened; what it costs is not spent in vain.
        One that is open already needs no place beside its own.

        Raises:
            SessionsFull, TooManySessions: see `enter`.
        """
        spare = instead_of is not None and instead_of.key_id == key
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


def _one_less(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
