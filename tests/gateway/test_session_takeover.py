"""What may be changed in a session that is taken over, and what it may be told while it ends."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.routes.session import GOING_AWAY, _read
from gateway.session_wire import Wire
from tests.conversation.speaker import FakeSpeaker, Talking
from tests.gateway.conftest import Start
from tests.gateway.fakes import FakeSpeech
from tests.gateway.sessions import talk
from tests.gateway.test_session_handshake import ask_token, key, refusal
from tests.gateway.test_session_resume import hear, lost, resume

KEYS = ("acme:first-key",)


async def token(gateway: object, **body: object) -> str:
    """Of a session `s1`."""
    reply = await ask_token(gateway, "first-key", session_id="s1", **body)  # type: ignore[arg-type]
    found: str = reply.json()["token"]
    return found


async def test_who_regains_a_session_with_a_token_may_not_choose_more_than_it_allows(
    start: Start,
) -> None:
    gateway = start(api_keys=KEYS)
    hello = await lost(gateway, **key("first-key"), query="?language=es")
    query = f"{resume(hello, 2)}&token={await token(gateway, language='zh')}"
    assert (await refusal(gateway, "s1", query))[:2] == (401, "token_invalid")
    query = f"{resume(hello, 2)}&token={await token(gateway, language='es')}"
    async with talk(gateway, query=query) as session:
        assert session.hello["resumed"] is True
        for change in ({"language": "zh"}, {"voice_agent_id": "agent_456"}):
            await session.say("configure", **change)
            assert (await hear(session, "error"))["code"] == "token_invalid"


async def test_both_tokens_as_subprotocols_stand_in_no_url(start: Start) -> None:
    gateway = start(api_keys=KEYS)
    hello = await lost(gateway, **key("first-key"))
    offered = [f"seiketsu.token.{await token(gateway)}", f"seiketsu.resume.{hello['resume_token']}"]
    async with talk(gateway, subprotocols=["seiketsu", *offered]) as session:
        assert session.socket.subprotocol == "seiketsu"
        assert session.hello["resumed"] is True


async def test_a_take_over_needs_no_place_beside_the_one_it_replaces(start: Start) -> None:
    gateway = start(api_keys=KEYS, max_sessions=1, max_sessions_per_key=1)
    first = key("first-key")
    async with talk(gateway, **first) as old:
        await old.say("text", text="One two", utterance_id="a", command_id="c1")
        await hear(old, "accepted")
        assert (await refusal(gateway, "s2", **first))[:2] == (503, "sessions_full")
        async with talk(gateway, query=resume(old.hello, 2), **first) as new:
            assert new.hello["resumed"] is True
            assert (await hear(old, "error"))["code"] == "taken_over"
            assert (await refusal(gateway, "s2", **first))[0] == 503


async def test_the_last_event_has_at_most_ten_digits(start: Start) -> None:
    gateway = start()
    hello = await lost(gateway)
    query = resume(hello).replace("last_sequence=0", "last_sequence=" + "0" * 12 + "9" * 9)
    assert (await refusal(gateway, "s1", query))[:2] == (400, "invalid_request")


async def test_a_gateway_that_ends_hears_an_interruption(start: Start, speech: FakeSpeech) -> None:
    speech.between_s = 0.5
    gateway = start()
    async with talk(gateway) as session:
        await session.say("synthesize", text="One two. " * 20, stream=True, utterance_id="a")
        await hear(session, "audio_chunk")
        await asyncio.to_thread(gateway.drain)
        await session.say("ping")
        await hear(session, "pong")
        await session.say("text", text="too late", utterance_id="b", command_id="t")
        await session.say("interrupt")
        assert (await hear(session, "interrupted"))["utterance_id"] == "a"
        async with asyncio.timeout(1):
            assert (await session.hear())["type"] == "accepted"
            assert (await session.hear())["type"] == "going_away"


async def test_a_command_that_comes_just_as_a_gateway_is_to_end_is_not_lost() -> None:
    command = {"type": "websocket.receive", "text": '{"type":"interrupt"}'}
    coming = [command]

    async def receive() -> Any:
        wire.leave()
        return coming.pop()

    async def send(event: Any) -> None:
        raise AssertionError(event)

    wire = Wire(receive, send)
    async with Talking(FakeSpeaker()) as talk:
        assert await _read(talk.session, talk.outbox, wire, 1.0) == GOING_AWAY
    wire.listen_on()
    assert await wire.receive(1.0) == command
