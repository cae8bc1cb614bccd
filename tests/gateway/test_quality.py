"""`POST /streaming/quality/analyze`: spoken anew, measured, compared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.emulator.process import EmulatorProcess
from core.agents import PROFILES
from core.analytics.quality_advice import FACTORS
from core.embedded import EmbeddedRedis
from core.errors import Busy
from core.settings import RedisSettings, Settings, SpeechSettings, UpstreamSettings
from tests.fakes import tone
from tests.gateway.fakes import FakeSpeech
from tests.gateway.server import Gateway

PATH = "/streaming/quality/analyze"
ASKED: dict[str, Any] = {
    "text": "Test phrase for quality analysis",
    "voice_agent_id": "agent_123",
    "quality_threshold": 0.8,
}
"""As the integration guide shows it."""


@pytest.fixture
async def emulator() -> AsyncIterator[EmulatorProcess]:
    async with EmulatorProcess("--key", "k", "--audio", "coded", "--latency", "none") as running:
        yield running


@pytest.fixture
async def real(
    emulator: EmulatorProcess,
    redis_state: EmbeddedRedis,
    redis_cache: EmbeddedRedis,
    tmp_path: Path,
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with everything but the local voice, and the provider's emulator behind it."""
    settings = Settings(
        data_dir=tmp_path,
        redis=RedisSettings(state_url=redis_state.url, cache_url=redis_cache.url),
        upstream=UpstreamSettings(api_key="k", base_url=f"{emulator.url}/v1", tries=1),
        speech=SpeechSettings(response_timeout_ms=1500),
    )
    with Gateway(settings, None) as gateway:
        async with httpx.AsyncClient(base_url=gateway.voice, timeout=30) as client:
            yield client


async def test_what_is_asked_as_the_guide_shows_is_measured(
    real: httpx.AsyncClient, emulator: EmulatorProcess
) -> None:
    reply = await real.post(PATH, json={**ASKED, "quality_threshold": 0.1})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["request_id"] == reply.headers["x-request-id"]
    assert found["status"] == "success"
    assert found["text_characters"] == len(ASKED["text"])
    assert (found["voice_agent_id"], found["profile"]) == ("agent_123", "professional_male")
    assert (found["language"], found["provider"]) == ("en", "elevenlabs")
    assert set(found["measurements"]) == {*FACTORS, "active_dbfs", "longest_pause_ms"}
    product = 1.0
    for factor in FACTORS:
        product *= found["measurements"][factor]
    assert found["quality_score"] == pytest.approx(product, abs=0.002)
    assert found["duration_ms"] > 500
    assert 0 < found["first_audio_ms"] <= found["processing_time_ms"]
    assert found["meets_threshold"] is True
    assert found["alternative_profiles"] == found["alternatives_not_measured"] == []
    assert len(await emulator.calls()) == 1


async def test_it_is_spoken_anew_each_time_and_nothing_is_kept(
    real: httpx.AsyncClient, emulator: EmulatorProcess, redis_cache: EmbeddedRedis
) -> None:
    body = {"text": ASKED["text"], "voice_agent_id": "agent_123", "format": "pcm"}
    await real.post("/synthesize", json=body)
    for _ in range(2):
        await real.post(PATH, json={**ASKED, "quality_threshold": 0})
    assert len(await emulator.calls()) == 3


async def test_below_the_threshold_the_other_profiles_speak(
    real: httpx.AsyncClient, emulator: EmulatorProcess
) -> None:
    broken = PROFILES["casual_male"].voices["en"].elevenlabs_voice
    await emulator.set_fault("reset", voices=[broken])
    reply = await real.post(PATH, json={**ASKED, "quality_threshold": 1.0})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["meets_threshold"] is False
    others = found["alternative_profiles"]
    assert {one["profile"] for one in others} == {*PROFILES} - {"professional_male", "casual_male"}
    scores = [one["quality_score"] for one in others]
    assert scores == sorted(scores, reverse=True)
    assert [one["meets_threshold"] for one in others] == [score >= 1 for score in scores]
    (left_out,) = found["alternatives_not_measured"]
    assert left_out["profile"] == "casual_male"
    assert left_out["code"] in ("all_providers_failed", "deadline_exceeded")
    assert ASKED["text"] not in reply.text
    calls = await emulator.calls()
    assert len({call.voice_id for call in calls}) == 5


async def test_an_agents_own_settings_are_not_those_of_the_alternatives(
    real: httpx.AsyncClient, emulator: EmulatorProcess
) -> None:
    own = PROFILES["friendly_female"].voices["en"].elevenlabs_voice
    agent = {"name": "A", "voice_settings": {"profile": "casual_male", "voice_id": own}}
    assert (await real.put("/agents/mine", json=agent)).status_code == 201
    reply = await real.post(
        PATH, json={**ASKED, "voice_agent_id": "mine", "quality_threshold": 1.0}
    )
    assert reply.json()["profile"] == "casual_male"
    voices = [call.voice_id or "" for call in await emulator.calls()]
    assert voices[0] == own
    assert sorted(voices[1:]) == sorted(
        profile.voices["en"].elevenlabs_voice
        for profile in PROFILES.values()
        if profile.id != "casual_male"
    )


def test_requests_that_cannot_be_carried_out(http: httpx.Client, speech: FakeSpeech) -> None:
    def code(**fields: Any) -> tuple[int, str]:
        reply = http.post(PATH, json={**ASKED, **fields})
        return reply.status_code, reply.json()["error"]["code"]

    for threshold in (-0.1, 1.1, "high"):
        assert code(quality_threshold=threshold) == (400, "invalid_request")
    assert code(format="mp3") == (400, "invalid_request")
    assert code(voice_agent_id="nobody") == (404, "agent_not_found")
    assert code(text="...") == (422, "text_empty")
    assert speech.calls == 0
    speech.fail_before = Busy("No room.", retry_after_s=2)
    assert code() == (503, "busy")
    measured = http.get("/performance").json()["measured"]
    assert measured["requests"] == 3
    assert measured["errors"] == {"agent_not_found": 1, "text_empty": 1, "busy": 1}


def test_it_takes_no_part_in_the_cache(http: httpx.Client, speech: FakeSpeech) -> None:
    speech.chunks = [tone(1500)]
    reply = http.post(PATH, json={**ASKED, "quality_threshold": 0})
    assert reply.status_code == 200, reply.text
    (request,) = speech.requests
    assert (request.enable_caching, request.output_format) == (False, "pcm_24000")
