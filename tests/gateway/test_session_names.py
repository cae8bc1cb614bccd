"""Who may open a session by the name of one that is open, and has streamed nothing yet."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed

from core.conversation.registry import Connection, SessionRegistry
from core.embedded import EmbeddedRedis
from core.errors import SessionInUse
from core.redis import open_redis
from gateway.websocket import ANSWER_S
from tests.gateway.conftest import Start
from tests.gateway.server import Gateway
from tests.gateway.sessions import talk
from tests.gateway.test_session_handshake import key, refusal
from tests.gateway.test_session_resume import hear, resume

KEYS = ("acme:first-key", "acme:second-key", "other:third-key")


async def test_the_id_of_a_session_opens_no_second_one_beside_it(start: Start) -> None:
    gateway = start(api_keys=KEYS)
    first = key("first-key")
    async with talk(gateway, **first) as owner:
        for query in ("", resume({"resume_token": "x" * 43}), resume({"resume_token": "ü"})):
            assert (await refusal(gateway, "s1", query, **first))[:2] == (409, "session_in_use")
        for query in ("", resume(owner.hello)):
            other = await refusal(gateway, "s1", query, **key("second-key"))
            assert other[:2] == (409, "session_in_use")
        async with talk(gateway, **key("third-key")) as another:
            assert another.hello["resumed"] is False, "names are those of a tenant"
        await owner.say("text", text="Mine. ", command_id="c1")
        assert (await owner.hear())["type"] == "accepted", "it can still be regained"
    async with talk(gateway, **first) as again:
        assert again.hello["resumed"] is False


async def test_who_comes_back_before_the_loss_was_noticed_is_let_in(gateway: Gateway) -> None:
    async with talk(gateway) as old:
        old.socket.transport.pause_reading()
        began_s = time.monotonic()
        async with talk(gateway) as new:
            assert time.monotonic() - began_s < ANSWER_S + 1
            await new.say("text", text="Mine. ", command_id="c1")
            assert (await hear(new, "accepted"))["command_id"] == "c1"
            new.socket.transport.abort()
        old.socket.transport.resume_reading()
        async with talk(gateway, query=resume(new.hello)) as again:
            assert again.hello["resumed"] is True


async def test_the_token_of_a_quiet_session_ends_it_and_gets_its_name(gateway: Gateway) -> None:
    async with talk(gateway) as old, talk(gateway, query=resume(old.hello)) as new:
        assert new.hello["resumed"] is False
        assert (await new.hear())["code"] == "session_expired"
        assert (await hear(old, "error"))["code"] == "taken_over"
        with pytest.raises(ConnectionClosed) as closed:
            await old.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4009
        await new.say("text", text="Mine. ", command_id="c1")
        assert (await new.hear())["type"] == "accepted"
        new.socket.transport.abort()
    async with talk(gateway, query=resume(new.hello)) as again:
        assert again.hello["resumed"] is True


async def test_a_session_whose_first_text_is_being_written_down_is_taken_over_whole(
    gateway: Gateway, redis_state: EmbeddedRedis
) -> None:
    redis = open_redis(redis_state.url, timeout_s=1, max_connections=1)
    async with talk(gateway) as old:
        await redis.client_pause(150, all=False)
        await redis.aclose()
        await old.say("text", text="One two.", utterance_id="a")
        assert (await old.ask("ping"))["type"] == "pong"
        async with talk(gateway, query=resume(old.hello)) as new:
            assert new.hello["resumed"] is True
            assert new.hello["texts"][0]["characters"] == 8


def test_a_name_belongs_to_the_newest_as_long_as_that_is_open() -> None:
    sessions = SessionRegistry(max_sessions=5, max_per_key=5)
    old, new = (Connection("s1", "acme", "", "agent_123", "en", 0.0) for _ in range(2))
    with ExitStack() as newer:
        with sessions.enter(old):
            assert sessions.named("acme", "s1") is old
            assert sessions.named("other", "s1") is None
            with pytest.raises(SessionInUse), sessions.enter(new):
                pass
            newer.enter_context(sessions.enter(new, beside=old))
            assert sessions.named("acme", "s1") is new
        assert sessions.named("acme", "s1") is new
    assert sessions.named("acme", "s1") is None
    assert len(sessions) == 0
