"""The open sessions of every process, in the state database.

A process keeps a hash for each tenant, with a field for each session, and writes what has changed
every second along with its report. Beside the sessions a hash holds how often it was written: one
that was lost, or that a restart of Redis has set back, counts from elsewhere and is written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
import structlog
from redis.asyncio.client import Pipeline

from core.conversation.registry import Connection, SessionRegistry
from core.redis import Keys

MOST_LISTED: Final = 10_000
"""Sessions that one look lists."""
WRITTEN_AT_ONCE: Final = 500
"""Sessions in one pipeline, so that the event loop is not held up."""
_READ_AT_ONCE: Final = 4096
"""Parts of hashes that one round trip looks at: about as many sessions, at the most."""
_REVISION: Final = ""
"""Field of how often a hash was written."""

_log = structlog.get_logger("seiketsu.cluster")


class OpenSession(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One open session."""

    session_id: str
    voice_agent_id: str
    language: str
    connected_unix_s: float
    requests: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(OpenSession)


class SessionWriting:
    """Keeps the hashes of this process as its sessions are."""

    def __init__(self, registry: SessionRegistry, process: str, lives_s: int) -> None:
        """What is not written for `lives_s` is forgotten."""
        self._registry = registry
        self._process = process
        self._lives_s = lives_s
        self._revisions: dict[str, int] = {}
        """By tenant how often its hash was written."""
        self._whole = False
        self._more = False
        self._expected: dict[int, int] = {}
        """By place in the pipeline what is answered there."""

    @property
    def more(self) -> bool:
        """Whether there is more to write: more than one pipeline takes, or what was lost."""
        return self._more or self._whole

    def lost(self) -> None:
        """Nobody knows what is written: all is to be written anew."""
        self._whole = True

    def add_to(self, pipe: Pipeline) -> None:
        """Queue the commands that write what has changed; hand their answers to `compare`."""
        self._expected = {}
        if self._whole:
            self._registry.forget_told()
            for tenant in self._revisions:
                pipe.unlink(self._key(tenant))
            self._revisions.clear()
            self._whole = False
        changes = self._registry.take_changes(WRITTEN_AT_ONCE)
        self._more = len(changes.changed) == WRITTEN_AT_ONCE
        values: dict[str, dict[str, bytes]] = {}
        for one in changes.changed:
            values.setdefault(one.tenant, {})[str(one.number)] = _encoder.encode(as_listed(one))
        closed: dict[str, list[str]] = {}
        for tenant, number in changes.closed:
            closed.setdefault(tenant, []).append(str(number))
        open_now = self._registry.tenants
        for tenant in self._revisions.keys() - open_now:
            pipe.unlink(self._key(tenant))
            del self._revisions[tenant]
        for tenant in open_now:
            key = self._key(tenant)
            if tenant in values:
                pipe.hset(key, mapping=values[tenant])
            if tenant in closed:
                pipe.hdel(key, *closed[tenant])
            # Counted last: a restart that loses the end of what was written loses this first.
            self._revisions[tenant] = revision = self._revisions.get(tenant, 0) + 1
            self._expected[len(pipe)] = revision
            pipe.hincrby(key, _REVISION, 1)
            pipe.expire(key, self._lives_s)

    def compare(self, answers: Sequence[Any]) -> None:
        """See by the pipeline's answers whether the hashes are what was written before."""
        if any(answers[place] != revision for place, revision in self._expected.items()):
            self.lost()

    def leave(self, pipe: Pipeline) -> None:
        """Queue the commands that take everything away."""
        for tenant in self._revisions:
            pipe.unlink(self._key(tenant))

    def _key(self, tenant: str) -> str:
        return Keys.sessions(tenant, self._process)


class SessionReading:
    """Reads a tenant's sessions of other processes, so many at the most, in slices: no command
    holds Redis up for long, and a look at few processes takes one slice."""

    def __init__(self, tenant: str, processes: Sequence[str], most: int) -> None:
        self._tenant = tenant
        self._cursors = dict.fromkeys(processes, 0) if most > 0 else {}
        self._found: dict[str, dict[bytes, bytes]] = {name: {} for name in processes}
        self._room = most
        self.truncated = most <= 0 and bool(processes)
        """There may be more than were found."""

    @property
    def unfinished(self) -> bool:
        """Whether there is more to read."""
        return bool(self._cursors)

    def add_to(self, pipe: Pipeline) -> None:
        """Queue the next slice; hand its answers to `take`."""
        share = max(1, _READ_AT_ONCE // max(1, len(self._cursors)))
        for name, cursor in self._cursors.items():
            pipe.hscan(Keys.sessions(self._tenant, name), cursor, count=share)

    def take(self, answers: Sequence[tuple[int, dict[bytes, bytes]]]) -> None:
        """Keep what a slice has brought."""
        for name, (cursor, values) in zip(tuple(self._cursors), answers, strict=True):
            values.pop(_REVISION.encode(), None)
            found = self._found[name]
            new = [field for field in values if field not in found]
            for field in new[: self._room]:
                found[field] = values[field]
            if len(new) > self._room:
                self.truncated = True
            self._room -= min(self._room, len(new))
            if cursor:
                self._cursors[name] = cursor
            else:
                del self._cursors[name]
        if self._cursors and not self._room:
            self._cursors.clear()
            self.truncated = True

    def sessions(self, process: str) -> list[OpenSession]:
        """Those of a process, the newest first; one that cannot be read was written by another
        version."""
        found = []
        for value in self._found.get(process, {}).values():
            try:
                found.append(_decoder.decode(value))
            except msgspec.MsgspecError as error:
                self.truncated = True
                _log.debug("cluster_session_unreadable", error_type=type(error).__name__)
        return sorted(found, key=_connected_unix_s, reverse=True)


_connected_unix_s = attrgetter("connected_unix_s")


def as_listed(one: Connection) -> OpenSession:
    """A connection as others see it."""
    return OpenSession(
        one.session_id,
        one.voice_agent_id,
        one.language,
        round(one.connected_unix_s, 3),
        one.requests,
    )
