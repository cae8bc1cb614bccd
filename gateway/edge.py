"""What the routes of one gateway process share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from litestar import Litestar

from core.errors import Busy
from core.settings import Settings
from gateway.auth import Gate
from gateway.ports import Runtime, RuntimeFactory


class Edge:
    """The settings, the gate, the open runtime, and how many requests are under way."""

    def __init__(self, settings: Settings, runtime_factory: RuntimeFactory) -> None:
        self.settings = settings
        self.gate = Gate(settings)
        self.under_way = 0
        self._factory = runtime_factory
        self._runtime: Runtime | None = None

    @property
    def runtime(self) -> Runtime:
        """The open runtime; there is one from the first request to the last."""
        if self._runtime is None:
            raise RuntimeError("The gateway is not open: serve it with its lifespan.")
        return self._runtime

    @asynccontextmanager
    async def lifespan(self, _: Litestar) -> AsyncIterator[None]:
        """Open the runtime, serve, close it."""
        async with self._factory(self.settings) as runtime:
            self._runtime = runtime
            try:
                yield
            finally:
                self._runtime = None

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places for requests that have to wait for something.

        Raises:
            Busy: `gateway.max_requests` are under way.
        """
        if self.under_way >= self.settings.gateway.max_requests:
            raise Busy("This gateway has all the requests it takes at once.", retry_after_s=1)
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1
