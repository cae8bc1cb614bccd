"""`seiketsu up`: every process of an installation on this computer, kept running by one.

Redis servers (unless their URLs are set), the voice server, the gateway and, once it has greeted, a
worker for jobs in the background run as children in sessions of their own and never outlive this
process. One that dies is started again; one that cannot start ends everything. They end in the
reverse order.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from core.children import Child
from core.embedded import EmbeddedRedis, with_default_places
from core.errors import ConfigurationError, ProviderUnavailable
from core.providers.local import LocalProvider
from core.settings import VARIABLES, Settings
from core.sockets import private_directory
from gateway.greeting import GreetingFailed, example, speak_greeting, wait_until_ready
from gateway.server import open_listener

Say = Callable[[str], None]

_BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Waits before a child is started again; as many deaths in a row without one steady run end all."""
_STEADY_S: Final = 10.0
"""A child that lived this long has started well."""
GATEWAY_CLOSE_S: Final = 3.0
"""What a gateway may take to close what it has open, after its drain."""
_SLOW_START_S: Final = 120.0
"""Joining and splitting the model of Mandarin for the first time takes 10 to 30 s."""
_SLOW_POLL_S: Final = 0.2
_VOICES_GRACE_S: Final = 5.0
_WORKER_GRACE_S: Final = 15.0
"""It gives back what it was doing and closes its connections."""


class Part(Protocol):
    """One thing that is kept running: `EmbeddedRedis` or a `Program`."""

    @property
    def name(self) -> str: ...
    @property
    def child(self) -> Child | None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def kill(self) -> None: ...


class Program:
    """A command as a part."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        grace_s: float,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.child: Child | None = None
        self._command, self._env, self._pass_fds = command, env, pass_fds
        self._grace_s = grace_s

    async def start(self) -> None:
        """Start the command; what an earlier one has left behind is killed first."""
        self.kill()
        self.child = Child(self._command, env=self._env, pass_fds=self._pass_fds)

    async def stop(self) -> None:
        """End it in order, or by force after its grace."""
        if self.child is not None:
            await self.child.end(self._grace_s)

    def kill(self) -> None:
        """End it at once."""
        if self.child is not None:
            self.child.kill()


class Supervisor:
    """Starts, watches and ends the parts."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        say: Say,
        gateway_command: Sequence[str] = (sys.executable, "-m", "gateway.cli", "serve"),
        voices_command: Sequence[str] = (sys.executable, "-m", "core.voices"),
        worker_command: Sequence[str] = (sys.executable, "-m", "workers.main"),
        ready_timeout_s: float = 60.0,
    ) -> None:
        """The gateway's command gets `--fd N` added, the voice server's all of its options."""
        self._asked = settings
        self._settings = with_default_places(settings)
        self._environ = environ
        self._say = say
        self._gateway_command, self._voices_command = gateway_command, voices_command
        self._worker_command = worker_command
        self._ready_timeout_s = ready_timeout_s
        self._ready = False

    async def run(self) -> int:
        """Run until SIGINT, SIGTERM or SIGHUP. The exit code.

        Raises:
            ConfigurationError: something could not start or did not stay; everything has ended.
        """
        with (
            open_listener(self._settings.gateway.host, self._settings.gateway.port) as listener,
            _signals() as (first, second),
        ):
            backing, gateway, worker = self._backing(), self._gateway(listener), self._worker()
            try:
                await _until(first, self._serve(backing, gateway, worker, _base_url(listener)))
            finally:
                # New callers are refused from here on instead of waiting for nobody.
                listener.close()
                await _until(second, _stop_all([gateway, worker, *reversed(backing)]))
                for part in (gateway, worker, *backing):
                    part.kill()
        self._say("Everything has ended.")
        return 0

    def _backing(self) -> list[Part]:
        """What the gateway needs, in the order of starting."""
        asked, data_dir = self._asked.redis, self._settings.data_dir
        parts: list[Part] = []
        if not asked.state_url:
            parts.append(EmbeddedRedis("state", data_dir))
        if not asked.cache_url:
            limit = asked.embedded_cache_bytes
            parts.append(EmbeddedRedis("cache", data_dir, max_memory_bytes=limit))
        voices = self._settings.voices
        arguments = (
            *("--socket", voices.socket, "--processes", str(voices.processes)),
            *("--slow-processes", str(voices.slow_processes)),
            *("--queue-limit", str(voices.queue_limit)),
            *("--data-dir", str(data_dir.absolute()), "--kokoro-model", voices.kokoro_model),
        )
        # The voice server is told what it needs, and so sees no setting and no secret.
        env = {name: value for name, value in self._environ.items() if name not in VARIABLES}
        command = (*self._voices_command, *arguments)
        parts.append(Program("The voice server", command, env=env, grace_s=_VOICES_GRACE_S))
        return parts

    def _gateway(self, listener: socket.socket) -> Part:
        env = {**self._places(), "SEIKETSU_PORT": str(listener.getsockname()[1])}
        return Program(
            "The gateway",
            (*self._gateway_command, "--fd", str(listener.fileno())),
            env=env,
            pass_fds=(listener.fileno(),),
            grace_s=gateway_grace_s(self._settings),
        )

    def _worker(self) -> Part:
        return Program(
            "The worker", self._worker_command, env=self._places(), grace_s=_WORKER_GRACE_S
        )

    def _places(self) -> dict[str, str]:
        """The environment, with where the backing listens."""
        settings = self._settings
        return {
            **self._environ,
            "REDIS_URL": settings.redis.state_url,
            "CACHE_REDIS_URL": settings.redis.cache_url,
            "SEIKETSU_VOICE_SOCKET": settings.voices.socket,
        }

    async def _serve(self, backing: Sequence[Part], gateway: Part, worker: Part, url: str) -> None:
        """Start everything, greet, and keep it running; never returns."""
        started_s = time.monotonic()
        try:
            private_directory(self._settings.data_dir.absolute())
            async with asyncio.TaskGroup() as starting:
                for part in backing:
                    starting.create_task(part.start())
            await gateway.start()
            async with asyncio.TaskGroup() as watching:
                for part in (*backing, gateway):
                    watching.create_task(self._keep(part))
                await wait_until_ready(url, self._ready_timeout_s)
                self._ready = True
                await self._greet(url, started_s)
                await worker.start()
                watching.create_task(self._keep(worker))
                self._invite(url)
                await self._announce_mandarin(started_s)
        except ExceptionGroup as group:
            expected, other = group.split(ConfigurationError)
            if expected is None or other is not None:
                raise
            raise _first_error(expected) from None

    async def _keep(self, part: Part) -> None:
        deaths = 0
        while True:
            started_s = time.monotonic()
            if part.child is None:
                return
            code = await part.child.wait()
            if not self._ready:
                raise ConfigurationError(f"{part.name} could not start (it ended with {code}).")
            deaths = 0 if time.monotonic() - started_s > _STEADY_S else deaths + 1
            if deaths > len(_BACKOFF_S):
                raise ConfigurationError(f"{part.name} ended {deaths} times in a row ({code}).")
            self._say(f"{part.name} ended with {code}; starting it again.")
            await asyncio.sleep(_BACKOFF_S[max(deaths - 1, 0)])
            await part.start()

    async def _greet(self, url: str, started_s: float) -> None:
        keys = self._settings.gateway.api_keys
        self._say(f"Seiketsu Voice is ready at {url} ({time.monotonic() - started_s:.1f} s).")
        try:
            heard = await speak_greeting(url, _key_of(keys[0]) if keys else None)
        except GreetingFailed as error:
            self._say(f"The greeting could not be spoken: {error}")
        else:
            self._say(
                f"It has greeted you: first audio after {heard.first_audio_ms:.0f} ms "
                f"({heard.speech_s:.1f} s of speech)."
            )

    def _invite(self, url: str) -> None:
        self._say(f"Try it:  {example(url, bool(self._settings.gateway.api_keys))}")
        self._say(f"Docs:    {url}/docs")
        self._say("Ctrl-C ends it.")

    async def _announce_mandarin(self, started_s: float) -> None:
        """Its model takes some seconds to load, longer on a new installation: say when it is there,
        since until then Mandarin is refused."""
        voices = LocalProvider(Path(self._settings.voices.socket))
        try:
            while time.monotonic() - started_s < _SLOW_START_S:
                slow = (await voices.status()).slow
                if not slow.processes:
                    return
                if slow.ready:
                    took_s = time.monotonic() - started_s
                    self._say(f"Mandarin is ready, too ({took_s:.1f} s).")
                    return
                await asyncio.sleep(_SLOW_POLL_S)
            self._say("Mandarin is not ready yet; the voice server's log says why.")
        except ProviderUnavailable:  # it is being started again, which is said elsewhere
            return
        finally:
            await voices.aclose()


async def _stop_all(parts: Sequence[Part]) -> None:
    for part in parts:
        await part.stop()


async def _until(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`, raising what it raises; when `event` is set first, cancel it and return.

    Ctrl-C may reach a child that is just being made, too: what fails once `event` is set fails
    because of it.
    """
    doing, waiting = asyncio.create_task(work), asyncio.create_task(event.wait())
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not event.is_set():
            doing.result()
    finally:
        for task in (doing, waiting):
            task.cancel()
        await asyncio.gather(doing, waiting, return_exceptions=True)


@contextlib.contextmanager
def _signals() -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Two events: the first request to end, and the second."""
    first, second = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        (second if first.is_set() else first).set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # it is ignored under `nohup`
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, ask)
    try:
        yield first, second
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def gateway_grace_s(settings: Settings) -> float:
    """How long a gateway that was asked to end may take, in seconds."""
    gateway = settings.gateway
    return gateway.drain_notice_s + gateway.drain_s + GATEWAY_CLOSE_S


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - names, not binds
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _key_of(entry: str) -> str:
    """The key of `KEY` or `TENANT:KEY`."""
    tenant, colon, key = entry.partition(":")
    return key if colon else tenant


def _first_error(group: ExceptionGroup[ConfigurationError]) -> ConfigurationError:
    first = group.exceptions[0]
    return _first_error(first) if isinstance(first, ExceptionGroup) else first
