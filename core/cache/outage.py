"""Keeps a store that does not answer from slowing every request."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

PAUSE_S: Final = 1.0
"""How long the store is left alone after a failure, before one request asks again."""

LATE_ANSWERS: Final = 3
"""Late answers in a row that count as an outage: one alone may be this process being busy. A
refused connection is an outage at once."""


class OutageGate:
    """Says whether the store may be asked. During an outage one probe at a time gets through.

    Logs when an outage begins and when it is over, not in between.
    """

    def __init__(self, store: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.outages = 0
        self._store = store
        self._clock = clock
        self._late = 0
        self._closed_since_s: float | None = None
        self._next_probe_s = 0.0

    @property
    def closed(self) -> bool:
        """Whether the store is taken to be out."""
        return self._closed_since_s is not None

    def allow(self) -> bool:
        """Whether this caller may ask; it then tells how it went."""
        if self._closed_since_s is None:
            return True
        now = self._clock()
        if now < self._next_probe_s:
            return False
        self._next_probe_s = now + PAUSE_S
        return True

    def answered(self) -> None:
        """The store answered."""
        self._late = 0
        if self._closed_since_s is not None:
            lasted = self._clock() - self._closed_since_s
            self._closed_since_s = None
            log.info("store_back", store=self._store, outage_s=round(lasted, 1))

    def failed(self, error: BaseException, *, late: bool) -> None:
        """The store did not answer: `late`, or not at all."""
        self._late += 1
        now = self._clock()
        if self._closed_since_s is not None:
            self._next_probe_s = now + PAUSE_S
        elif not late or self._late >= LATE_ANSWERS:
            self._closed_since_s = now
            self._next_probe_s = now + PAUSE_S
            self.outages += 1
            # The error's own text may hold the address with its password.
            log.warning("store_out", store=self._store, error=type(error).__name__)
