"""The health of the whole installation, seen from one of its processes."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from typing import Any

import httpx
import pytest

from core.analytics.recorder import Recorder
from core.cluster import open_cluster
from core.embedded import EmbeddedRedis
from core.jobs import JobRef
from core.redis import open_redis
from core.speech import SpeechTrace
from tests.gateway.conftest import BODY, Start, fetch
from tests.gateway.fakes import Box, FakeSpeech, entry_of
from tests.gateway.server import Gateway
from tests.gateway.sessions import talk

PATH = "/streaming/health/detailed"


async def detailed(gateway: Gateway, **options: Any) -> dict[str, Any]:
    reply = await fetch(gateway.voice + PATH, **options)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_it_has_the_shape_of_the_guide(gateway: Gateway, speech: FakeSpeech) -> None:
    empty = await detailed(gateway)
    assert set(empty) == {
        "overall_health",
        "streaming_connections",
        "performance_summary",
        "agents",
        "processes",
    }
    assert empty["overall_health"]["overall_status"] == "healthy"
    assert set(empty["overall_health"]) == {
        "overall_status",
        "voice_processing",
        "elevenlabs_service",
    }
    assert empty["overall_health"]["elevenlabs_service"]["status"] == "not_configured"
    assert empty["agents"] == []
    assert empty["streaming_connections"] == {
        "active_count": 0,
        "connections": [],
        "listed": 0,
        "truncated": False,
    }
    assert empty["performance_summary"] == {
        "target_response_time_ms": 2000,
        "average_response_time_ms": None,
        "cache_hit_rate": None,
    }
    speech.first_after_s = 0.1
    speech.held["held"] = entry_of(b"x")
    async with talk(gateway, "mine", "?language=es") as session:
        await session.ask("synthesize", text="Hola.")
        await session.ask("synthesize", text="Adiós.")
        await session.ask("synthesize", text="held")
        found = await detailed(gateway)
    assert found["agents"] == [
        {
            "voice_agent_id": "agent_123",
            "requests": 3,
            "errors": 0,
            "error_rate": 0.0,
            "cached": 1,
            "cache_hit_rate": 33.3,
            "first_audio_p95_ms": pytest.approx(200, abs=150),
        }
    ]
    (connection,) = found["streaming_connections"]["connections"]
    assert found["streaming_connections"]["active_count"] == 1
    assert connection["session_id"] == "mine"
    assert (connection["voice_agent_id"], connection["language"]) == ("agent_123", "es")
    assert connection["requests"] == 3
    assert datetime.fromisoformat(connection["connected_at"]).tzinfo is not None
    assert found["performance_summary"]["cache_hit_rate"] == 33.3
    assert 60 < found["performance_summary"]["average_response_time_ms"] < 400
    assert found["processes"][0]["process_id"] == os.getpid()
    await asyncio.sleep(0.1)
    assert (await detailed(gateway))["streaming_connections"]["active_count"] == 0


async def test_processes_see_each_other_and_forget_those_that_end(
    start: Start, redis_state: EmbeddedRedis
) -> None:
    first, second = start(), start()
    async with talk(first, "a"), talk(second, "b"), talk(second, "c"):
        async with httpx.AsyncClient(base_url=second.voice) as client:
            for _ in range(2):
                await client.post("/synthesize", json=BODY)
        await asyncio.sleep(1.3)
        found = await detailed(first)
        names = {one["session_id"] for one in found["streaming_connections"]["connections"]}
        assert names == {"a", "b", "c"}
        assert found["streaming_connections"]["active_count"] == 3
        assert len(found["processes"]) == 2
        assert sum(one["requests"] for one in found["processes"]) == 2
        summary = (await fetch(first.voice + "/performance")).json()
        assert summary["measured"]["requests"] == 0
        assert summary["cluster"]["processes"] == 2
        assert summary["cluster"]["active_connections"] == 3
        assert summary["cluster"]["measured"]["requests"] == 2
        assert summary["cluster"]["measured"]["first_audio_ms"]["count"] == 2
        await redis_state.stop()
        alone = await detailed(first)
        assert [one["active_connections"] for one in alone["processes"]] == [1]
        assert [one["session_id"] for one in alone["streaming_connections"]["connections"]] == ["a"]
        assert alone["streaming_connections"]["truncated"]
        await redis_state.start()
        await asyncio.sleep(1.3)
        again = await detailed(first)
        assert len(again["processes"]) == 2
        found = again["streaming_connections"]
        assert (found["listed"], found["truncated"]) == (3, False)
    await asyncio.to_thread(second.__exit__)
    assert len((await detailed(first))["processes"]) == 1


async def test_workers_are_told_of_and_what_they_speak_is_in_the_figures(
    start: Start, redis_state: EmbeddedRedis
) -> None:
    gateway = start(api_keys=("acme:a-key", "other:b-key"))
    redis = open_redis(redis_state.url, timeout_s=1, max_connections=2)
    spoken = Recorder()
    trace = SpeechTrace("r", "acme", "agent_9", language="en")
    trace.provider, trace.first_audio_ms, trace.processing_ms = "local", 50.0, 60.0
    spoken.record(trace)
    at = [JobRef("acme", "job_1"), JobRef("other", "job_2")]
    async with open_cluster(redis, spoken, None, lambda: at):
        await asyncio.sleep(0.2)
        found = await detailed(gateway, headers={"xi-api-key": "a-key"})
        url = gateway.voice + "/performance"
        cluster = (await fetch(url, headers={"xi-api-key": "a-key"})).json()["cluster"]
    worker = next(one for one in found["processes"] if one["kind"] == "worker")
    assert (worker["requests"], worker["jobs_under_way"], worker["jobs"]) == (1, 2, ["job_1"])
    assert [one["kind"] for one in found["processes"]] == ["gateway", "worker"]
    assert [one["voice_agent_id"] for one in found["agents"]] == ["agent_9"]
    assert (cluster["processes"], cluster["measured"]["requests"]) == (1, 1)
    await redis.aclose()


async def test_sessions_of_other_tenants_are_counted_but_not_shown(start: Start) -> None:
    gateway = start(api_keys=("acme:a-key", "other:b-key"))
    assert (await fetch(gateway.voice + PATH)).status_code == 401
    options: dict[str, Any] = {"additional_headers": {"xi-api-key": "a-key"}}
    async with talk(gateway, "private", **options) as session:
        await session.ask("synthesize", text="Hello.")
        own = await detailed(gateway, headers={"xi-api-key": "a-key"})
        other = await detailed(gateway, headers={"xi-api-key": "b-key"})
    assert len(own["streaming_connections"]["connections"]) == 1
    assert other["streaming_connections"] == {
        "active_count": 1,
        "connections": [],
        "listed": 0,
        "truncated": False,
    }
    assert "private" not in str(other)
    assert [one["requests"] for one in own["agents"]] == [1]
    assert other["agents"] == []


async def test_parts_that_fail_are_named(gateway: Gateway, box: Box) -> None:
    assert box.runtime is not None
    box.runtime.checks = {"local_voice": True, "state_store": True, "cache_store": False}
    found = (await detailed(gateway))["overall_health"]
    assert found["overall_status"] == "degraded"
    assert found["voice_processing"]["cache_store"] is False
    box.runtime.checks = {"local_voice": False, "state_store": True}
    found = (await detailed(gateway))["overall_health"]
    assert (found["overall_status"], found["voice_processing"]["status"]) == (
        "unhealthy",
        "unhealthy",
    )


def test_figures_of_two_processes_add_up() -> None:
    def measured(*first_audio_ms: float) -> Recorder:
        recorder = Recorder()
        for value in first_audio_ms:
            trace = SpeechTrace("r", "t", "a", language="en")
            trace.first_audio_ms = trace.processing_ms = value
            trace.provider = "local"
            trace.characters = 3
            recorder.record(trace)
        failed = SpeechTrace("r", "t", "a", language="es")
        failed.error_code = "busy"
        recorder.record(failed)
        recorder.refuse("key_invalid")
        return recorder

    together, whole = Recorder(), measured(10, 20, 400)
    whole.record(_failed())
    whole.refuse("key_invalid")
    for part in (measured(10), measured(20, 400)):
        together.merge(part.export())
    expected, found = whole.snapshot(), together.snapshot()
    del expected["since_unix_s"], found["since_unix_s"]
    assert found == expected
    assert found["first_audio_ms"]["count"] == 3


def _failed() -> SpeechTrace:
    trace = SpeechTrace("r", "t", "a", language="es")
    trace.error_code = "busy"
    return trace
