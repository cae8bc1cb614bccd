"""A whole installation on this machine, on real ports, for benchmarks and end-to-end tests.

Both databases, the voice server, the gateway and, when asked for, the provider's emulator.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.emulator.process import EmulatorProcess
from core.children import Child
from core.embedded import EmbeddedRedis
from core.settings import VARIABLES
from core.voices.process import VoiceServerProcess
from gateway.greeting import wait_until_ready
from gateway.server import open_listener

EMULATOR_KEY: Final = "emulator-key"
_COMMAND: Final = "gateway.cli"
_READY_S: Final = 30.0
_STOP_S: Final = 12.0


class Stack:
    """What runs, and the handles to disturb it. Open it with `open_stack`."""

    def __init__(
        self,
        directory: Path,
        env: Mapping[str, str],
        voices: VoiceServerProcess,
        command: str = _COMMAND,
    ) -> None:
        self.state = EmbeddedRedis("state", directory)
        self.cache = EmbeddedRedis("cache", directory, max_memory_bytes=128 * 1024 * 1024)
        self.emulator: EmulatorProcess | None = None
        self.base_url = ""
        self.log = directory / "gateway.log"
        self._directory = directory
        self._env = dict(env)
        self._command = command
        self._gateway: Child | None = None
        self.voices = voices

    @property
    def gateway_pid(self) -> int:
        """Process id of the gateway."""
        assert self._gateway is not None
        return self._gateway.pid

    @property
    def voices_pid(self) -> int:
        """Process id of the voice server."""
        return self.voices.pid

    @property
    def env(self) -> dict[str, str]:
        """The environment of the installation's programs: the gateway's, or a worker's."""
        env = {
            **_bare_environment(),
            "SEIKETSU_DATA_DIR": str(self._directory),
            "REDIS_URL": self.state.url,
            "CACHE_REDIS_URL": self.cache.url,
            "SEIKETSU_VOICE_SOCKET": str(self.voices.socket),
            **self._env,
        }
        if self.emulator is not None:
            env.setdefault("ELEVEN_LABS_API_KEY", EMULATOR_KEY)
            env.setdefault("ELEVEN_LABS_BASE_URL", f"{self.emulator.url}/v1")
        return env

    async def start_gateway(self) -> None:
        """Start the gateway on a port of the system's choice and wait until it is ready."""
        with open_listener("127.0.0.1", 0) as listener, self.log.open("ab") as output:
            descriptor = listener.fileno()
            command = [sys.executable, "-m", self._command, "serve", "--fd", str(descriptor)]
            self._gateway = Child(command, env=self.env, pass_fds=[descriptor], output=output)
            self.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await wait_until_ready(self.base_url, _READY_S)

    async def stop_gateway(self) -> None:
        """End the gateway in order."""
        if self._gateway is not None:
            await self._gateway.end(_STOP_S)

    async def performance(self) -> dict[str, Any]:
        """`GET /performance` of the gateway."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.base_url}/api/v1/voice/performance") as reply,
        ):
            found: dict[str, Any] = await reply.json()
            return found


@asynccontextmanager
async def open_stack(
    *,
    emulator: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    voice_processes: int = 2,
    slow_voice_processes: int = 0,
    command: str = _COMMAND,
) -> AsyncIterator[Stack]:
    """Start everything and wait until it is ready; leaving the block ends all of it.

    `slow_voice_processes` speak Mandarin; without any it is not spoken here.

    `emulator` holds its command-line options; `None` starts none, and the local voice is alone.
    `command` is the module that is the `seiketsu` command, or does what it does and more.
    """
    with tempfile.TemporaryDirectory(prefix="sk-") as directory:
        voices = VoiceServerProcess(
            Path(directory) / "voices.sock", voice_processes, slow_processes=slow_voice_processes
        )
        stack = Stack(Path(directory), env or {}, voices, command)
        async with AsyncExitStack() as closing:
            closing.push_async_callback(stack.cache.stop)
            closing.push_async_callback(stack.state.stop)
            closing.push_async_callback(voices.stop)
            voices.start()
            await asyncio.gather(stack.state.start(), stack.cache.start())
            await voices.wait_ready()
            if emulator is not None:
                stack.emulator = await closing.enter_async_context(
                    EmulatorProcess("--key", EMULATOR_KEY, *emulator)
                )
            closing.push_async_callback(stack.stop_gateway)
            await stack.start_gateway()
            yield stack


def _bare_environment() -> dict[str, str]:
    """The environment without any setting of ours."""
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}
