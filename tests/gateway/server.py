"""A real uvicorn on a real port, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any, Self

import uvicorn

from core.settings import Settings
from gateway.app import create_app
from gateway.ports import RuntimeFactory
from gateway.server import uvicorn_config

STANDING = frozenset({"session-parting", "cluster-report", "session-journals"})
"""Tasks that an open gateway always has."""


class Gateway:
    """The app, served; `base` is its URL. Use as a context manager."""

    def __init__(
        self,
        settings: Settings,
        factory: RuntimeFactory | None,
        *,
        request_timeout_s: float = 10.0,
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.voice = f"{self.base}/api/v1/voice"
        self._draining = asyncio.Event()
        config = uvicorn_config(
            create_app(settings, factory, draining=self._draining),
            settings,
            request_timeout_s=request_timeout_s,
        )
        self._server = uvicorn.Server(config)
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
        self._server.should_exit = True
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
