"""`POST /streaming/synthesize/bulk` and `/streaming/pregenerate` over HTTP."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Awaitable
from typing import Any, cast

import httpx
import pytest
from redis.asyncio import Redis

from core.embedded import EmbeddedRedis
from core.errors import Busy, ProviderRejected
from core.jobs import decode
from core.phrases import shipped
from core.redis import Keys, open_redis
from tests.gateway.conftest import Start, fetch
from tests.gateway.fakes import FakeSpeech
from tests.gateway.server import Gateway

BULK = "/streaming/synthesize/bulk"
TEXTS = {"texts": ["One.", "Two.", "Three."], "voice_agent_id": "agent_123", "language": "en"}


def code(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


def test_every_text_is_spoken_and_its_audio_can_be_fetched(
    http: httpx.Client, gateway: Gateway, speech: FakeSpeech
) -> None:
    reply = http.post(BULK, json=TEXTS)
    assert reply.status_code == 200
    body = reply.json()
    assert (body["status"], body["total"], body["succeeded"], body["failed"]) == (
        *("success", 3, 3, 0),
    )
    assert [one["index"] for one in body["results"]] == [0, 1, 2]
    for one in body["results"]:
        assert (one["status"], one["duration_ms"], one["provider"]) == ("success", 500, "fake")
        assert (one["cached"], one["fallback"], one["quality_score"]) == (False, False, 0.9)
        assert 0 < one["processing_time_ms"] <= body["processing_time_ms"]
        audio = httpx.get(gateway.base + one["audio_url"])
        assert (audio.status_code, audio.content) == (200, b"onetwothree")
    assert {request.origin for request in speech.requests} == {"bulk"}


def test_a_text_that_fails_does_not_fail_the_others(http: httpx.Client) -> None:
    body = http.post(BULK, json={**TEXTS, "texts": ["One.", "...", "Three."]}).json()
    assert (body["status"], body["succeeded"], body["failed"]) == ("partial", 2, 1)
    failed = body["results"][1]
    assert (failed["status"], failed["audio_url"]) == ("failed", None)
    assert failed["error"]["code"] == "text_empty"
    assert failed["error"]["message"]


def test_when_all_fail_it_says_so(http: httpx.Client, speech: FakeSpeech) -> None:
    speech.fail_before = ProviderRejected("No.", provider="fake")
    body = http.post(BULK, json=TEXTS).json()
    assert (body["status"], body["succeeded"]) == ("failed", 0)
    assert {one["error"]["code"] for one in body["results"]} == {"provider_rejected"}


def test_a_text_without_a_place_is_tried_again(http: httpx.Client, speech: FakeSpeech) -> None:
    speech.plan_error = Busy(retry_after_s=0.1)
    soon = threading.Timer(0.3, setattr, (speech, "plan_error", None))
    soon.start()
    body = http.post(BULK, json=TEXTS).json()
    soon.join()
    assert body["status"] == "success"
    assert len(speech.requests) > 3


def test_four_texts_are_spoken_at_once(http: httpx.Client, speech: FakeSpeech) -> None:
    speech.first_after_s = 0.2
    began = time.monotonic()
    body = http.post(BULK, json={**TEXTS, "texts": [f"T{n}." for n in range(8)]}).json()
    assert body["succeeded"] == 8
    assert 0.4 <= time.monotonic() - began < 1.2


def test_a_caller_who_leaves_ends_the_work(gateway: Gateway, speech: FakeSpeech) -> None:
    speech.first_after_s = 20
    body = b'{"texts":["One."],"voice_agent_id":"agent_123"}'
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(
            b"POST /api/v1/voice/streaming/synthesize/bulk HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        gateway.wait_until(lambda: speech.opened == 1)
    gateway.wait_until(lambda: speech.closed == 1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"texts": []}, (400, "invalid_request")),
        ({"texts": ["One."] * 51}, (422, "too_many_texts")),
        ({"texts": ["One."] * 1001, "background_processing": True}, (422, "too_many_texts")),
        ({"texts": ["x" * 5001]}, (422, "text_too_long")),
        ({"texts": "One."}, (400, "invalid_request")),
        ({"voice_agent_id": "nobody"}, (404, "agent_not_found")),
        ({"format": "tape"}, (422, "unsupported_format")),
        ({"colour": "red"}, (400, "invalid_request")),
        ({"texts": ["x" * 1_100_000]}, (413, "body_too_large")),
    ],
)
def test_what_cannot_be_done_is_refused(
    http: httpx.Client, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert code(http.post(BULK, json={**TEXTS, **change})) == expected


def test_too_many_texts_are_shown_the_way_to_the_background(http: httpx.Client) -> None:
    reply = http.post(BULK, json={**TEXTS, "texts": ["One."] * 51})
    assert "background_processing" in reply.json()["error"]["message"]


def test_only_json_is_read(http: httpx.Client) -> None:
    reply = http.post(BULK, content=b"texts=One", headers={"content-type": "text/plain"})
    assert code(reply) == (415, "unsupported_media_type")
    broken = http.post(BULK, content=b"{", headers={"content-type": "application/json"})
    assert code(broken) == (400, "invalid_request")


def test_a_key_is_needed_where_keys_are_set(start: Start) -> None:
    gateway = start(api_keys=("acme:secret-key",))
    for path in (BULK, "/streaming/pregenerate"):
        assert code(httpx.post(gateway.voice + path, json=TEXTS)) == (401, "key_required")


async def queued(redis_state: EmbeddedRedis) -> list[dict[str, Any]]:
    """What waits for workers."""
    client: Redis = open_redis(redis_state.url, timeout_s=2, max_connections=2)
    try:
        names = await client.zrange(Keys.queue(), 0, -1)
        return [decode(await client.get(b"arq:job:" + name)) for name in names]
    finally:
        await client.aclose()


async def test_a_job_is_made_and_workers_are_called(
    gateway: Gateway, redis_state: EmbeddedRedis, speech: FakeSpeech
) -> None:
    asked = {**TEXTS, "texts": [f"Secret {n}." for n in range(60)], "background_processing": True}
    async with httpx.AsyncClient(timeout=10) as client:
        reply = await client.post(gateway.voice + BULK, json=asked)
    assert reply.status_code == 202
    body = reply.json()
    assert (body["status"], body["total"]) == ("queued", 60)
    job = (await fetch(gateway.base + body["status_url"])).json()
    assert (job["status"], job["queued"], job["kind"]) == ("queued", 60, "bulk")
    calls = await queued(redis_state)
    assert [call["f"] for call in calls] == ["bulk_voice_synthesis"] * 3
    assert {str(call["a"]) for call in calls} == {
        str([{"tenant": "default", "job_id": body["job_id"]}])
    }
    assert speech.calls == 0


async def test_pregeneration_makes_a_job_for_each_language(
    gateway: Gateway, redis_state: EmbeddedRedis
) -> None:
    url = f"{gateway.voice}/streaming/pregenerate"
    async with httpx.AsyncClient(timeout=10) as client:
        one = await client.post(url, json={"voice_agent_id": "agent_123", "language": "es-MX"})
        every = await client.post(url, json={"voice_agent_id": "agent_123"})
        nobody = await client.post(url, json={"voice_agent_id": "nobody"})
        klingon = await client.post(url, json={"voice_agent_id": "agent_123", "language": "tlh"})
    assert one.status_code == 202
    assert one.json()["total"] == len(await shipped("es"))
    assert (len(one.json()["jobs"]), len(every.json()["jobs"])) == (1, 3)
    assert code(nobody) == (404, "agent_not_found")
    assert code(klingon) == (422, "unsupported_language")
    job = (await fetch(gateway.base + one.json()["status_url"])).json()
    assert (job["kind"], job["language"]) == ("pregenerate", "es")
    assert {call["f"] for call in await queued(redis_state)} == {"pregenerate_agent_voices"}


async def test_without_the_state_database_audio_comes_in_the_reply(
    gateway: Gateway, redis_state: EmbeddedRedis, speech: FakeSpeech
) -> None:
    await redis_state.stop()
    async with httpx.AsyncClient(timeout=10) as client:
        body = (await client.post(gateway.voice + BULK, json=TEXTS)).json()
        assert (body["status"], body["succeeded"]) == ("success", 3)
        for one in body["results"]:
            assert one["audio_url"] is None
            assert base64.b64decode(one["audio_base64"]) == b"onetwothree"
        speech.chunks = [b"x" * 3_000_000]
        full = (await client.post(gateway.voice + BULK, json=TEXTS)).json()
    assert (full["status"], full["succeeded"]) == ("partial", 2)
    (refused,) = [one for one in full["results"] if one["status"] == "failed"]
    assert (refused["error"]["code"], refused["audio_base64"]) == ("store_unavailable", None)
    assert "fewer texts" in refused["error"]["message"]


async def test_a_job_without_room_for_its_audio_is_refused_at_once(
    gateway: Gateway, redis_state: EmbeddedRedis
) -> None:
    client: Redis = open_redis(redis_state.url, timeout_s=2, max_connections=2)
    held = {"job_full": 2**29, "total": 2**29}
    await cast(Awaitable[int], client.hset(Keys.audio_room("default", "bytes"), mapping=held))
    await client.aclose()
    async with httpx.AsyncClient(timeout=10) as http:
        asked = {**TEXTS, "background_processing": True}
        reply = await http.post(gateway.voice + BULK, json=asked)
        assert (await http.post(gateway.voice + BULK, json=TEXTS)).status_code == 200
    assert code(reply) == (409, "no_audio_room")
    error = reply.json()["error"]
    assert (error["retryable"], "remove finished jobs" in error["action"]) == (False, True)


async def test_without_the_state_database_a_job_is_refused(
    gateway: Gateway, redis_state: EmbeddedRedis
) -> None:
    await redis_state.stop()
    async with httpx.AsyncClient(timeout=10) as client:
        asked = {**TEXTS, "background_processing": True}
        reply = await client.post(gateway.voice + BULK, json=asked)
    assert code(reply) == (503, "store_unavailable")
    assert reply.headers["retry-after"] == "1"
