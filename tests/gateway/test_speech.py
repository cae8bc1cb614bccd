"""`POST /synthesize` and the streaming route: what comes back."""

from __future__ import annotations

import asyncio
import base64
import threading

import httpx
import pytest

from core.embedded import EmbeddedRedis
from core.errors import AllProvidersFailed, Busy, DeadlineExceeded
from tests.gateway.conftest import BODY, Start
from tests.gateway.fakes import Box, FakeSpeech, entry_of
from tests.gateway.server import Gateway

STREAM = "/streaming/synthesize/streaming"


def test_json_reply_carries_measurements_and_a_working_link(
    http: httpx.Client, gateway: Gateway, box: Box
) -> None:
    reply = http.post("/synthesize", json=BODY)
    assert reply.status_code == 200
    said = reply.json()
    assert said["status"] == "success"
    assert said["request_id"] == reply.headers["x-request-id"]
    assert said["provider"] == "fake"
    assert said["voice_id"] == "v1"
    assert said["cached"] is False
    assert said["fallback"] is False
    assert said["format"] == "mp3_24000_128"
    assert said["characters"] == len(BODY["text"])
    assert said["quality_score"] == 0.9
    assert 0 < said["first_audio_ms"] <= said["processing_time_ms"]
    assert said["audio_base64"] is None
    audio = http.get(gateway.base + said["audio_url"])
    assert audio.content == b"onetwothree"
    assert box.runtime is not None
    counted = box.runtime.recorder.snapshot()
    assert (counted["requests"], counted["served"], counted["providers"]) == (1, 1, {"fake": 1})


def test_inline_audio_when_asked(http: httpx.Client) -> None:
    said = http.post("/synthesize", json={**BODY, "include_audio": True}).json()
    assert base64.b64decode(said["audio_base64"]) == b"onetwothree"
    assert said["audio_url"] is not None


async def test_inline_audio_while_the_result_store_is_away(
    gateway: Gateway, redis_state: EmbeddedRedis
) -> None:
    async with httpx.AsyncClient(base_url=gateway.voice) as http:
        await redis_state.stop()
        said = (await http.post("/synthesize", json=BODY)).json()
        assert said["audio_url"] is None
        assert base64.b64decode(said["audio_base64"]) == b"onetwothree"
        await redis_state.start()
        async with asyncio.timeout(5):
            while (await http.post("/synthesize", json=BODY)).json()["audio_url"] is None:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("audio/*", "audio/mpeg"),
        ("audio/mpeg", "audio/mpeg"),
        ("audio/wav", "audio/wav"),
        ("audio/pcm;q=0.9, application/json;q=0.5", "audio/pcm"),
        ("application/json, audio/wav", "application/json"),
        ("*/*", "application/json"),
        ("text/html, */*", "application/json"),
        ("audio/wav;q=x", "application/json"),
    ],
)
def test_accept_chooses(http: httpx.Client, accept: str, kind: str) -> None:
    reply = http.post("/synthesize", json=BODY, headers={"accept": accept})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == kind


def test_an_explicit_format_wins_over_accept(http: httpx.Client) -> None:
    reply = http.post(STREAM, json={**BODY, "format": "wav"}, headers={"accept": "audio/mpeg"})
    assert reply.headers["content-type"] == "audio/wav"
    assert reply.headers["x-format"] == "wav_24000"


def test_streaming_route_answers_audio_with_measurements_in_headers(
    http: httpx.Client, speech: FakeSpeech
) -> None:
    speech.fallback = True
    reply = http.post(STREAM, json=BODY, headers={"accept": "application/json"})
    assert reply.content == b"onetwothree"
    headers = reply.headers
    assert headers["x-provider"] == "fake"
    assert headers["x-voice-id"] == "v1"
    assert headers["x-fallback"] == "true"
    assert headers["x-cached"] == "false"
    assert headers["x-language"] == "en"
    assert float(headers["x-first-audio-ms"]) > 0
    assert "x-quality-score" not in headers
    timing = headers["server-timing"]
    assert timing.startswith("plan;dur=")
    assert "cache;desc=miss" in timing
    assert "first_audio;dur=" in timing


def test_a_held_reply_is_sent_whole_and_calls_nobody(
    http: httpx.Client, speech: FakeSpeech
) -> None:
    speech.held[BODY["text"]] = entry_of(b"A" * 24_000)
    reply = http.post(STREAM, json=BODY)
    assert reply.headers["content-length"] == "24000"
    assert reply.headers["x-cached"] == "true"
    assert reply.headers["x-quality-score"] == "0.900"
    assert reply.headers["x-duration-ms"] == "500"
    first = http.post("/synthesize", json=BODY).json()
    second = http.post("/synthesize", json=BODY).json()
    assert first["cached"] is True
    assert first["audio_url"] == second["audio_url"]
    assert speech.calls == 0


def test_replies_that_decline_caching_never_share_a_link(http: httpx.Client) -> None:
    body = {**BODY, "enable_caching": False}
    links = {http.post("/synthesize", json=body).json()["audio_url"] for _ in range(2)}
    assert len(links) == 2


def test_options_reach_the_service(http: httpx.Client, speech: FakeSpeech) -> None:
    http.post(
        "/synthesize",
        json={
            **BODY,
            "language": "en",
            "format": "pcm",
            "optimize_for_speed": False,
            "enable_caching": False,
        },
    )
    asked = speech.requests[-1]
    assert (asked.tenant, asked.text, asked.agent_id) == ("default", BODY["text"], "agent_123")
    assert (asked.language, asked.output_format) == ("en", "pcm")
    assert (asked.optimize_for_speed, asked.enable_caching) == (False, False)


@pytest.mark.parametrize("path", ["/synthesize", STREAM])
@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (AllProvidersFailed(causes=[Busy(retry_after_s=2.2)]), 502, "3"),
        (Busy(retry_after_s=0.01), 503, "1"),
        (DeadlineExceeded(), 504, None),
    ],
)
def test_a_failure_before_the_first_piece_is_an_error_body(
    http: httpx.Client,
    speech: FakeSpeech,
    box: Box,
    path: str,
    error: Exception,
    status: int,
    retry_after: str | None,
) -> None:
    speech.fail_before = error
    reply = http.post(path, json=BODY)
    assert reply.status_code == status
    assert reply.headers.get("retry-after") == retry_after
    detail = reply.json()["error"]
    assert detail["code"] == error.code  # type: ignore[attr-defined]
    assert detail["request_id"] == reply.headers["x-request-id"]
    assert box.runtime is not None
    assert box.runtime.recorder.snapshot()["errors"] == {detail["code"]: 1}


def test_no_audio_at_all_is_an_error(http: httpx.Client, speech: FakeSpeech) -> None:
    speech.chunks = [b""]
    reply = http.post(STREAM, json=BODY)
    assert reply.status_code == 502
    assert reply.json()["error"]["code"] == "bad_audio"


def test_unforeseen_errors_tell_nothing_of_the_inside(
    http: httpx.Client, speech: FakeSpeech, capsys: pytest.CaptureFixture[str]
) -> None:
    speech.fail_before = KeyError(BODY["text"])
    for path in ("/synthesize", STREAM):
        reply = http.post(path, json=BODY)
        assert reply.status_code == 500
        assert reply.json()["error"]["code"] == "internal_error"
        assert "KeyError" not in reply.text
    speech.fail_before, speech.plan_error = None, ZeroDivisionError(BODY["text"])
    assert http.post(STREAM, json=BODY).status_code == 500
    logged = "".join(capsys.readouterr())
    assert "ZeroDivisionError" in logged
    assert BODY["text"] not in logged


def test_places_are_bounded(start: Start, speech: FakeSpeech) -> None:
    gateway = start(max_requests=1)
    speech.first_after_s = 1.5
    with httpx.Client(base_url=gateway.voice, timeout=10) as http:
        slow = threading.Thread(target=lambda: http.post(STREAM, json=BODY))
        slow.start()
        gateway.wait_until(lambda: speech.opened == 1)
        refused = http.post("/synthesize", json=BODY)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "busy"
        assert int(refused.headers["retry-after"]) >= 1
        speech.held["held"] = entry_of(b"x")
        assert http.post(STREAM, json={**BODY, "text": "held"}).status_code == 200
        slow.join()
        assert http.post(STREAM, json=BODY).status_code == 200
