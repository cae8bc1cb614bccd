"""`GET /audio/{id}`: links that are rights."""

from __future__ import annotations

import base64
import time

import httpx
import msgspec
import pytest

from core.embedded import EmbeddedRedis
from core.redis import open_redis
from core.results import AudioLink, ResultStore
from tests.gateway.conftest import BODY, Start, fetch
from tests.gateway.fakes import Box, FakeSpeech, entry_of
from tests.gateway.server import Gateway

AUDIO = bytes(range(256)) * 4


@pytest.fixture
def link(http: httpx.Client, gateway: Gateway, speech: FakeSpeech) -> str:
    speech.chunks = [AUDIO]
    return gateway.base + str(http.post("/synthesize", json=BODY).json()["audio_url"])


def test_the_whole(link: str) -> None:
    reply = httpx.get(link)
    assert reply.content == AUDIO
    assert reply.headers["content-type"] == "audio/mpeg"
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["cache-tag"] == "agent-agent_123"
    assert reply.headers["cache-control"] == "max-age=300"
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_head_tells_the_same_without_the_audio(link: str) -> None:
    whole, head = httpx.get(link), httpx.head(link)
    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-length", "content-type", "etag", "accept-ranges", "cache-control"):
        assert head.headers[name] == whole.headers[name]


def test_etag_saves_the_body(link: str) -> None:
    etag = httpx.get(link).headers["etag"]
    for condition in (etag, f'"other", W/{etag}', "*"):
        reply = httpx.get(link, headers={"if-none-match": condition})
        assert reply.status_code == 304
        assert reply.content == b""
        assert reply.headers["etag"] == etag
    assert httpx.get(link, headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=1000-", 1000, 1023),
     ("bytes=1000-99999", 1000, 1023), ("bytes=-4", 1020, 1023), ("bytes=-5000", 0, 1023)],
)  # fmt: skip
def test_ranges(link: str, asked: str, first: int, last: int) -> None:
    reply = httpx.get(link, headers={"range": asked})
    assert reply.status_code == 206
    assert reply.content == AUDIO[first : last + 1]
    assert reply.headers["content-range"] == f"bytes {first}-{last}/1024"
    assert reply.headers["content-length"] == str(last + 1 - first)


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_ranges_outside(link: str, asked: str) -> None:
    reply = httpx.get(link, headers={"range": asked})
    assert reply.status_code == 416
    assert reply.headers["content-range"] == "bytes */1024"
    assert reply.json()["error"]["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,4-5", "bytes=5-2", "bytes=-", "lines=1-2", "bytes=a-b", "x" * 3000]
)
def test_what_is_no_single_range_gets_the_whole(link: str, asked: str) -> None:
    reply = httpx.get(link, headers={"range": asked})
    assert (reply.status_code, reply.content) == (200, AUDIO)


def test_if_range(link: str) -> None:
    etag = httpx.get(link).headers["etag"]
    same = httpx.get(link, headers={"range": "bytes=0-1", "if-range": etag})
    other = httpx.get(link, headers={"range": "bytes=0-1", "if-range": '"older"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_forged_ids_are_not_found_and_ask_no_store(link: str, gateway: Gateway, box: Box) -> None:
    name = link.rsplit("/", 1)[1]
    raw = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4))
    forged = [
        name[:-1] + ("A" if name[-1] != "A" else "B"),
        name[:-4],
        name + "A",
        "x",
        "%00",
        "%E2%80%A6",
        "a" * 5000,
    ]
    for position in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[position] ^= 1
        forged.append(base64.urlsafe_b64encode(changed).rstrip(b"=").decode())
    for one in forged:
        reply = httpx.get(f"{gateway.voice}/audio/{one}")
        assert reply.status_code in (400, 404), one
        assert reply.json()["error"]["code"] in ("audio_not_found", "invalid_request")


async def test_links_end(start: Start, redis_state: EmbeddedRedis, box: Box) -> None:
    gateway = start()
    key = b"k" * 32
    redis = open_redis(redis_state.url, timeout_s=1, max_connections=2)
    async with redis:
        store = ResultStore(redis, key, ttl_s=900)
        audio_id = await store.put("default", "agent_123", "r" * 32, entry_of(AUDIO))
        link = await store.open(audio_id)
        assert 900 < link.expires_unix_s - time.time() <= 1800

        def signed(seconds: int) -> str:
            changed = msgspec.structs.replace(link, expires_unix_s=int(time.time()) + seconds)
            return store._sign(changed)

        assert (await fetch(f"{gateway.voice}/audio/{signed(0)}")).status_code == 404
        nearly = await fetch(f"{gateway.voice}/audio/{signed(60)}")
        assert nearly.status_code == 200
        assert 57 <= int(nearly.headers["cache-control"].removeprefix("max-age=")) <= 60
        await redis.flushall()
        gone = await fetch(f"{gateway.voice}/audio/{audio_id}")
        assert gone.json()["error"]["code"] == "audio_not_found"
        other = AudioLink("elsewhere", link.agent_id, link.result_id, link.expires_unix_s)
        assert (await fetch(f"{gateway.voice}/audio/{store._sign(other)}")).status_code == 404


async def test_no_store_is_a_retryable_error(link: str, redis_state: EmbeddedRedis) -> None:
    await redis_state.stop()
    reply = await fetch(link)
    assert reply.status_code == 503
    assert reply.json()["error"] | {"request_id": ""} == {
        "code": "store_unavailable",
        "message": "The result store does not answer.",
        "action": reply.json()["error"]["action"],
        "retryable": True,
        "request_id": "",
    }
    assert int(reply.headers["retry-after"]) >= 1


def test_no_key_is_needed(start: Start, speech: FakeSpeech) -> None:
    gateway = start(api_keys=("key",))
    made = httpx.post(gateway.voice + "/synthesize", json=BODY, headers={"xi-api-key": "key"})
    assert httpx.get(gateway.base + made.json()["audio_url"]).status_code == 200
