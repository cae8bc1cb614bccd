"""One gateway process: uvicorn on a socket that is open already, and how it ends.

Asked to end (SIGTERM, SIGHUP, Ctrl-C), it says that it is not ready and closes each connection with
its next reply. Where the listening socket is its own it takes new ones for `drain_notice_s` longer,
so that a balancer turns away first; where it was handed over, its holder sees to that and the
process stops accepting at once. Then running replies end, within `drain_s`. SIGUSR1 only says not
ready.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson
import uvicorn

from core.errors import ConfigurationError
from core.heap import settle
from core.log import configure_logging
from core.settings import Settings
from gateway.protocol import edge_protocol
from gateway.pulse import Beats
from gateway.websocket import edge_websocket

_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 30
"""Idle time after which a client's connection is closed."""
_LAST_REQUEST_S: Final = 0.5
"""How long a connection accepted just before the end may take to send its request."""
_POLL_S: Final = 0.02


@contextmanager
def open_listener(host: str, port: int) -> Iterator[socket.socket]:
    """A listening TCP socket; port 0 lets the system choose. Closed on leaving.

    Raises:
        ConfigurationError: the address is in use, not of this computer, or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigurationError(f"SEIKETSU_HOST: no such address as {host!r}.") from error
    with socket.socket(family, kind, protocol) as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise ConfigurationError(
                f"Port {port} on {host} cannot be opened ({error.strerror}): end the program that "
                "uses it, or set SEIKETSU_PORT or SEIKETSU_HOST."
            ) from error
        yield listener


def uvicorn_config(app: Callable[..., Any], settings: Settings) -> uvicorn.Config:
    """How an application of ours is served; logging is left as the process has it.

    Clients that stop reading or writing are cut off, see `edge_protocol`.
    """
    gateway = settings.gateway
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=edge_protocol(gateway.send_stall_s, gateway.request_timeout_s),
        ws=edge_websocket(gateway.send_stall_s),
        ws_max_size=gateway.max_frame_bytes,
        ws_per_message_deflate=False,
        access_log=False,
        server_header=False,
        # A forwarded address or scheme is believed from nobody.
        proxy_headers=False,
        log_config=None,
        lifespan="on",
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(gateway.drain_s)),
    )


class DrainingServer(uvicorn.Server):
    """Ends as the head of this file says; `serve()` returns normally then."""

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        draining: asyncio.Event,
        *,
        handed_over: bool,
        ready_fd: int | None = None,
    ) -> None:
        """On `ready_fd` a byte is written as soon as requests are taken, and then each second."""
        super().__init__(config)
        self._notice_s = settings.gateway.drain_notice_s
        self._drain_s = settings.gateway.drain_s
        self._draining = draining
        self._handed_over = handed_over
        self._beats = None if ready_fd is None else Beats(ready_fd)
        self._hurry = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals over; unlike uvicorn's own way, none is raised again afterwards."""
        loop = asyncio.get_running_loop()
        actions: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self._ask,
            signal.SIGINT: self._ask,
            signal.SIGUSR1: self.announce,
        }
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # it is under `nohup`
            actions[signal.SIGHUP] = self._ask
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
        try:
            yield
        finally:
            for number in actions:
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load everything, then take requests."""
        await super().startup(sockets)
        settle()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second from the start on, until the server is to end."""
        if self._beats is not None:
            self._beats.beat()
        return await super().on_tick(counter)

    def announce(self) -> None:
        """Say not ready from now on, and close each connection with its next reply."""
        if self._draining.is_set():
            return
        self._draining.set()
        close = [(b"connection", b"close")]
        self.config.encoded_headers += close
        self.server_state.default_headers = [*self.server_state.default_headers, *close]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then end what is still there."""
        if self._beats is not None:
            self._beats.close()
        self.announce()
        if not self._handed_over:
            await self._wait(self._notice_s, lambda: False)
        for server in self.servers:
            server.close()
        connections = self.server_state.connections
        linger_s = self._notice_s if self._handed_over else _LAST_REQUEST_S
        await self._wait(linger_s, lambda: not connections)
        began_s = time.monotonic()
        await self._wait(self._drain_s, lambda: not self._conversations())
        left_s = self._drain_s - (time.monotonic() - began_s)
        # uvicorn closes conversations at once; replies that run are waited for.
        self.config.timeout_graceful_shutdown = max(_LAST_REQUEST_S, left_s)  # type: ignore[assignment]
        await super().shutdown(sockets)

    def _conversations(self) -> list[Any]:
        """Open WebSocket connections."""
        kind = self.config.ws_protocol_class
        if kind is None:
            return []
        return [c for c in self.server_state.connections if isinstance(c, kind)]

    def _ask(self) -> None:
        if self.should_exit:  # asked twice: now
            self._hurry.set()
            self.force_exit = True
        self.should_exit = True

    async def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        """Wait until `done()`, the time is over, or somebody is in a hurry."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and not done() and not self._hurry.is_set():
            await asyncio.sleep(_POLL_S)


def serve(
    settings: Settings,
    listener: socket.socket,
    *,
    handed_over: bool = False,
    ready_fd: int | None = None,
) -> None:
    """Serve the gateway on `listener` until SIGINT or SIGTERM, then drain.

    `handed_over`: whoever started this process holds the socket, too.

    Raises:
        ConfigurationError: the settings cannot work.
        SystemExit: the application could not start; the reason is in the log.
    """
    # Imported here: whoever needs only a listener or a configuration loads no application.
    from gateway.app import create_app

    configure_logging(settings.log_level, orjson.dumps)
    draining = asyncio.Event()
    config = uvicorn_config(create_app(settings, draining=draining), settings)
    DrainingServer(config, settings, draining, handed_over=handed_over, ready_fd=ready_fd).run(
        sockets=[listener]
    )
