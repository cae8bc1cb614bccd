"""A voice server as a child process, for tests and tools."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import TracebackType

from core.children import Child
from core.errors import ProviderUnavailable
from core.providers.local import LocalProvider
from core.voices.protocol import StatusReply


class VoiceServerProcess:
    """Starts `python -m core.voices`; killed when this process dies.

    As an async context manager: started and ready inside, stopped after.
    """

    def __init__(
        self,
        socket: Path,
        processes: int,
        *,
        slow_processes: int = 0,
        queue_limit: int = 200,
        data_dir: Path | None = None,
        kokoro_model: Path | None = None,
    ) -> None:
        """Nothing is started yet. Without `data_dir` large models are kept next to the socket."""
        self.socket = socket
        self._arguments = (
            *("--socket", str(socket.absolute())),
            *("--processes", str(processes)),
            *("--slow-processes", str(slow_processes)),
            *("--queue-limit", str(queue_limit)),
            *("--data-dir", str((data_dir or socket.parent).absolute())),
            *("--kokoro-model", "" if kokoro_model is None else str(kokoro_model)),
        )
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """Process id of the server; 0 before the start."""
        return self._child.pid if self._child else 0

    @property
    def returncode(self) -> int | None:
        """The server's exit code, once it has ended."""
        return self._child.returncode if self._child else None

    def start(self) -> None:
        """Start the process."""
        self._child = Child([sys.executable, "-m", "core.voices", *self._arguments])

    async def wait_ready(self, timeout_s: float = 60.0) -> StatusReply:
        """Wait until every child of both lanes has loaded its voices.

        Raises:
            ProviderUnavailable: the server has ended.
            TimeoutError: it was not ready in time.
        """
        provider = LocalProvider(self.socket)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if self.returncode is not None:
                        raise ProviderUnavailable(
                            "The voice server ended at its start.", provider=provider.name
                        )
                    try:
                        status = await provider.status()
                    except ProviderUnavailable:
                        await asyncio.sleep(0.02)  # it does not listen yet
                        continue
                    lanes = (status.quick, status.slow)
                    if all(lane.ready == lane.processes for lane in lanes):
                        return status
                    await asyncio.sleep(0.02)
        finally:
            await provider.aclose()

    async def stop(self, grace_s: float = 5.0) -> int:
        """End the server. Its exit code."""
        return await self._child.end(grace_s) if self._child else 0

    async def __aenter__(self) -> VoiceServerProcess:
        self.start()
        try:
            await self.wait_ready()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
