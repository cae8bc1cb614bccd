"""A request that is late is answered, but never in the middle of a reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from gateway.protocol import edge_protocol

LATE_S = 0.15
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"


async def begins_at_once(scope: Any, receive: Any, send: Any) -> None:
    """Begins its reply before it reads, and goes on with it for longer than a request may take."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await asyncio.sleep(LATE_S * 2)
    await send({"type": "http.response.body", "body": b"two", "more_body": False})


async def reads_first(scope: Any, receive: Any, send: Any) -> None:
    """Replies as if it had not heard that the client is gone."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"late"})


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    kind = edge_protocol(5.0, LATE_S)
    config = uvicorn.Config(app, port=0, http=kind, ws="none", lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    server.servers = []
    listening = await loop.create_server(
        lambda: kind(config, server.server_state, {}), "127.0.0.1", 0
    )
    async with listening:
        yield listening.sockets[0].getsockname()[1]
        if server.server_state.tasks:
            await asyncio.wait(server.server_state.tasks, timeout=2)


@pytest.mark.parametrize(
    ("app", "sent", "statuses"),
    [
        (reads_first, HEAD + b"half", [408]),
        (begins_at_once, HEAD + b"half", [200]),
        (begins_at_once, HEAD + b"the whole" + HEAD + b"half", [200]),
    ],
)
async def test_nothing_is_written_into_a_reply_that_has_begun(
    app: Any, sent: bytes, statuses: list[int]
) -> None:
    async with served(app) as port, asyncio.timeout(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        got = await reader.read()
        writer.close()
    found = [int(reply[:3]) for reply in got.split(b"HTTP/1.1 ")[1:]]
    assert found == statuses
