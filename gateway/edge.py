"""What the routes of one gateway process share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from litestar import Litestar

from core.cluster import Cluster, open_cluster
from core.conversation.journals import Journals, open_journals
from core.conversation.registry import SessionRegistry
from core.errors import Busy
from core.settings import Settings
from gateway.auth import Gate
from gateway.ports import Runtime, RuntimeFactory
from gateway.queue import Jobs, open_jobs


class Edge:
    """The settings, the gate, the open runtime, and how many requests are under way."""

    def __init__(
        self,
        settings: Settings,
        runtime_factory: RuntimeFactory,
        draining: asyncio.Event | None = None,
    ) -> None:
        self.settings = settings
        self.gate = Gate(settings)
        self.under_way = 0
        self.draining = draining or asyncio.Event()
        """Set once this process is going to end: long conversations come to their close."""
        self.sessions = SessionRegistry(
            max_sessions=settings.gateway.max_sessions,
            max_per_key=settings.gateway.max_sessions_per_key,
        )
        self._factory = runtime_factory
        self._runtime: Runtime | None = None
        self._cluster: Cluster | None = None
        self._jobs: Jobs | None = None
        self._journals: Journals | None = None

    @property
    def jobs(self) -> Jobs:
        """Background work; there as long as the runtime is."""
        if self._jobs is None:
            raise RuntimeError("The gateway is not open: serve it with its lifespan.")
        return self._jobs

    @property
    def journals(self) -> Journals:
        """What sessions are regained from; there as long as the runtime is."""
        if self._journals is None:
            raise RuntimeError("The gateway is not open: serve it with its lifespan.")
        return self._journals

    @property
    def cluster(self) -> Cluster:
        """The processes of this installation; there as long as the runtime is."""
        if self._cluster is None:
            raise RuntimeError("The gateway is not open: serve it with its lifespan.")
        return self._cluster

    @property
    def runtime(self) -> Runtime:
        """The open runtime; there is one from the first request to the last."""
        if self._runtime is None:
            raise RuntimeError("The gateway is not open: serve it with its lifespan.")
        return self._runtime

    @asynccontextmanager
    async def lifespan(self, _: Litestar) -> AsyncIterator[None]:
        """Open the runtime, serve, close it."""
        async with (
            self._factory(self.settings) as runtime,
            open_jobs(self.settings, runtime.state) as jobs,
            open_cluster(runtime.state, runtime.recorder, self.sessions) as cluster,
            open_journals(runtime.state) as journals,
        ):
            self._runtime = runtime
            self._jobs = jobs
            self._cluster = cluster
            self._journals = journals
            parting = asyncio.create_task(self._part_when_draining(), name="session-parting")
            try:
                yield
            finally:
                parting.cancel()
                await asyncio.wait((parting,))
                self._runtime = self._jobs = self._cluster = self._journals = None

    async def _part_when_draining(self) -> None:
        await self.draining.wait()
        self.sessions.end_all()

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
