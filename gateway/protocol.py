"""uvicorn's HTTP protocol with bounds on clients that stop reading or writing.

uvicorn itself waits without end for a client that does not read its reply or does not finish its
request; a few of them would hold every place.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_TIMEOUT_S: Final = 10.0
"""Longest time a whole request, head and body, may take to arrive."""


def edge_protocol(
    send_stall_s: float, request_timeout_s: float = REQUEST_TIMEOUT_S
) -> type[HttpToolsProtocol]:
    """A class for `uvicorn.Config(http=...)`.

    A connection is reset when what waits to be sent has stayed over the transport's limit (64 KB)
    for `send_stall_s`, or (Linux) when the client's system has taken nothing for that long; and it
    is closed when a request is not there as a whole within `request_timeout_s`.
    """

    class EdgeProtocol(HttpToolsProtocol):
        _stall: asyncio.TimerHandle | None = None
        _arrival: asyncio.TimerHandle | None = None
        _open = True

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            sock = transport.get_extra_info("socket")
            if hasattr(socket, "TCP_USER_TIMEOUT") and sock.family != socket.AF_UNIX:
                # Reaches small replies too, and connections that are closing with data unsent.
                sock.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(send_stall_s * 1000))
                )
            self._watch_request()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if not self._open:
                self._drop_arrival()
            elif self._arrival is None:
                self._watch_request()

        def on_message_begin(self) -> None:
            self._open = True
            super().on_message_begin()

        def on_message_complete(self) -> None:
            self._open = False
            super().on_message_complete()

        def handle_websocket_upgrade(self) -> None:
            self._open = False
            self._drop_arrival()
            super().handle_websocket_upgrade()

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._stall is None:
                self._stall = self.loop.call_later(send_stall_s, self.transport.abort)

        def resume_writing(self) -> None:
            self._drop_stall()
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._drop_stall()
            self._drop_arrival()
            super().connection_lost(exc)

        def _watch_request(self) -> None:
            self._arrival = self.loop.call_later(request_timeout_s, self._request_late)

        def _request_late(self) -> None:
            cycle = self.cycle
            if cycle is None or cycle.response_complete or cycle.more_body:
                self.transport.close()
            else:
                # The head belongs to the next request: the reply to this one is still on its way.
                self._watch_request()

        def _drop_arrival(self) -> None:
            if self._arrival is not None:
                self._arrival.cancel()
                self._arrival = None

        def _drop_stall(self) -> None:
            if self._stall is not None:
                self._stall.cancel()
                self._stall = None

    return EdgeProtocol
