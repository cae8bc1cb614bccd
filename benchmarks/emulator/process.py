"""An emulator as a child process, for tests and benchmarks: a real port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec

from benchmarks.emulator.calls import Call
from benchmarks.emulator.faults import SPEECH_ROUTES
from benchmarks.emulator.sockets.log import SocketNote

_ROOT: Final = Path(__file__).resolve().parents[2]
_READY_S: Final = 30.0
_STOP_S: Final = 5.0


class EmulatorProcess:
    """Starts `python -m benchmarks.emulator` with the given options; ends with the block.

    The child also ends by itself when this process dies, however it dies.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None
        self.url = ""
        """Without a path: `http://127.0.0.1:PORT`, with `--tls` https."""
        self.certificate: str | None = None
        """With `--tls`: the file that clients must trust."""

    @property
    def pid(self) -> int:
        """Process id of the emulator."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            RuntimeError: it ended, or was not ready within 30 s.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.emulator",
            "--stdin-guard",
            *self._options,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
        )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_READY_S):
                line = await self._process.stdout.readline()
            if not line:
                raise RuntimeError(f"the emulator ended: status {await self._process.wait()}")
            ready = json.loads(line)
            self.url, self.certificate = ready["url"], ready.get("certificate")
            trusted = self.certificate and ssl.create_default_context(cafile=self.certificate)
            connector = aiohttp.TCPConnector(ssl=trusted or True)
            self._http = aiohttp.ClientSession(self.url, connector=connector)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End it; harmless when it has ended."""
        if self._http is not None:
            await self._http.close()
            self._http = None
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def set_fault(self, kind: str, **fields: Any) -> None:
        """Put one fault rule in force instead of all others; fields as in `faults.FaultRule`."""
        await self.set_faults({"kind": kind, **fields})

    async def set_faults(self, *rules: dict[str, Any]) -> None:
        """Put these rules in force instead of all others.

        Raises:
            ValueError: a rule is not known.
        """
        found = await self._control("PUT", "faults", json=list(rules))
        if isinstance(found, dict):
            raise ValueError(found["error"])

    async def clear_faults(self) -> None:
        """No faults any more."""
        await self._control("DELETE", "faults")

    async def calls(self, *, speech_only: bool = True) -> list[Call]:
        """Every call since the start or the last clearing, oldest first (the last 20,000)."""
        found = await self._control("GET", "calls")
        calls = msgspec.convert(found["calls"], list[Call])
        return [c for c in calls if c.route in SPEECH_ROUTES] if speech_only else calls

    async def clear_calls(self) -> None:
        """Forget all calls."""
        await self._control("DELETE", "calls")

    async def sockets(self) -> list[SocketNote]:
        """Every WebSocket since the start or the last clearing, oldest first (the last 2,000)."""
        found = await self._control("GET", "sockets")
        return msgspec.convert(found["sockets"], list[SocketNote])

    async def clear_sockets(self) -> None:
        """Forget all sockets; open ones are still counted in `state`."""
        await self._control("DELETE", "sockets")

    async def state(self) -> dict[str, Any]:
        """Credits used, sockets, and of each gate its limit and what is and was under way."""
        found: dict[str, Any] = await self._control("GET", "state")
        return found

    async def _control(self, method: str, name: str, **fields: Any) -> Any:
        assert self._http is not None
        async with self._http.request(method, f"/_emulator/{name}", **fields) as reply:
            return await reply.json()
