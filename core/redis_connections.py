"""Connections to Redis whose commands can be cancelled, and cost less.

redis-py sends with `asyncio.wait_for`, which in Python 3.11 takes a cancellation that comes just as
a command was sent for the end of its wait, and goes on: whoever was to end does not, and the
connection is never given back. It also makes a task of every command, which takes 30 to 50 us, and
lets the loop go round once before each, to see whether something came unasked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_SMALL_BYTES: Final = 32 * 1024
"""So much is sent at once: asyncio lets nobody wait before 64 KiB are on their way, and nothing is
left of the command before, whose reply was read."""


class _Cancellable(AbstractConnection):
    """As redis-py 5.2 sends, with `asyncio.timeout`."""

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Send a command that is packed already; the connection is given up when that fails."""
        if not self.is_connected:
            await self.connect()  # type: ignore[no-untyped-call]
        elif check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        if isinstance(command, str):
            command = command.encode()
        if isinstance(command, bytes):
            command = [command]
        command = list(command)
        try:
            if sum(map(len, command)) <= _SMALL_BYTES:
                await self._send_packed_command(command)
                return
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command(command)
        except TimeoutError as error:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout writing to socket") from error
        except (OSError, RuntimeError) as error:
            # uvloop raises RuntimeError for a write on a connection that was just closed.
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"Error while writing to socket: {error}") from error
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    async def can_read_destructive(self) -> bool:
        """Whether the connection is of no use: the server has ended it, or something is left to be
        read. That of which the loop has not heard yet is found by the command that comes next."""
        reader: Any = self._reader
        parser: Any = self._parser
        if (
            reader is not None
            and reader.exception() is None
            and not reader.at_eof()
            and not reader._buffer
            and not parser._reader.has_data()
        ):
            return False
        return bool(await super().can_read_destructive())  # type: ignore[no-untyped-call]


class _Tcp(_Cancellable, Connection):
    pass


class _Tls(_Cancellable, SSLConnection):
    pass


class _Unix(_Cancellable, UnixDomainSocketConnection):
    pass


_OURS: Final[dict[type[AbstractConnection], type[AbstractConnection]]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}


def cancellable(pool: ConnectionPool) -> ConnectionPool:
    """The same pool, which has made no connection yet, with connections of ours."""
    pool.connection_class = _OURS[pool.connection_class]
    return pool
