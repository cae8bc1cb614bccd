"""The official SDK's `convert_realtime`, unmodified, over wss."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from websockets.exceptions import InvalidStatus

from benchmarks import wordcode
from benchmarks.emulator.process import EmulatorProcess
from benchmarks.listener import Piece, play
from tests.emulator.conftest import KEY, RACHEL
from tests.emulator.sockets import FLASH, SINGLE

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:ConnectionClosed\\..* is deprecated:DeprecationWarning"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command"),
]

TEXT = "Good morning, this is the house on Maple Street. Would Tuesday at five suit you?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secure() -> AsyncIterator[EmulatorProcess]:
    options = ("--audio", "coded", "--latency", "none", "--key", KEY, "--close-ms", "20")
    async with EmulatorProcess(*options, "--tls") as started:
        yield started


@pytest.fixture
def client(secure: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> ElevenLabs:
    assert secure.certificate is not None
    monkeypatch.setenv("SSL_CERT_FILE", secure.certificate)
    return ElevenLabs(api_key=KEY, base_url=secure.url)


def _words() -> Iterator[str]:
    for word in TEXT.split():
        yield f"{word} "


def _speak(client: ElevenLabs, voice: str = RACHEL, **fields: Any) -> bytes:
    speech = client.text_to_speech
    made = speech.convert_realtime(voice, text=_words(), **({"model_id": FLASH} | fields))
    return b"".join(made)


@pytest.mark.parametrize("output_format", ["mp3_44100_128", "pcm_24000"])
async def test_words_that_still_arrive_are_spoken_once_and_in_order(
    secure: EmulatorProcess, client: ElevenLabs, output_format: str
) -> None:
    await secure.clear_sockets()
    audio = await asyncio.to_thread(
        _speak,
        client,
        output_format=output_format,
        voice_settings=VoiceSettings(stability=0.4, speed=1.1),
    )
    heard = play([Piece(0.0, audio)], 0.0, output_format.removesuffix("_44100_128"))
    assert wordcode.matches_segments(TEXT, wordcode.decode(heard.pcm, heard.rate_hz)).ok
    (note,) = await secure.sockets()
    assert (note.route, note.query["output_format"]) == (SINGLE, output_format)
    assert (note.opened, note.closed_by_client, note.ended, note.close_code) == (1, 1, 1, 1000)


async def test_the_sdk_raises_what_the_service_says(
    secure: EmulatorProcess, client: ElevenLabs
) -> None:
    with pytest.raises(ApiError) as voice:
        await asyncio.to_thread(_speak, client, "nobody")
    assert voice.value.status_code == 1008
    assert "A voice with voice_id nobody does not exist." in str(voice.value.body)
    with pytest.raises(InvalidStatus) as model:
        await asyncio.to_thread(_speak, client, model_id="eleven_v3")
    assert model.value.response.status_code == 400
    await secure.set_fault("close", routes=[SINGLE], after_frames=1)
    with pytest.raises(ApiError) as closed:
        await asyncio.to_thread(_speak, client)
    assert closed.value.status_code == 1008
    assert "something went wrong" in str(closed.value.body)
