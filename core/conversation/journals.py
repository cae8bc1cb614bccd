"""The journals of one process: a task lets them live on, and learns which were taken over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from redis.asyncio import Redis

from core.conversation.journal import Journal
from core.conversation.journal_store import (
    RENEW_S,
    JournalStore,
    Outcome,
    Seen,
    Taken,
)
from core.errors import StoreError

log = structlog.get_logger(__name__)

_RETRY_S: Final = 1.0
"""How often a database is tried that did not answer."""
_SETTLE_S: Final = 0.5
"""A session that was just closed is gone within this."""
_LOOK_S: Final = 0.05
_END_S: Final = 2.0


class Journals:
    """Opens journals, keeps them alive and closes them. Made by `open_journals`."""

    def __init__(self, redis: Redis) -> None:
        self.store = JournalStore(redis)
        self.well = True
        self._kept: dict[str, Journal] = {}
        """By the digest of the token."""
        self._parting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._kept)

    async def look(self, tenant: str, session_id: str, *, wait: bool = False) -> Seen | None:
        """The journal of that session; `wait`: unless it goes away within a moment.

        Raises:
            StoreError: the state database does not answer.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _SETTLE_S
        while True:
            try:
                seen = await self.store.look(tenant, session_id)
            except StoreError:
                self.well = False
                raise
            if seen is None or not wait or loop.time() > until_s:
                return seen
            await asyncio.sleep(_LOOK_S)

    async def take(self, tenant: str, session_id: str, token: str) -> Taken | None:
        """Become the holder of a journal; whoever held it in this process is told at once.

        Raises:
            StoreError: the state database does not answer.
        """
        taken = await self.store.take(tenant, session_id, token)
        if taken is not None:
            for journal in tuple(self._kept.values()):
                if journal.hold.key == taken.hold.key:
                    journal.fence()
        return taken

    def keep(self, journal: Journal) -> None:
        """Let it live on until it is dropped."""
        self._kept[journal.hold.digest] = journal

    def drop(self, journal: Journal) -> None:
        """Its session is over."""
        self._kept.pop(journal.hold.digest, None)

    def part(self, journal: Journal, *, ended: bool) -> None:
        """Close it, in a task of its own: whoever asks for it may be cancelled."""
        task = asyncio.create_task(journal.aclose(ended=ended), name="journal-parting")
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)

    async def run(self) -> None:
        """Let all live on, until cancelled."""
        waited_s = 0.0
        while True:
            await asyncio.sleep(_RETRY_S)
            waited_s += _RETRY_S
            if self.well and waited_s < RENEW_S:
                continue
            waited_s = 0.0
            try:
                await self.renew()
            except StoreError:
                if self.well:
                    log.warning("session_journals_unreachable")
                self.well = False
            except Exception as error:
                log.error("session_journals_failed", error_type=type(error).__name__)

    async def renew(self) -> None:
        """Let all live on, and write anew what is missing. Raises `StoreError`."""
        kept = list(self._kept.values())
        outcomes = await self.store.renew(journal.hold for journal in kept)
        self.well = True
        for journal, outcome in zip(kept, outcomes, strict=True):
            if not journal.active:
                continue
            if outcome is Outcome.TAKEN and journal.known:
                journal.fence()
            elif outcome is Outcome.MISSING or not journal.well:
                journal.retry()
            else:
                journal.tidy()

    async def aclose(self) -> None:
        """Wait for the journals that are being closed, and write no other any more."""
        if self._parting:
            await asyncio.wait(self._parting, timeout=_END_S)
        await self.store.aclose()


@asynccontextmanager
async def open_journals(redis: Redis) -> AsyncIterator[Journals]:
    """The journals of a process, kept alive as long as the block runs."""
    journals = Journals(redis)
    renewing = asyncio.create_task(journals.run(), name="session-journals")
    try:
        yield journals
    finally:
        await journals.aclose()
        renewing.cancel()
        await asyncio.wait((renewing,))
