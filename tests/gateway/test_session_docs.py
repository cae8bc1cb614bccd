"""What is said about the session is what it does."""

from __future__ import annotations

import re
from typing import Any

import httpx
import jsonschema_rs

from core.conversation.commands import COMMANDS
from core.conversation.events import EVENTS
from gateway.docs.session import CLOSE_CODES
from gateway.routes import session as route
from tests.gateway.fakes import FakeSpeech
from tests.gateway.server import Gateway
from tests.gateway.sessions import talk


def test_the_page_has_every_message_with_all_its_fields(gateway: Gateway) -> None:
    reply = httpx.get(gateway.base + "/docs/session")
    assert reply.headers["content-type"].startswith("text/markdown")
    rows = {
        found[1]: found[0]
        for line in reply.text.splitlines()
        if (found := re.match(r"\| `(\w+)` \|.*", line))
    }
    for kind in (*COMMANDS, *EVENTS):
        tag = str(kind.__struct_config__.tag)
        for field in set(kind.__struct_fields__) - {"sequence", "command_id", "given_id"}:
            assert f"`{field}`" in rows[tag], (tag, field)
    assert "(null)" in rows["synthesize"]
    assert "in the utterance's audio" in rows["audio_chunk"]


def test_every_code_that_the_route_closes_with_is_told(gateway: Gateway) -> None:
    closes = [
        value[0]
        for value in vars(route).values()
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], int)
    ]
    assert len(closes) >= 5
    assert set(closes) <= set(CLOSE_CODES)
    page = httpx.get(gateway.base + "/docs/session").text
    for code in CLOSE_CODES:
        assert f"| {code} |" in page


async def test_the_documented_events_are_the_real_ones(
    gateway: Gateway, speech: FakeSpeech
) -> None:
    async with httpx.AsyncClient(base_url=gateway.base) as client:
        document: dict[str, Any] = (await client.get("/docs/openapi.json")).json()
    names = {str(kind.__struct_config__.tag): kind.__name__ for kind in EVENTS}
    seen: set[str] = set()
    async with talk(gateway) as session:
        events = [session.hello]
        await session.say("synthesize", text="Hello.", stream=True, command_id="a")
        await session.say("synthesize", text="Hello.")
        await session.say("configure", language="en")
        await session.say("get_stats")
        speech.between_s = 0.05
        await session.say("text", text="More.")
        await session.say("end")
        while events[-1]["type"] != "session_stats":
            events.append(await session.hear())
        while sum(event["type"] == "audio_chunk" for event in events) < 4:
            events.append(await session.hear())
        await session.say("interrupt")
        await session.say("sing")
        await session.say("ping")
        while events[-1]["type"] != "pong":
            events.append(await session.hear())
    for event in events:
        schema = document["components"]["schemas"][names[event["type"]]]
        jsonschema_rs.validate({**schema, "components": document["components"]}, event)
        seen.add(event["type"])
    # The last three in `test_session_resume.py`.
    assert seen == set(names) - {"alignment", "speech_resumed", "going_away", "resumability"}
