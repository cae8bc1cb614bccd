"""One gateway process: uvicorn on a socket that is open already."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson
import uvicorn

from core.errors import ConfigurationError
from core.log import configure_logging
from core.settings import Settings
from gateway.protocol import REQUEST_TIMEOUT_S, edge_protocol

_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 30
"""Idle time after which a client's connection is closed."""
_DRAIN_S: Final = 8
"""How long running replies may go on after the request to end."""


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


def uvicorn_config(
    app: Callable[..., Any], settings: Settings, *, request_timeout_s: float = REQUEST_TIMEOUT_S
) -> uvicorn.Config:
    """How an application of ours is served; logging is left as the process has it.

    Clients that stop reading or writing are cut off, see `edge_protocol`.
    """
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=edge_protocol(settings.gateway.send_stall_s, request_timeout_s),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        server_header=False,
        # A forwarded address or scheme is believed from nobody.
        proxy_headers=False,
        log_config=None,
        lifespan="on",
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve the gateway on `listener` until SIGINT or SIGTERM, then let running replies end.

    Raises:
        ConfigurationError: the settings cannot work.
        SystemExit: the application could not start; the reason is in the log.
    """
    # Imported here: whoever needs only a listener or a configuration loads no application.
    from gateway.app import create_app

    configure_logging(settings.log_level, orjson.dumps)
    try:
        uvicorn.Server(uvicorn_config(create_app(settings), settings)).run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises the signal again after it has ended in order
        return
