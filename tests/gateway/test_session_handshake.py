"""Who may open a session, and how the others are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from core.embedded import EmbeddedRedis
from tests.gateway.conftest import Start
from tests.gateway.fakes import Box, FakeSpeech
from tests.gateway.server import Gateway
from tests.gateway.sessions import Talk, talk, url_of

KEYS = ("first-key", "acme:second-key", "acme:third-key")


async def refusal(gateway: Gateway, *where: str, **options: Any) -> tuple[int, str, dict[str, str]]:
    """Status, code and headers of a refused handshake."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url_of(gateway, *where), proxy=None, **options):
            pass
    response = refused.value.response
    body = json.loads(response.body or b"")["error"]
    assert set(body) == {"code", "message", "action", "retryable", "request_id"}
    assert response.headers["x-request-id"] == body["request_id"]
    return response.status_code, body["code"], dict(response.headers)


def key(value: str) -> dict[str, Any]:
    return {"additional_headers": {"authorization": f"Bearer {value}"}}


async def test_keys_open_sessions_and_refusals_are_statuses(
    start: Start, speech: FakeSpeech
) -> None:
    gateway = start(api_keys=KEYS)
    status, code, headers = await refusal(gateway)
    assert (status, code) == (401, "key_required")
    assert headers["www-authenticate"] == "Bearer"
    assert (await refusal(gateway, **key("wrong")))[:2] == (401, "key_invalid")
    async with talk(gateway, **key("second-key")) as session:
        await session.ask("synthesize", text="Hello.")
    assert speech.requests[-1].tenant == "acme"


@pytest.mark.parametrize("query", ["?key=first-key", "?api_key=first-key", "?xi-api-key=a"])
async def test_a_key_in_the_url_is_refused_with_a_clear_sentence(start: Start, query: str) -> None:
    gateway = start(api_keys=KEYS)
    status, code, _ = await refusal(gateway, "s1", query, **key("first-key"))
    assert (status, code) == (400, "key_in_url")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (("s1", "?voice_agent_id=nobody"), (404, "agent_not_found")),
        (("s1", "?colour=red"), (400, "invalid_request")),
        (("s1", "?language=en&language=es"), (400, "invalid_request")),
        (("s1", "?language=x"), (400, "invalid_request")),
        (("a%20b", ""), (400, "invalid_request")),
        (("a" * 129, ""), (400, "invalid_request")),
        (("s1", "?token=x"), (401, "token_invalid")),
    ],
)
async def test_what_cannot_be_opened_is_said(
    gateway: Gateway, where: tuple[str, str], expected: tuple[int, str]
) -> None:
    assert (await refusal(gateway, *where))[:2] == expected


async def test_without_keys_pages_of_other_sites_are_refused(gateway: Gateway) -> None:
    for options in (
        {"origin": "https://evil.example"},
        {"additional_headers": {"host": "evil.example"}},
        {"additional_headers": {"sec-fetch-site": "cross-site"}},
    ):
        assert (await refusal(gateway, **options))[:2] == (403, "origin_refused")
    async with talk(gateway, origin=gateway.base) as session:
        assert session.hello["type"] == "connection_established"


async def test_sessions_are_bounded_for_the_process_and_for_a_key(start: Start) -> None:
    gateway = start(api_keys=KEYS, max_sessions=3, max_sessions_per_key=2)
    async with (
        talk(gateway, "a", **key("first-key")),
        talk(gateway, "b", **key("first-key")) as second,
    ):
        status, code, headers = await refusal(gateway, **key("first-key"))
        assert (status, code) == (429, "too_many_sessions")
        assert int(headers["retry-after"]) >= 1
        async with talk(gateway, "c", **key("second-key")):
            status, code, headers = await refusal(gateway, **key("third-key"))
            assert (status, code) == (503, "sessions_full")
            assert int(headers["retry-after"]) >= 1
        await second.socket.close()
        async with talk(gateway, "d", **key("first-key")):
            pass


async def ask_token(gateway: Gateway, value: str | None = None, **body: object) -> httpx.Response:
    headers = {} if value is None else {"authorization": f"Bearer {value}"}
    async with httpx.AsyncClient(base_url=gateway.voice) as client:
        return await client.post("/sessions", json=body, headers=headers)


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[dict[str, Any]]:
    async with connect(url, proxy=None, **options) as socket:
        yield json.loads(await socket.recv())


async def test_a_token_opens_one_session(start: Start, speech: FakeSpeech) -> None:
    gateway = start(api_keys=KEYS)
    reply = await ask_token(gateway, "second-key", language="es", session_id="mine")
    assert reply.status_code == 200
    found = reply.json()
    assert (found["session_id"], found["expires_in_s"]) == ("mine", 60)
    assert found["websocket_url"].startswith(url_of(gateway, "mine") + "?")
    async with opened(found["websocket_url"], origin="https://any.example") as hello:
        assert (hello["session_id"], hello["language"]) == ("mine", "es")
    assert speech.requests[-1].tenant == "acme"
    again = await refusal(gateway, "mine", f"?token={found['token']}")
    assert again[:2] == (401, "token_invalid")


async def test_a_token_as_subprotocol(start: Start) -> None:
    gateway = start(api_keys=KEYS)
    found = (await ask_token(gateway, "first-key")).json()
    named = f"seiketsu.token.{found['token']}"
    where = (found["session_id"], "")
    assert (await refusal(gateway, *where, subprotocols=[named]))[:2] == (400, "invalid_request")
    async with talk(gateway, *where, subprotocols=["seiketsu", named]) as session:
        assert session.socket.subprotocol == "seiketsu"
        assert session.hello["voice_agent_id"] == "agent_123"


async def test_a_token_is_bound_to_its_session_and_its_time(
    start: Start, redis_state: EmbeddedRedis, box: Box
) -> None:
    gateway = start(api_keys=KEYS)
    token = (await ask_token(gateway, "first-key", session_id="mine")).json()["token"]
    assert (await refusal(gateway, "other", f"?token={token}"))[:2] == (401, "token_invalid")
    from core.redis import open_redis

    redis = open_redis(redis_state.url, timeout_s=1, max_connections=1)
    held = [name async for name in redis.scan_iter(match=b"*session-token*")]
    assert len(held) == 1
    assert token.encode() not in held[0], "only its digest is stored"
    assert 50 <= await redis.ttl(held[0]) <= 60
    await redis.pexpire(held[0], 1)
    await asyncio.sleep(0.01)
    assert (await refusal(gateway, "mine", f"?token={token}"))[:2] == (401, "token_invalid")
    await redis.aclose()


@pytest.mark.parametrize("asked", ["voice_agent_id=agent_9", "language=zh"])
async def test_who_holds_a_token_cannot_choose_another_voice(start: Start, asked: str) -> None:
    gateway = start(api_keys=KEYS)
    reply = await ask_token(gateway, "first-key", session_id="mine", language="es")
    query = f"?token={reply.json()['token']}&{asked}"
    assert (await refusal(gateway, "mine", query))[:2] == (401, "token_invalid")


async def test_a_refusal_for_load_does_not_use_a_token_up(start: Start) -> None:
    gateway = start(api_keys=KEYS, max_sessions=1)
    token = (await ask_token(gateway, "first-key", session_id="mine")).json()["token"]
    async with talk(gateway, **key("first-key")):
        assert (await refusal(gateway, "mine", f"?token={token}"))[:2] == (503, "sessions_full")
    async with talk(gateway, "mine", f"?token={token}") as session:
        assert session.hello["session_id"] == "mine"


async def test_of_tokens_that_come_at_once_those_without_room_can_come_back(start: Start) -> None:
    gateway = start(api_keys=KEYS, max_sessions=1)
    names = [f"s{number}" for number in range(4)]
    tokens = [
        (await ask_token(gateway, "first-key", session_id=name)).json()["token"] for name in names
    ]

    async def opened(name: str, token: str) -> int:
        try:
            socket = await connect(url_of(gateway, name, f"?token={token}"), proxy=None)
        except InvalidStatus as refused:
            return refused.response.status_code
        await socket.close()
        return 101

    pairs = list(zip(names, tokens, strict=True))
    first = await asyncio.gather(*(opened(*pair) for pair in pairs))
    assert first.count(503) > 0
    for pair, status in zip(pairs, first, strict=True):
        if status == 503:
            await asyncio.to_thread(gateway.wait_until, lambda: gateway.connections() == 0)
            assert await opened(*pair) == 101


async def test_a_token_keeps_its_tenant_and_no_key_can_change_it(
    start: Start, speech: FakeSpeech
) -> None:
    gateway = start(api_keys=KEYS)
    token = (await ask_token(gateway, "first-key", session_id="mine")).json()["token"]
    status, code, _ = await refusal(gateway, "mine", f"?token={token}", **key("second-key"))
    assert (status, code) == (401, "token_invalid")


async def test_tokens_need_the_key_and_the_store(start: Start, redis_state: EmbeddedRedis) -> None:
    gateway = start(api_keys=KEYS)
    assert (await ask_token(gateway)).status_code == 401
    for body, status in (({"colour": 1}, 400), ({"session_id": "a b"}, 400)):
        assert (await ask_token(gateway, "first-key", **body)).status_code == status
    assert (await ask_token(gateway, "first-key", voice_agent_id="x")).status_code == 404
    async with httpx.AsyncClient(base_url=gateway.voice) as client:
        plain = await client.post("/sessions", content=b"{}", headers={"xi-api-key": "first-key"})
        assert plain.status_code == 415
    token = (await ask_token(gateway, "first-key", session_id="mine")).json()["token"]
    await redis_state.stop()
    reply = await ask_token(gateway, "first-key")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "store_unavailable")
    status, code, headers = await refusal(gateway, "mine", f"?token={token}")
    assert (status, code) == (503, "store_unavailable")
    assert "retry-after" in headers
    async with talk(gateway, **key("first-key")) as session:
        assert (await session.ask("synthesize", text="Hello."))["type"] == "audio_response"


async def test_plain_http_is_told_to_upgrade(gateway: Gateway) -> None:
    async with httpx.AsyncClient() as client:
        reply = await client.get(gateway.voice + "/streaming/stream/s1")
        other = await client.get(gateway.voice + "/streaming/streamers")
    assert reply.status_code == 426
    assert reply.json()["error"]["code"] == "upgrade_required"
    assert reply.headers["upgrade"] == "websocket"
    assert other.status_code == 404


async def expect_going_away(session: Talk) -> int:
    """Its last event and how it is closed; when it is to come back, in milliseconds."""
    going = await session.hear()
    assert going["type"] == "going_away"
    with pytest.raises(ConnectionClosed) as closed:
        await session.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    after_ms: int = going["retry_after_ms"]
    return after_ms


async def test_quiet_sessions_of_a_gateway_that_ends_come_back_one_after_the_other(
    start: Start,
) -> None:
    first, second = start(), start()
    async with AsyncExitStack() as stack:
        quiet = [await stack.enter_async_context(talk(first, f"s{n}")) for n in range(6)]
        await asyncio.to_thread(first.drain)
        after_ms = [await expect_going_away(session) for session in quiet]
    assert all(50 <= one < 1000 for one in after_ms)
    assert len(set(after_ms)) > 1
    token = quiet[0].hello["resume_token"]
    async with talk(second, "s0", f"?resume_token={token}&last_sequence=2") as again:
        assert again.hello["resumed"] is False
        assert (await again.hear())["code"] == "session_expired"
        assert (await again.ask("synthesize", text="Hello."))["type"] == "audio_response"
    async with talk(second, "s1") as again:
        assert (await again.ask("synthesize", text="Hello."))["type"] == "audio_response"


async def test_a_gateway_that_ends_lets_sessions_speak_and_takes_no_more(
    gateway: Gateway, speech: FakeSpeech
) -> None:
    speech.first_after_s = 0.3
    async with talk(gateway) as session:
        await session.say("synthesize", text="Hello.")
        await session.ask("ping")
        await asyncio.to_thread(gateway.drain)
        assert (await session.ask("ping"))["type"] == "pong"
        await session.say("synthesize", text="Too late.")
        assert {(await session.hear())["type"] for _ in range(2)} == {"audio_response", "error"}
        await expect_going_away(session)
    assert (await refusal(gateway))[:2] == (503, "busy")
