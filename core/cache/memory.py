"""The tier inside the process: decoded entries, bounded in bytes, least recently used go first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from aiocache import BaseCache
from aiocache.serializers import NullSerializer

from core.cache.envelope import EncodedClause, Entry, memory_bytes

SLOT_BYTES: Final = 224
"""What one slot takes besides its entry and the characters of its key, measured: the ordered
dictionary's node, the key's own head, our bookkeeping."""

LARGEST_SHARE: Final = 8
"""An entry over 1/8 of the tier is not kept: it would drive out too much that is in use."""

Kept = Entry | EncodedClause


class _Slot(msgspec.Struct, frozen=True, gc=False, array_like=True):
    entry: Kept
    charge_bytes: int
    expires_s: float


class MemoryTier(BaseCache):  # type: ignore[misc]
    """Byte-bounded LRU. Single-threaded: used from one event loop.

    `peek`, `put` and `discard` are the plain calls that the service uses; the aiocache interface
    over them is for everything else. Nothing is serialised: what was put is what comes back.
    """

    NAME = "memory"

    def __init__(
        self,
        max_bytes: int,
        *,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # A timeout would cost a task or a timer per call, for calls that never wait.
        super().__init__(serializer=NullSerializer(), timeout=None, ttl=ttl_s)
        self.max_bytes = max_bytes
        self.used_bytes = 0
        """What all slots are charged with; never more than `max_bytes`."""
        self.evictions = 0
        self._clock = clock
        self._slots: OrderedDict[str, _Slot] = OrderedDict()

    def __len__(self) -> int:
        return len(self._slots)

    def peek(self, key: str) -> Kept | None:
        """The entry, without waiting; counts as a use of it."""
        slot = self._slots.get(key)
        if slot is None:
            return None
        if slot.expires_s <= self._clock():
            self.discard(key)
            return None
        self._slots.move_to_end(key)
        return slot.entry

    def put(self, key: str, entry: Kept, ttl_s: float | None) -> bool:
        """Keep the entry, in place of what was there; `None`: until it is driven out.

        False where it is larger than one entry may be; then nothing is kept under the key.
        """
        self.discard(key)
        charge = memory_bytes(entry) + len(key) + SLOT_BYTES
        if charge * LARGEST_SHARE > self.max_bytes:
            return False
        expires_s = float("inf") if ttl_s is None else self._clock() + ttl_s
        self._slots[key] = _Slot(entry, charge, expires_s)
        self.used_bytes += charge
        while self.used_bytes > self.max_bytes:
            self.used_bytes -= self._slots.popitem(last=False)[1].charge_bytes
            self.evictions += 1
        return True

    def discard(self, key: str) -> bool:
        """Forget the entry; whether there was one."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return False
        self.used_bytes -= slot.charge_bytes
        return True

    def clear_all(self) -> None:
        """Forget everything."""
        self._slots.clear()
        self.used_bytes = 0

    async def _get(self, key: str, encoding: Any = None, _conn: Any = None) -> Kept | None:
        return self.peek(key)

    async def _multi_get(
        self, keys: Iterable[str], encoding: Any = None, _conn: Any = None
    ) -> list[Kept | None]:
        return [self.peek(key) for key in keys]

    async def _set(
        self, key: str, value: Kept, ttl: float | None, _cas_token: Any = None, _conn: Any = None
    ) -> bool:
        return self.put(key, value, ttl)

    async def _multi_set(
        self, pairs: Iterable[tuple[str, Kept]], ttl: float | None, _conn: Any = None
    ) -> bool:
        kept = [self.put(key, value, ttl) for key, value in pairs]
        return all(kept)

    async def _add(self, key: str, value: Kept, ttl: float | None, _conn: Any = None) -> bool:
        if self.peek(key) is not None:
            raise ValueError("The key is taken.")
        return self.put(key, value, ttl)

    async def _exists(self, key: str, _conn: Any = None) -> bool:
        return self.peek(key) is not None

    async def _expire(self, key: str, ttl: float | None, _conn: Any = None) -> bool:
        entry = self.peek(key)
        return entry is not None and self.put(key, entry, ttl)

    async def _delete(self, key: str, _conn: Any = None) -> int:
        return int(self.discard(key))

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        for key in [key for key in self._slots if key.startswith(namespace or "")]:
            self.discard(key)
        return True
