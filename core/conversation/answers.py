"""Answers that may not leave before what they promise is kept; nobody else waits for that."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from core.conversation.events import Event
from core.conversation.journal import Journal
from core.conversation.outbox import ClientLost, Outbox

_MOST: Final = 64
"""Answers that may wait; whoever brings another one waits with them."""


class Answers:
    """In order, each as soon as the journal has what was asked before it. Close with `aclose()`."""

    __slots__ = ("_journal", "_outbox", "_task", "_waiting")

    def __init__(self, outbox: Outbox, journal: Journal) -> None:
        self._outbox = outbox
        self._journal = journal
        self._waiting: deque[Event] | None = None
        self._task: asyncio.Task[None] | None = None

    async def give(self, event: Event) -> None:
        """Send it, or have it sent when the journal is written.

        Raises:
            ClientLost: the client cannot be reached any more.
        """
        if self._journal.fenced:
            return  # whoever holds the session now does not know the command
        if self._task is None and self._journal.is_settled:
            await self._outbox.tell(event)
            return
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(event)
        if self._task is None:
            self._task = asyncio.create_task(self._send(), name="session-answers")
        elif len(self._waiting) > _MOST:
            await asyncio.wait((self._task,))

    async def flush(self) -> None:
        """Wait until all are sent; the journal bounds it."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    async def aclose(self) -> None:
        """Drop what waits."""
        self._waiting = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _send(self) -> None:
        try:
            while self._waiting:
                await self._journal.settled()
                if self._journal.fenced:
                    return
                if self._waiting:
                    await self._outbox.tell(self._waiting.popleft())
        except ClientLost:
            pass  # the reader learns it from the outbox
        finally:
            self._waiting = None
            self._task = None
