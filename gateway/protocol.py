"""uvicorn's HTTP protocol with bounds on clients that stop reading or writing.

uvicorn itself waits without end for a client that does not read its reply or does not finish its
request; a few of them would hold every place.
"""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.errors import InvalidRequest, RequestError
from gateway.errors import RequestLate, error_reply, new_request_id

MAX_HEAD_BYTES: Final = 32 * 1024
"""Largest head of a request: names and values of all its fields together."""
_READ_BYTES: Final = 256 * 1024
"""What one read may bring at once, a body behind the head included."""
_HEAD_TOO_LARGE: Final = f"The head of the request is larger than {MAX_HEAD_BYTES} bytes."


def edge_protocol(send_stall_s: float, request_timeout_s: float) -> type[HttpToolsProtocol]:
    """A class for `uvicorn.Config(http=...)`.

    A connection is reset when what waits to be sent has stayed over the transport's limit (64 KB)
    for `send_stall_s`, or (Linux) when the client's system has taken nothing for that long; and it
    is closed when a request is not there as a whole within `request_timeout_s`, with an answer
    where it has begun and its reply has not.
    """

    class EdgeProtocol(HttpToolsProtocol):
        _stall: asyncio.TimerHandle | None = None
        _arrival: asyncio.TimerHandle | None = None
        _open = True
        _begun = False
        _upgraded = False
        _head = True
        _head_bytes = 0
        _field_bytes = 0

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
            if self._head:
                # Counted before it is parsed: a field that never ends reaches no callback.
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES + _READ_BYTES:
                    self.send_400_response(_HEAD_TOO_LARGE)
                    return
            super().data_received(data)
            self._rest_after_noise()
            if not self._open:
                self._drop_arrival()
            elif self._arrival is None:
                self._watch_request()

        def on_message_begin(self) -> None:
            self._open = self._head = self._begun = True
            self._head_bytes = self._field_bytes = 0
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            self._field_bytes += len(name) + len(value)
            if self._field_bytes > MAX_HEAD_BYTES:
                raise ValueError(_HEAD_TOO_LARGE)
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._head = False
            super().on_headers_complete()

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP gets the one error body too, and the connection ends."""
            if self.transport.is_closing():
                return
            large = self._head and self._field_bytes + self._head_bytes > MAX_HEAD_BYTES
            said = _HEAD_TOO_LARGE if large else "This is not a valid HTTP request."
            self._end_with(InvalidRequest(said))

        def _end_with(self, error: RequestError) -> None:
            status, headers, body = error_reply(error, new_request_id())
            lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
            lines += [b"connection: close", *(name + b": " + value for name, value in headers)]
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            self.transport.close()

        def _rest_after_noise(self) -> None:
            """Line ends between requests begin none, yet uvicorn stops its idle timer for them."""
            cycle = self.cycle
            resting = not self._open and (cycle is None or cycle.response_complete)
            idle = self.timeout_keep_alive_task is None and not self.transport.is_closing()
            if resting and idle and not self._upgraded:
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

        def on_message_complete(self) -> None:
            self._open = self._begun = False
            super().on_message_complete()

        def handle_websocket_upgrade(self) -> None:
            self._open = False
            self._upgraded = True
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
                self._end_late()
            else:
                # The head belongs to the next request: the reply to this one is still on its way.
                self._watch_request()

        def _end_late(self) -> None:
            cycle = self.cycle
            unanswered = self._head or (
                cycle is not None and not cycle.response_started and not self.pipeline
            )
            if not self._begun or not unanswered or self.transport.is_closing():
                self.transport.close()
                return
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True  # its own reply would follow this one
            self._end_with(RequestLate())

        def _drop_arrival(self) -> None:
            if self._arrival is not None:
                self._arrival.cancel()
                self._arrival = None

        def _drop_stall(self) -> None:
            if self._stall is not None:
                self._stall.cancel()
                self._stall = None

    return EdgeProtocol
