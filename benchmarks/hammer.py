"""A small HTTP/1.1 load generator: raw sockets, so that the server is the bottleneck.

It understands replies with a Content-Length and nothing else; one that is not 200 ends the run.
"""

from __future__ import annotations

import asyncio
import time

import msgspec


class Slice(msgspec.Struct, frozen=True):
    """One run at one server."""

    replies: int
    seconds: float
    body_bytes: int
    """Of one reply."""

    @property
    def per_s(self) -> float:
        """Replies a second."""
        return self.replies / self.seconds


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, done: asyncio.Future[None]) -> None:
        self._request = request
        self._done = done
        self._transport: asyncio.Transport | None = None
        self._head = bytearray()
        self._left_bytes = 0
        self.replies = 0
        self.body_bytes = 0
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._left_bytes:
            self._left_bytes -= len(data)
            if self._left_bytes <= 0:
                self._next()
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._head[:end]).lower()
        status = head.split(b" ", 2)[1]
        if status != b"200":
            self._fail(RuntimeError(f"status {status.decode()}"))
            return
        at = head.index(b"\r\ncontent-length:") + 17
        self.body_bytes = int(head[at : head.find(b"\r\n", at) if b"\r\n" in head[at:] else None])
        self._left_bytes = self.body_bytes - (len(self._head) - end - 4)
        self._head.clear()
        if self._left_bytes <= 0:
            self._next()

    def _next(self) -> None:
        self._left_bytes = 0
        self.replies += 1
        assert self._transport is not None
        if self.stopped:
            self._transport.close()
        else:
            self._transport.write(self._request)

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.stopped:
            if not self._done.done():
                self._done.set_result(None)
        else:
            self._fail(error or RuntimeError("the server closed the connection"))


def request_bytes(host: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def hammer(port: int, request: bytes, *, connections: int, seconds: float) -> Slice:
    """Keep `connections` busy with the same request for about `seconds`.

    Raises:
        RuntimeError: a reply was not 200, or a connection broke.
    """
    loop = asyncio.get_running_loop()
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    made: list[_Connection] = []
    began = time.perf_counter()
    for end in ends:
        connection = _Connection(request, end)
        await loop.create_connection(lambda c=connection: c, "127.0.0.1", port)  # type: ignore[misc]
        made.append(connection)

    def end_all() -> None:
        for connection in made:
            connection.stopped = True

    stop = loop.call_later(seconds, end_all)
    try:
        async with asyncio.timeout(seconds + 20):
            await asyncio.gather(*ends)
    finally:
        stop.cancel()
        end_all()
        for connection in made:
            if connection._transport is not None:
                connection._transport.abort()
    lasted = time.perf_counter() - began
    return Slice(sum(c.replies for c in made), lasted, made[0].body_bytes)
