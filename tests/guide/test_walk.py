"""The integration guide from top to bottom, on a whole installation with a worker.

Each test is a section of the guide, in its order. Bodies, messages and names are the guide's own.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from benchmarks.stack import Stack, open_stack
from core.agents import PROFILES
from core.audio.formats import resolve
from core.children import Child
from core.runtime import open_runtime
from core.settings import VARIABLES, load_settings
from core.speech import SpeechRequest
from tests.player import decoded
from workers.tasks import bulk_voice_synthesis, pregenerate_agent_voices

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1/voice"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with open_stack(emulator=("--audio", "words", "--seed", "7")) as opened:
        worker = Child([sys.executable, "-m", "workers.main"], env=opened.env)
        try:
            yield opened
        finally:
            await worker.end(15)


@pytest_asyncio.fixture(loop_scope="module")
async def http(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(base_url=stack.base_url) as session:
        yield session


async def post(http: aiohttp.ClientSession, path: str, body: Any, status: int = 200) -> Any:
    async with http.post(path, json=body) as reply:
        found = await reply.json()
        assert reply.status == status, found
        return found


async def get(http: aiohttp.ClientSession, path: str) -> Any:
    async with http.get(path) as reply:
        found = await reply.json()
        assert reply.status == 200, found
        return found


def length_ms(mp3: bytes) -> float:
    output = resolve("mp3", 128)
    return len(decoded(mp3, output)) * 1000 / output.rate_hz


async def test_text_to_speech_synthesis(http: aiohttp.ClientSession) -> None:
    body = {
        "text": "Hello! How can I help you today?",
        "voice_agent_id": "agent_123",
        "language": "en",
        "format": "mp3",
        "optimize_for_speed": True,
        "enable_caching": True,
    }
    first = await post(http, f"{API}/synthesize", body)
    assert first["status"] == "success"
    assert (first["provider"], first["voice_id"]) == ("elevenlabs", "21m00Tcm4TlvDq8ikWAM")
    assert 0 < first["processing_time_ms"] < 2000
    assert first["cached"] is False
    assert 0.8 <= first["quality_score"] <= 1
    again = await post(http, f"{API}/synthesize", body)
    assert again["cached"] is True
    async with http.get(again["audio_url"]) as reply:
        assert reply.content_type == "audio/mpeg"
        assert abs(length_ms(await reply.read()) - again["duration_ms"]) <= 60


@pytest.mark.parametrize("query", ["?voice_agent_id=agent_123&language=en", ""])
async def test_real_time_voice_streaming(http: aiohttp.ClientSession, query: str) -> None:
    async with http.ws_connect(f"{API}/streaming/stream/session_123{query}") as ws:
        established = await ws.receive_json(timeout=5)
        assert established["type"] == "connection_established"
        assert established["session_id"] == "session_123"
        assert established["voice_agent_id"] == "agent_123"
        text = "Thank you for your interest in our properties."
        await ws.send_json({"type": "synthesize", "text": text})
        data = await ws.receive_json(timeout=5)
        assert data["type"] == "audio_response"
        metadata = data["metadata"]
        assert metadata["text"] == text
        assert metadata["provider"] == "elevenlabs"
        for name in ("voice_id", "processing_time_ms", "first_audio_ms", "cached", "quality_score"):
            assert metadata[name] is not None
        audio = bytes.fromhex(data["audio_data"])
        assert abs(length_ms(audio) - metadata["duration_ms"]) <= 60
        await ws.send_json({"type": "ping"})
        assert (await ws.receive_json(timeout=5))["type"] == "pong"
        await ws.send_json({"type": "get_stats"})
        assert (await ws.receive_json(timeout=5))["type"] == "session_stats"
        await ws.send_json({"type": "sing"})
        assert (await ws.receive_json(timeout=5))["type"] == "error"


TEXTS = [
    "Welcome to Seiketsu AI!",
    "What type of property are you looking for?",
    "I'll schedule a viewing for you.",
]


async def test_bulk_synthesis(http: aiohttp.ClientSession) -> None:
    body = {
        "texts": TEXTS,
        "voice_agent_id": "agent_123",
        "language": "en",
        "background_processing": False,
    }
    reply = await post(http, f"{API}/streaming/synthesize/bulk", body)
    assert reply["status"] == "success"
    assert [one["status"] for one in reply["results"]] == ["success"] * 3
    for one in reply["results"]:
        async with http.get(one["audio_url"]) as audio:
            assert audio.status == 200
            assert len(await audio.read()) > 4000


async def job_done(http: aiohttp.ClientSession, path: str, within_s: float = 20) -> Any:
    ends_s = time.monotonic() + within_s
    while True:
        job = await get(http, path)
        if job["status"] not in ("queued", "running"):
            return job
        assert time.monotonic() < ends_s, job
        await asyncio.sleep(0.1)


async def test_bulk_synthesis_in_the_background(http: aiohttp.ClientSession) -> None:
    body = {"texts": TEXTS, "voice_agent_id": "agent_123", "background_processing": True}
    started = await post(http, f"{API}/streaming/synthesize/bulk", body, status=202)
    job = await job_done(http, started["status_url"])
    assert (job["status"], job["succeeded"], job["failed"]) == ("done", 3, 0)
    # The common sentences were spoken just now: the worker pays for none of them again.
    assert [item["cached"] for item in job["items"]] == [True] * 3
    async with http.get(job["items"][0]["audio_url"]) as audio:
        assert audio.status == 200


async def test_voice_quality_analysis(http: aiohttp.ClientSession) -> None:
    body = {
        "text": "Test phrase for quality analysis",
        "voice_agent_id": "agent_123",
        "quality_threshold": 0.8,
    }
    reply = await post(http, f"{API}/streaming/quality/analyze", body)
    assert reply["meets_threshold"] is (reply["quality_score"] >= 0.8)
    assert {"measurements", "recommendations", "alternative_profiles"} <= set(reply)


async def test_voice_service_health(http: aiohttp.ClientSession) -> None:
    async with http.ws_connect(f"{API}/streaming/stream/session_9?voice_agent_id=agent_123") as ws:
        await ws.receive_json(timeout=5)
        await asyncio.sleep(1.2)
        health = await get(http, f"{API}/streaming/health/detailed")
    overall = health["overall_health"]
    assert overall["overall_status"] == "healthy"
    assert {"voice_processing", "elevenlabs_service"} <= set(overall)
    connections = health["streaming_connections"]
    assert connections["active_count"] == 1
    assert [one["session_id"] for one in connections["connections"]] == ["session_9"]
    summary = health["performance_summary"]
    assert summary["target_response_time_ms"] == 2000
    assert 0 < summary["average_response_time_ms"] < 2000
    assert 0 < summary["cache_hit_rate"] <= 100


async def test_performance_metrics(http: aiohttp.ClientSession) -> None:
    found = (await get(http, f"{API}/performance"))["measured"]
    assert {"p50", "p95", "p99"} <= set(found["first_audio_ms"])
    assert found["cache_hit_rate"] is not None
    assert found["quality_score"]["mean"] > 0.8
    assert {"errors", "languages", "anomalies"} <= set(found)


async def test_voice_profiles(http: aiohttp.ClientSession) -> None:
    found = await get(http, f"{API}/profiles")
    rows = found["profiles"] if isinstance(found, dict) else found
    voices = {row["id"]: row for row in rows}
    assert set(voices) == set(PROFILES)
    for profile, voice_id in (
        ("professional_male", "21m00Tcm4TlvDq8ikWAM"),
        ("friendly_female", "AZnzlk1XvdvUeBnXmlld"),
        ("authoritative_male", "EXAVITQu4vr4xnSDxMaL"),
        ("casual_male", "ErXwobaYiN019PkySvjV"),
        ("multilingual_female", "Xb7hH8MSUJpSbSDYk0k2"),
    ):
        assert voice_id in json.dumps(voices[profile])
    assert "eleven_multilingual_v2" in json.dumps(voices["multilingual_female"])


async def test_environment_variables() -> None:
    settings = load_settings(
        {
            "ELEVEN_LABS_API_KEY": "your_api_key_here",
            "ELEVEN_LABS_BASE_URL": "https://api.elevenlabs.io/v1",
            "ELEVEN_LABS_TIMEOUT": "30",
            "TWENTYONEDEV_API_KEY": "your_analytics_key",
            "TWENTYONEDEV_BASE_URL": "https://api.21dev.ai/v1",
            "REDIS_URL": "redis://localhost:6379/0",
            "VOICE_RESPONSE_TIMEOUT_MS": "2000",
            "VOICE_QUALITY_BITRATE": "128",
        }
    )
    assert settings.upstream.api_key == "your_api_key_here"
    assert settings.upstream.timeout_s == 30
    assert settings.monitoring.api_key == "your_analytics_key"
    assert settings.redis.state_url == "redis://localhost:6379/0"
    assert (settings.speech.response_timeout_ms, settings.speech.mp3_kbps) == (2000, 128)
    assert "TWENTYONEDEV_BASE_URL" in VARIABLES


async def test_the_variables_act(stack: Stack) -> None:
    settings = load_settings(
        {**stack.env, "VOICE_RESPONSE_TIMEOUT_MS": "900", "VOICE_QUALITY_BITRATE": "64"}
    )
    assert stack.emulator is not None
    async with open_runtime(settings) as runtime:
        for text, provider in (
            ("The first variable chooses the bit rate.", "elevenlabs"),
            ("The second chooses how long to wait.", "local"),
        ):
            if provider == "local":
                await stack.emulator.set_fault("silent")
            request = SpeechRequest("default", text, "agent_123", "en", enable_caching=False)
            trace = runtime.service.new_trace("req_walk", request)
            plan = await runtime.service.plan(request)
            spoken = await runtime.service.whole(plan, trace, runtime.service.new_deadline())
            assert trace.provider == provider
            assert abs(len(spoken.audio) * 8 / spoken.duration_ms - 64) < 8
            assert trace.first_audio_ms is not None
            assert trace.first_audio_ms < 900
    await stack.emulator.clear_faults()


async def test_voice_agent_configuration(http: aiohttp.ClientSession) -> None:
    voice_settings = {
        "profile": "professional_male",
        "voice_id": "AZnzlk1XvdvUeBnXmlld",
        "stability": 0.8,
        "similarity_boost": 0.75,
        "language_preferences": ["en", "es"],
    }
    body = {"id": "guide_agent", "name": "Reception", "voice_settings": voice_settings}
    made = await post(http, f"{API}/agents", body, status=201)
    assert made["voice_settings"]["voice_id"] == "AZnzlk1XvdvUeBnXmlld"
    spoken = await post(
        http,
        f"{API}/synthesize",
        {"text": "¿Le gustaría visitar la casa el sábado?", "voice_agent_id": "guide_agent"},
    )
    assert (spoken["language"], spoken["voice_id"]) == ("es", "AZnzlk1XvdvUeBnXmlld")


async def test_pre_generated_responses(http: aiohttp.ClientSession) -> None:
    body = {"voice_agent_id": "agent_123", "language": "en"}
    started = await post(http, f"{API}/streaming/pregenerate", body, status=202)
    job = await job_done(http, started["status_url"], within_s=40)
    assert (job["status"], job["failed"]) == ("done", 0)
    phrases = await get(http, f"{API}/agents/agent_123/phrases?language=en")
    spoken = await post(
        http,
        f"{API}/synthesize",
        {"text": phrases["phrases"][0], "voice_agent_id": "agent_123", "language": "en"},
    )
    assert spoken["cached"] is True


async def test_scheduled_tasks() -> None:
    from workers.main import worker_settings

    options = worker_settings(load_settings({"REDIS_URL": "redis://127.0.0.1:1/0"}))
    crons = {job.name: job.hour for job in options.cron_jobs}  # type: ignore[attr-defined]
    assert crons == {"voice_cache_maintenance": {2}, "warm_up_voices": {8, 17}}


async def test_manual_tasks(stack: Stack, http: aiohttp.ClientSession) -> None:
    settings = load_settings(stack.env)
    jobs = [
        *await pregenerate_agent_voices.delay(
            agent_id="agent_123", language="en", settings=settings
        ),
        await bulk_voice_synthesis.delay(
            texts=["text1", "text2"], agent_id="agent_123", language="en", settings=settings
        ),
    ]
    for job_id, kind in zip(jobs, ("pregenerate", "bulk"), strict=True):
        job = await job_done(http, f"{API}/jobs/{job_id}")
        assert (job["kind"], job["status"], job["failed"]) == (kind, "done", 0)


async def test_javascript_usage(
    stack: Stack, http: aiohttp.ClientSession, repository: Path
) -> None:
    async with http.get("/docs/static/voice-streaming-client.js") as reply:
        assert reply.content_type == "text/javascript"
        served = await reply.read()
    assert served == (repository / "gateway/docs/voice-streaming-client.js").read_bytes()
    script = Path(__file__).with_name("voice_client.js")
    command = [str(Path(sys.executable).parent / "k6"), "run", "--no-usage-report", "--quiet"]
    env = {**stack.env, "SEIKETSU_URL": stack.base_url}
    done = await asyncio.to_thread(
        subprocess.run, [*command, str(script)], capture_output=True, timeout=30, env=env
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    for what in ("both texts were spoken", "every encoding carries the same", "no text is lost"):
        assert f"✓ {what}" in done.stdout.decode()


async def test_debugging_commands(stack: Stack) -> None:
    curl = shutil.which("curl")
    assert curl is not None
    for path in ("streaming/health/detailed", "performance"):
        command = [curl, "-fsS", f"{stack.base_url}{API}/{path}"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=10)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
    command = [str(Path(sys.executable).parent / "seiketsu"), "jobs", "list", "--json"]
    env = {**stack.env, "SEIKETSU_URL": stack.base_url}
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, timeout=20, env=env
    )
    assert done.returncode == 0, done.stderr
    assert {"bulk", "pregenerate"} <= {job["kind"] for job in json.loads(done.stdout)["jobs"]}
