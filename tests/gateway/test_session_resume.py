"""A session that was lost is regained by whoever holds its token, and by nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import jsonschema_rs
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from core.conversation.events import EVENTS, schemas
from core.embedded import EmbeddedRedis
from core.redis import Keys, open_redis
from gateway.docs.session import CLOSE_CODES
from tests.gateway.conftest import Start
from tests.gateway.fakes import FakeSpeech
from tests.gateway.server import Gateway
from tests.gateway.sessions import Talk, talk, url_of
from tests.gateway.test_session_handshake import key, refusal

KEY = Keys.session("default", "s1")
KEYS = ("acme:first-key", "acme:second-key")


@pytest.fixture
async def redis(redis_state: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = open_redis(redis_state.url, timeout_s=0.5, max_connections=4)
    yield client
    await client.aclose()


def resume(hello: dict[str, Any], last: int = 0) -> str:
    return f"?resume_token={hello['resume_token']}&last_sequence={last}"


async def hear(session: Talk, type: str) -> dict[str, Any]:
    """The next event of that type; every event on the way is as documented."""
    return (await hear_all(session, type))[type]


async def hear_all(session: Talk, *types: str) -> dict[str, dict[str, Any]]:
    """The first event of each type, in whatever order they come."""
    heard: dict[str, dict[str, Any]] = {}
    async with asyncio.timeout(5):
        while not heard.keys() >= set(types):
            event = await session.hear()
            name = NAMES[event["type"]]
            jsonschema_rs.validate({**SCHEMAS[name], "components": {"schemas": SCHEMAS}}, event)
            heard.setdefault(event["type"], event)
    return heard


NAMES = {str(kind.__struct_config__.tag): kind.__name__ for kind in EVENTS}
SCHEMAS = schemas()


async def lost(gateway: Gateway, *, text: str = "One two.", **options: Any) -> dict[str, Any]:
    """Have a text written and lose the connection without a word; the session's first event."""
    async with talk(gateway, **options) as session:
        await session.say("text", text=text, utterance_id="a", command_id="c1")
        await hear(session, "accepted")
        session.socket.transport.abort()
        return session.hello


async def test_a_lost_session_goes_on_with_what_was_written(
    gateway: Gateway, speech: FakeSpeech
) -> None:
    hello = await lost(gateway)
    assert (hello["resumed"], hello["resumable"], hello["resume_within_s"]) == (False, True, 30)
    async with talk(gateway, query=resume(hello, 2)) as session:
        assert session.hello["resumed"] is True
        assert session.hello["sequence"] == 3
        assert session.hello["resume_token"] != hello["resume_token"]
        assert session.hello["texts"] == [{"utterance_id": "a", "characters": 8, "complete": False}]
        await session.say("text", text="One two.", utterance_id="a", command_id="c1")
        assert (await hear(session, "accepted"))["command_id"] == "c1"
        await session.say("text", text=" Three.", command_id="c2")
        await session.say("end")
        finished = await hear(session, "speech_finished")
        assert finished["metadata"]["text"] == "One two. Three."
        assert speech.requests[-1].text == "One two. Three."


async def test_speech_that_had_begun_is_said_to_be_resumed(
    gateway: Gateway, speech: FakeSpeech
) -> None:
    speech.between_s = 0.2
    async with talk(gateway) as session:
        await session.say("synthesize", text="One two.", stream=True, utterance_id="a")
        await session.say("synthesize", text="Four.", stream=True, utterance_id="b")
        chunk = await hear(session, "audio_chunk")
        session.socket.transport.abort()
    speech.between_s = 0.0
    async with talk(gateway, query=resume(session.hello, chunk["sequence"])) as again:
        resumed = await hear(again, "speech_resumed")
        assert (resumed["utterance_id"], resumed["from_char"], resumed["offset_ms"]) == ("a", 0, 0)
        assert (await hear(again, "audio_chunk"))["chunk"] == 1
        assert (await hear(again, "speech_finished"))["utterance_id"] == "a"
        assert (await hear(again, "speech_started"))["utterance_id"] == "b"
        assert (await hear(again, "speech_finished"))["utterance_id"] == "b"


async def test_without_the_last_token_nobody_gets_in_and_nothing_changes(
    gateway: Gateway, redis: Redis
) -> None:
    hello = await lost(gateway)
    before = await redis.hgetall(KEY)  # type: ignore[misc]
    wrong = {"resume_token": "x" * 43}
    for query in ("", resume(wrong), resume({"resume_token": "x"}), "?resume_token="):
        status, code, headers = await refusal(gateway, "s1", query)
        assert (status, code) == (409, "session_in_use")
        assert 1 <= int(headers["retry-after"]) <= 40
    assert await redis.hgetall(KEY) == before  # type: ignore[misc]
    async with talk(gateway, query=resume(hello)) as session:
        assert session.hello["resumed"] is True
        await session.ask("ping")
        # Used up, also while the session lives.
        assert (await refusal(gateway, "s1", resume(hello)))[:2] == (409, "session_in_use")
        assert (await refusal(gateway))[:2] == (409, "session_in_use")
        assert (await refusal(gateway, "s1", resume(hello, -1)))[:2] == (400, "invalid_request")


async def test_the_token_is_of_no_use_with_another_key(start: Start) -> None:
    gateway = start(api_keys=KEYS)
    hello = await lost(gateway, **key("first-key"))
    query = resume(hello)
    assert (await refusal(gateway, "s1", query))[:2] == (401, "key_required")
    other = await refusal(gateway, "s1", query, **key("second-key"))
    assert other[:2] == (409, "session_in_use")
    async with talk(gateway, query=query, **key("first-key")) as session:
        assert session.hello["resumed"] is True


async def test_a_second_connection_with_the_token_takes_over(gateway: Gateway) -> None:
    async with talk(gateway) as old:
        await old.say("text", text="One two", utterance_id="a", command_id="c1")
        await hear(old, "accepted")
        protocols = ["seiketsu", f"seiketsu.resume.{old.hello['resume_token']}"]
        async with talk(gateway, query="?last_sequence=2", subprotocols=protocols) as new:
            assert new.hello["resumed"] is True
            assert (await hear(old, "error"))["code"] == "taken_over"
            with pytest.raises(ConnectionClosed) as closed:
                await old.hear()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4009
            assert 4009 in CLOSE_CODES
            await new.say("end")
            finished = await hear(new, "speech_finished")
            assert finished["metadata"]["text"] == "One two"


async def test_where_nothing_is_left_a_new_session_is_told_so(
    gateway: Gateway, redis: Redis
) -> None:
    hello = await lost(gateway)
    assert await redis.delete(KEY)
    async with talk(gateway, query=resume(hello, 7)) as session:
        assert session.hello["resumed"] is False
        assert session.hello["sequence"] == 1
        event = await session.hear()
        assert (event["type"], event["code"]) == ("error", "session_expired")
        assert (await session.ask("ping"))["type"] == "pong"


async def test_a_session_that_streams_nothing_keeps_nothing(gateway: Gateway, redis: Redis) -> None:
    async with talk(gateway) as one, talk(gateway, "s2") as two:
        for session in (one, two):
            reply = await session.ask("synthesize", text="Hello.", command_id="c")
            assert reply["type"] == "audio_response"
        assert await redis.exists(KEY, Keys.session("default", "s2")) == 0
        one.socket.transport.abort()
        async with talk(gateway) as again:
            assert again.hello["resumed"] is False


@pytest.mark.parametrize("goodbye", [b"", b"\x88\x80\0\0\0\0", b"\x88\x82\0\0\0\0\x03\xe9"])
async def test_a_session_that_was_closed_leaves_nothing(
    gateway: Gateway, redis: Redis, goodbye: bytes
) -> None:
    """With 1000, without a code and with 1001."""
    for number in range(3):
        async with talk(gateway) as session:
            await session.say("text", text=f"Hello {number}.", command_id="c")
            await hear(session, "accepted")
            assert await redis.exists(KEY) == 1
            session.socket.transport.write(goodbye)
    async with asyncio.timeout(2):
        while await redis.exists(KEY):
            await asyncio.sleep(0.01)


async def test_a_gateway_that_ends_hands_its_sessions_over(start: Start, redis: Redis) -> None:
    first, second = start(), start()
    async with talk(first) as session:
        await session.say("text", text="One two", utterance_id="a", command_id="c1")
        await hear(session, "accepted")
        await asyncio.to_thread(first.drain)
        going = await hear(session, "going_away")
        assert 50 <= going["retry_after_ms"] < 1000
        with pytest.raises(ConnectionClosed) as closed:
            await session.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    assert (await refusal(first, "s1", resume(session.hello)))[:2] == (503, "busy")
    async with talk(second, query=resume(session.hello, going["sequence"])) as again:
        await again.say("text", text=" three.")
        await again.say("end")
        finished = await hear(again, "speech_finished")
        assert finished["metadata"]["text"] == "One two three."


async def test_without_the_database_a_session_speaks_and_says_that_it_cannot_be_regained(
    gateway: Gateway, redis_state: EmbeddedRedis
) -> None:
    async with talk(gateway) as session:
        await session.say("synthesize", text="One.", stream=True)
        await hear(session, "speech_finished")
        await redis_state.stop()
        await session.say("synthesize", text="Two.", stream=True)
        heard = await hear_all(session, "resumability", "speech_finished")
        assert heard["resumability"]["resumable"] is False
        async with talk(gateway, "s2") as other:
            assert other.hello["resumable"] is False
            await other.say("synthesize", text="Two.", stream=True)
            await hear(other, "speech_finished")
        status, code, _ = await refusal(gateway, "s3", resume(session.hello))
        assert (status, code) == (503, "store_unavailable")
        await redis_state.start()
        assert (await hear(session, "resumability"))["resumable"] is True


async def test_the_subprotocol_with_a_token_needs_ours_beside_it(gateway: Gateway) -> None:
    name = "seiketsu.resume." + "x" * 43
    assert (await refusal(gateway, subprotocols=[name]))[:2] == (400, "invalid_request")
    async with connect(
        url_of(gateway),
        subprotocols=[Subprotocol("seiketsu"), Subprotocol(name)],
        proxy=None,
        compression=None,
    ) as socket:
        assert socket.subprotocol == "seiketsu"
        assert json.loads(await socket.recv())["resumed"] is False
