"""A real uvicorn on a real port, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Self

import uvicorn

from core.settings import Settings
from gateway.app import create_app
from gateway.ports import RuntimeFactory
from gateway.server import uvicorn_config

STANDING = frozenset({"session-parting", "cluster-report", "session-journals"})
"""Tasks that an open gateway always has."""


_TICK_S = 0.1
_LAST_CLIENT_S = 0.02
"""For connections whose clients have just closed them."""


class _Server(uvicorn.Server):
    """Ends when it is told to. uvicorn itself looks ten times a second whether it is to end, and
    then waits for 0.1 s even if nothing is open: hundreds of tests would wait with it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def end(self) -> None:
        """End; in the thread of its loop."""
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        """As uvicorn's."""
        for tick in itertools.count():
            if await self.on_tick(tick):
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own where anything is open; else what that does then, without its pause."""
        until = time.monotonic() + _LAST_CLIENT_S
        while (busy := self._busy()) and time.monotonic() < until:
            await asyncio.sleep(0.001)
        if busy:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self.lifespan.shutdown()

    def _busy(self) -> bool:
        return bool(self.server_state.connections or self.server_state.tasks)


class Gateway:
    """The app, served; `base` is its URL. Use as a context manager."""

    def __init__(self, settings: Settings, factory: RuntimeFactory | None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.voice = f"{self.base}/api/v1/voice"
        self._draining = asyncio.Event()
        app = create_app(settings, factory, draining=self._draining)
        config = uvicorn_config(app, settings)
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.error: BaseException | None = None

    def _run(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[self._listener])

        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            try:
                runner.run(main())
            except BaseException as error:
                self.error = error

    def __enter__(self) -> Self:
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started:
            assert self._thread.is_alive(), f"the gateway did not start: {self.error!r}"
            assert time.monotonic() < until, "the gateway did not start in time"
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # its loop has ended before
                self._loop.call_soon_threadsafe(self._server.end)
        self._thread.join(15)
        self._listener.close()
        assert not self._thread.is_alive(), "the gateway did not end"

    def drain(self) -> None:
        """Say that the gateway is going to end, as its server does first."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._draining.set)

    def tasks(self) -> set[str]:
        """Tasks of the gateway's loop, without uvicorn's own two."""
        assert self._loop is not None

        async def names() -> set[str]:
            this = asyncio.current_task()
            return {
                f"{task.get_name()} {task.get_coro()!r}"
                for task in asyncio.all_tasks()
                if task is not this
                and task.get_name() not in STANDING
                and "main" not in repr(task.get_coro())
                and "LifespanOn" not in repr(task.get_coro())
            }

        found: set[str] = asyncio.run_coroutine_threadsafe(names(), self._loop).result(5)
        return found

    def connections(self) -> int:
        """Connections that are open."""
        return len(self._server.server_state.connections)

    def wait_until(self, condition: Any, seconds: float = 3.0) -> None:
        """Wait until `condition()` is true, or fail."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"not in {seconds} s; tasks: {self.tasks()}"
            time.sleep(0.01)
