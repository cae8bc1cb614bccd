"""Speech from a program in Python."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import av
import pytest

from core.embedded import EmbeddedRedis
from core.errors import ConfigurationError, TextEmpty, UnknownAgent
from core.settings import Settings, load_settings
from core.voice_service import Language, VoiceService


@pytest.fixture
def env(
    redis_state: EmbeddedRedis, redis_cache: EmbeddedRedis, voice_server: Path, tmp_path: Path
) -> dict[str, str]:
    return {
        "SEIKETSU_DATA_DIR": str(tmp_path),
        "REDIS_URL": redis_state.url,
        "CACHE_REDIS_URL": redis_cache.url,
        "SEIKETSU_VOICE_SOCKET": str(voice_server),
    }


@pytest.fixture
def settings(env: dict[str, str]) -> Settings:
    return load_settings(env)


def _seconds(audio: bytes) -> float:
    with av.open(io.BytesIO(audio), mode="r") as file:
        stream = file.streams.audio[0]
        return sum(frame.samples for frame in file.decode(stream)) / stream.rate


async def test_it_speaks_and_tells_how(settings: Settings) -> None:
    async with VoiceService(settings) as service:
        agent = await service.get_voice_agent("agent_123")
        first = await service.synthesize_speech(
            text="Welcome to Seiketsu AI!",
            voice_agent=agent,
            language=Language.ENGLISH,
            optimize_for_speed=True,
        )
        again = await service.synthesize_speech("Welcome to Seiketsu AI!", "agent_123", "en")
    assert (first.cached, again.cached) == (False, True)
    assert again.audio == first.audio
    assert again.processing_time_ms < first.processing_time_ms
    assert first.content_type == "audio/mpeg"
    assert (first.provider, first.fallback, first.language) == ("local", False, "en")
    assert 0.5 < first.quality_score <= 1
    assert abs(_seconds(first.audio) * 1000 - first.duration_ms) < 150


async def test_the_text_decides_the_language(settings: Settings) -> None:
    async with VoiceService(settings) as service:
        spoken = await service.synthesize_speech(
            "El piso cuesta trescientos euros.", "agent_123", Language.AUTO, format="wav"
        )
    assert (spoken.language, spoken.content_type) == ("es", "audio/wav")


async def test_errors_are_those_of_the_product(settings: Settings) -> None:
    async with VoiceService(settings) as service:
        with pytest.raises(UnknownAgent):
            await service.get_voice_agent("nobody")
        with pytest.raises(TextEmpty):
            await service.synthesize_speech("...", "agent_123")
    with pytest.raises(ConfigurationError, match="initialize"):
        await service.synthesize_speech("Hello.", "agent_123")


async def test_it_opens_again_and_may_be_closed_by_another_task(settings: Settings) -> None:
    service = VoiceService(settings)
    for _ in range(2):
        await asyncio.gather(service.initialize(), service.initialize())
        await service.synthesize_speech("Hello.", "agent_123")
        await asyncio.create_task(service.close())
    await service.close()


@pytest.mark.parametrize(
    ("missing", "named"),
    [("REDIS_URL", "the state database"), ("SEIKETSU_VOICE_SOCKET", "the voice server")],
)
async def test_what_does_not_run_is_named(
    missing: str, named: str, env: dict[str, str], tmp_path: Path
) -> None:
    nowhere = f"{tmp_path}/nobody.sock"
    env[missing] = f"unix://{nowhere}" if missing == "REDIS_URL" else nowhere
    async with asyncio.timeout(20):
        with pytest.raises(ConfigurationError, match=f"{named}.*seiketsu up"):
            await VoiceService(load_settings(env)).initialize()


def test_the_example_runs_and_is_the_one_of_the_readme(
    env: dict[str, str], clean_environment: dict[str, str], repository: Path, tmp_path: Path
) -> None:
    run = subprocess.run(
        [sys.executable, str(repository / "tests" / "guide" / "python_use.py")],
        cwd=tmp_path,
        env={**clean_environment, **env, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "Cached: False" in run.stdout
    assert (tmp_path / "welcome.mp3").stat().st_size > 4000
    source = (repository / "tests" / "guide" / "python_use.py").read_text()
    body = source[source.index("import asyncio") :].strip()
    assert body in (repository / "README.md").read_text()
