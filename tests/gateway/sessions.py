"""A client of the session route, on the `websockets` library."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.gateway.server import Gateway


class Talk:
    """One session; `hello` is its first event."""

    def __init__(self, socket: ClientConnection, hello: dict[str, Any]) -> None:
        self.socket = socket
        self.hello = hello

    async def say(self, type: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def hear(self) -> dict[str, Any]:
        frame = await self.socket.recv()
        assert isinstance(frame, str), "every event is a text frame"
        event: dict[str, Any] = json.loads(frame)
        return event

    async def ask(self, type: str, **fields: object) -> dict[str, Any]:
        await self.say(type, **fields)
        return await self.hear()


def url_of(gateway: Gateway, session_id: str = "s1", query: str = "") -> str:
    base = gateway.voice.replace("http://", "ws://")
    return f"{base}/streaming/stream/{session_id}{query}"


@asynccontextmanager
async def talk(
    gateway: Gateway, session_id: str = "s1", query: str = "", **options: Any
) -> AsyncIterator[Talk]:
    """Open a session and read its first event."""
    options = {"compression": None, "proxy": None, **options}
    async with connect(url_of(gateway, session_id, query), **options) as socket:
        talking = Talk(socket, {})
        talking.hello = await talking.hear()
        yield talking
