"""What the connection of a session knows of its client's end."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.session_wire import Wire


@pytest.mark.parametrize(("code", "orderly"), [(1006, False), (1000, True)])
async def test_how_a_client_left_is_what_came_first(code: int, orderly: bool) -> None:
    """The server tells of each end twice, the second time as of a client without a code."""
    messages = [{"type": "websocket.disconnect", "code": each} for each in (code, 1005)]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(_: object) -> None: ...

    wire = Wire(receive, send)
    # A reader that had been woken does not look at what it got.
    await wire.receive(1.0)
    await wire.listen_for_goodbye()
    assert wire.gone
    assert wire.orderly is orderly
