"""Health and measurements."""

from __future__ import annotations

import time

import httpx

from tests.gateway.conftest import BODY
from tests.gateway.fakes import Box, FakeSpeech, entry_of
from tests.gateway.server import Gateway


def test_live_and_ready(gateway: Gateway, box: Box) -> None:
    for base in (gateway.base, gateway.voice):
        assert httpx.get(base + "/health/live").json()["status"] == "live"
        assert httpx.get(base + "/health/ready").json()["status"] == "ready"
    assert box.runtime is not None
    box.runtime.checks = {"local_voice": True, "state_store": False}
    degraded = httpx.get(gateway.base + "/health/ready")
    assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
    box.runtime.checks = {"local_voice": False, "state_store": True}
    down = httpx.get(gateway.base + "/health/ready")
    assert (down.status_code, down.json()["status"]) == (503, "unavailable")
    assert down.json()["checks"] == box.runtime.checks


def test_ready_is_bounded_and_live_does_not_wait_for_it(gateway: Gateway, box: Box) -> None:
    assert box.runtime is not None
    box.runtime.ready_after_s = 60
    began = time.monotonic()
    assert httpx.get(gateway.base + "/health/ready").status_code == 503
    assert time.monotonic() - began < 4
    assert httpx.get(gateway.base + "/health/live").status_code == 200


def test_performance_is_measured(http: httpx.Client, speech: FakeSpeech) -> None:
    speech.first_after_s = 0.15
    for _ in range(3):
        http.post("/synthesize", json=BODY)
    speech.held["held"] = entry_of(b"x" * 100)
    http.post("/synthesize", json={**BODY, "text": "held"})
    http.post("/synthesize", json={**BODY, "text": "..."})
    found = http.get("/performance").json()
    assert found["target_response_time_ms"] == 2000
    measured = found["measured"]
    assert measured["requests"] == 5
    assert measured["served"] == 4
    assert measured["cache_hit_rate"] == 0.25
    assert measured["errors"] == {"text_empty": 1}
    assert measured["sources"] == {"flight": 3, "memory": 1}
    assert measured["providers"] == {"fake": 4}
    assert measured["first_audio_ms"]["count"] == 4
    assert 147 <= measured["first_audio_uncached_ms"]["p50"] < 400
    assert measured["first_audio_cached_ms"]["p99"] < 100
    assert measured["languages"]["en"]["requests"] == 5
    assert abs(measured["since_unix_s"] - time.time()) < 60
