"""What an operator may set about sessions, as their clients meet it."""

from __future__ import annotations

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.gateway.conftest import Start
from tests.gateway.fakes import FakeSpeech
from tests.gateway.sessions import talk


async def test_the_queue_of_a_session_is_the_operators(start: Start, speech: FakeSpeech) -> None:
    speech.first_after_s = 0.5
    async with talk(start(session_queue=2)) as session:
        assert session.hello["capabilities"]["max_waiting_commands"] == 2
        for number in range(4):
            await session.say("synthesize", text="Hello.", command_id=str(number))
        refused = await session.hear()
        assert (refused["code"], refused["command_id"]) == ("session_busy", "3")


async def test_the_largest_frame_is_the_operators(start: Start) -> None:
    async with talk(start(max_frame_bytes=2048)) as session:
        assert session.hello["capabilities"]["max_frame_bytes"] == 2048
        assert (await session.ask("ping", command_id="a" * 60))["type"] == "pong"
        with pytest.raises(ConnectionClosedError) as closed:
            await session.ask("synthesize", text="x" * 2048)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
