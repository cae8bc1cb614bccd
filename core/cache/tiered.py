"""The cache as the service uses it: memory, then Redis; every fault is a miss."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Literal

import msgspec
import structlog

from core.cache.envelope import (
    EncodedClause,
    Entry,
    RenditionEntry,
    SegmentEntry,
    memory_bytes,
)
from core.cache.memory import MemoryTier
from core.cache.shared import SharedTier
from core.redis import Keys
from core.speech import SpeechPlan, SpeechTrace

log = structlog.get_logger(__name__)

Tier = Literal["memory", "redis"]

WRITERS: Final = 4
"""Writes to Redis under way at once; the rest wait, and requests always find connections."""
_DAY_S: Final = 24 * 3600
_FRESH_SHARE: Final = 0.25
"""A common response is spoken anew when a day of its life is left, or this share of a short one: it
is there at all times and never older than its lifetime."""


class Lookup(msgspec.Struct, frozen=True):
    """What is there of a plan. With a rendition nothing else is needed and `segments` is empty."""

    rendition: RenditionEntry | None = None
    rendition_source: Tier | None = None
    segments: dict[int, tuple[SegmentEntry, Tier]] = msgspec.field(default_factory=dict)
    """Index of the segment to its audio and where it came from."""


class CacheCounters(msgspec.Struct):
    """Since the process began. A lookup counts once for its rendition, or once for each segment."""

    memory_hits: int = 0
    redis_hits: int = 0
    misses: int = 0
    """Segments that no tier had, or none could tell."""
    written: int = 0
    dropped: int = 0
    """Writes that Redis does not have: no room to wait in, an outage, or refused."""


class SpeechCache:
    """Both tiers of one process. Used from one event loop; close with `aclose()`."""

    def __init__(
        self,
        memory: MemoryTier,
        shared: SharedTier,
        *,
        ttl_s: float,
        common_ttl_s: float | None = None,
        max_pending_writes: int = 256,
        max_pending_bytes: int = 32 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Entries live `ttl_s`, common ones `common_ttl_s`; writes that wait for Redis are bounded
        in number and bytes."""
        self.counters = CacheCounters()
        self.memory = memory
        self.shared = shared
        self._ttl_s = ttl_s
        self._common_ttl_s = ttl_s if common_ttl_s is None else common_ttl_s
        self._max_pending_writes = max_pending_writes
        self._max_pending_bytes = max_pending_bytes
        self._clock = clock
        self._pending_bytes = 0
        self._writes: set[asyncio.Task[None]] = set()
        self._writers = asyncio.Semaphore(WRITERS)

    def peek_rendition(self, tenant: str, rendition_key: str) -> RenditionEntry | None:
        """The whole encoded reply from memory, without waiting. A miss is not counted: the lookup
        that follows does."""
        found = self.memory.peek(Keys.rendition(tenant, rendition_key))
        if isinstance(found, RenditionEntry):
            self.counters.memory_hits += 1
            return found
        return None

    def peek_segment(self, plan: SpeechPlan, index: int) -> SegmentEntry | None:
        """One segment from memory, without waiting: for what was admitted since the lookup. Not
        counted: the lookup was."""
        if not plan.enable_caching:
            return None
        key = plan.segments[index].attempts[0].voice_key
        found = self.memory.peek(Keys.segment(plan.tenant, key))
        if not isinstance(found, SegmentEntry) or (plan.common and self._is_old(found)):
            return None
        return found

    def peek_encoded(self, tenant: str, path: str) -> EncodedClause | None:
        """What was made of a clause after others (`core.synthesis.encoding`), from memory."""
        found = self.memory.peek(f"{Keys.rendition(tenant, path)}:clause")
        return found if isinstance(found, EncodedClause) else None

    def keep_encoded(
        self, tenant: str, path: str, clause: EncodedClause, segment: SegmentEntry
    ) -> None:
        """Keep it in memory for as long as the segment it was made of."""
        left_s = self._left_s(segment, self._ttl_of(segment))
        if left_s > 0:
            self.memory.put(f"{Keys.rendition(tenant, path)}:clause", clause, left_s)

    async def lookup(self, plan: SpeechPlan, trace: SpeechTrace) -> Lookup:
        """What the tiers have of this plan, in at most one round trip.

        None is made where memory has the rendition or every segment. Only the first attempt of a
        segment is looked up: what a fallback said is never kept. Never raises for what Redis does.
        """
        if not plan.enable_caching:
            return Lookup()
        found = await self._lookup(plan, trace)
        return await self._as_common(plan, trace, found) if plan.common else found

    async def _lookup(self, plan: SpeechPlan, trace: SpeechTrace) -> Lookup:
        if plan.rendition_key:
            rendition = self.peek_rendition(plan.tenant, plan.rendition_key)
            if rendition is not None:
                return Lookup(rendition, "memory")
        keys = {
            s.index: Keys.segment(plan.tenant, s.attempts[0].voice_key)
            for s in plan.segments
            if s.attempts
        }
        segments: dict[int, tuple[SegmentEntry, Tier]] = {}
        for index, key in keys.items():
            found = self.memory.peek(key)
            if isinstance(found, SegmentEntry):
                segments[index] = (found, "memory")
        absent = [index for index in keys if index not in segments]
        if absent:
            rendition = await self._fetch(plan, trace, keys, absent, segments)
            if rendition is not None:
                self.counters.redis_hits += 1
                return Lookup(rendition, "redis")
        for _, tier in segments.values():
            if tier == "memory":
                self.counters.memory_hits += 1
            else:
                self.counters.redis_hits += 1
        self.counters.misses += len(plan.segments) - len(segments)
        return Lookup(segments=segments)

    async def _fetch(
        self,
        plan: SpeechPlan,
        trace: SpeechTrace,
        keys: dict[int, str],
        absent: list[int],
        segments: dict[int, tuple[SegmentEntry, Tier]],
    ) -> RenditionEntry | None:
        """Ask Redis for the rendition and the absent segments; adds those found to `segments`."""
        rendition_key = Keys.rendition(plan.tenant, plan.rendition_key)
        wanted = dict.fromkeys(keys[index] for index in absent)
        if plan.rendition_key:
            wanted = {rendition_key: None} | wanted
        fetched = await self.shared.fetch(list(wanted))
        trace.redis_trips += fetched.trips
        found = dict(zip(wanted, fetched.entries, strict=True))
        rendition = found.get(rendition_key)
        if isinstance(rendition, RenditionEntry):
            self._keep(rendition_key, rendition)
            return rendition
        for index in absent:
            entry = found[keys[index]]
            if isinstance(entry, SegmentEntry):
                self._keep(keys[index], entry)
                segments[index] = (entry, "redis")
        return None

    def admit_segment(self, tenant: str, voice_key: str, entry: SegmentEntry) -> None:
        """Keep what the asked voice said under its voice key; never what a fallback said."""
        self._admit(Keys.segment(tenant, voice_key), entry)

    def admit_rendition(self, tenant: str, rendition_key: str, entry: RenditionEntry) -> None:
        """Keep a whole encoded reply, every segment of it in the asked voice."""
        self._admit(Keys.rendition(tenant, rendition_key), entry)

    async def _as_common(self, plan: SpeechPlan, trace: SpeechTrace, found: Lookup) -> Lookup:
        """What may be used for a common response: what has most of its life before it. What was
        spoken before it was known to be common is kept longer from now on."""
        segments = found.segments
        rendition = found.rendition
        if rendition is not None and (self._is_old(rendition) or not rendition.common):
            # Its segments were not asked for.
            segments = {}
            keys = [Keys.segment(plan.tenant, s.attempts[0].voice_key) for s in plan.segments]
            fetched = await self.shared.fetch(keys)
            trace.redis_trips += fetched.trips
            for index, entry in enumerate(fetched.entries):
                if isinstance(entry, SegmentEntry):
                    segments[index] = (entry, "redis")
        segments = {i: one for i, one in segments.items() if not self._is_old(one[0])}
        for index, (segment, _) in segments.items():
            if not segment.common:
                key = plan.segments[index].attempts[0].voice_key
                self.admit_segment(plan.tenant, key, msgspec.structs.replace(segment, common=True))
        if rendition is None or self._is_old(rendition):
            return Lookup(segments=segments)
        if not rendition.common:
            entry = msgspec.structs.replace(rendition, common=True)
            self.admit_rendition(plan.tenant, plan.rendition_key, entry)
        return Lookup(rendition, found.rendition_source)

    def _is_old(self, entry: Entry) -> bool:
        """Whether a common response is to be spoken anew."""
        fresh_s = min(_DAY_S, _FRESH_SHARE * self._common_ttl_s)
        return self._left_s(entry, self._common_ttl_s) < fresh_s

    def _left_s(self, entry: Entry, ttl_s: float) -> float:
        """How long an entry still lives by its own date; without one, its whole life."""
        created_unix_s = entry.provenance.created_unix_s
        return ttl_s - max(0.0, self._clock() - created_unix_s) if created_unix_s else ttl_s

    async def drain(self, timeout_s: float) -> bool:
        """Wait until the writes so far are done; False when some are not by then."""
        if not self._writes:
            return True
        _, waiting = await asyncio.wait(set(self._writes), timeout=timeout_s)
        return not waiting

    async def aclose(self) -> None:
        """Give up writes that still wait. The Redis client is its owner's to close."""
        writes = set(self._writes)
        for task in writes:
            task.cancel()
        await asyncio.gather(*writes, return_exceptions=True)

    def _keep(self, key: str, entry: Entry) -> None:
        # Redis does not tell how long an entry still lives; its own date does, so that memory does
        # not keep it for another whole lifetime.
        left_s = self._left_s(entry, self._ttl_of(entry))
        if left_s > 0:
            self.memory.put(key, entry, left_s)

    def _admit(self, key: str, entry: Entry) -> None:
        ttl_s = self._left_s(entry, self._ttl_of(entry))
        if ttl_s <= 0:
            return
        self.memory.put(key, entry, ttl_s)
        size = memory_bytes(entry)
        full = (
            len(self._writes) >= self._max_pending_writes
            or self._pending_bytes + size > self._max_pending_bytes
        )
        if full:
            self.counters.dropped += 1
            return
        self._pending_bytes += size
        task = asyncio.create_task(self._write(key, entry, ttl_s), name="cache-write")
        self._writes.add(task)
        task.add_done_callback(lambda done: self._written(done, size))

    async def _write(self, key: str, entry: Entry, ttl_s: float) -> None:
        async with self._writers:
            if await self.shared.store(key, entry, ttl_s):
                self.counters.written += 1
            else:
                self.counters.dropped += 1

    def _ttl_of(self, entry: Entry) -> float:
        return self._common_ttl_s if entry.common else self._ttl_s

    def _written(self, task: asyncio.Task[None], size: int) -> None:
        self._writes.discard(task)
        self._pending_bytes -= size
        if task.cancelled():
            self.counters.dropped += 1
        elif error := task.exception():
            self.counters.dropped += 1
            log.error("cache_write_failed", error=type(error).__name__)
