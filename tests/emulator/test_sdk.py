"""The official `elevenlabs` SDK, unmodified, against the emulator."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from elevenlabs import VoiceSettings
from elevenlabs.client import AsyncElevenLabs, ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.errors import UnprocessableEntityError
from elevenlabs.types import SubscriptionResponse

from benchmarks import wordcode
from benchmarks.emulator.catalogue import VOICES
from benchmarks.emulator.process import EmulatorProcess
from benchmarks.listener import Piece, play
from tests.emulator.conftest import KEY, RACHEL

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "Good morning, this is the house on Maple Street. Would Tuesday at five suit you?"
FLASH = "eleven_flash_v2_5"


def _says(audio: bytes, audio_format: str, text: str = TEXT) -> bool:
    heard = play([Piece(0.0, audio)], 0.0, audio_format)
    assert heard.error is None
    return wordcode.matches(text, wordcode.decode(heard.pcm, heard.rate_hz)).ok


@pytest.fixture
def web() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10) as made:
        yield made


@pytest.fixture
def client(emulator: EmulatorProcess, web: httpx.Client) -> ElevenLabs:
    return ElevenLabs(api_key=KEY, base_url=emulator.url, httpx_client=web)


async def test_convert(emulator: EmulatorProcess, client: ElevenLabs) -> None:
    def convert() -> bytes:
        return b"".join(client.text_to_speech.convert(RACHEL, text=TEXT))

    assert _says(await asyncio.to_thread(convert), "mp3")
    (call,) = await emulator.calls()
    assert (call.route, call.voice_id, call.status) == ("convert", RACHEL, 200)
    assert (call.model_id, call.output_format) == ("eleven_multilingual_v2", "mp3_44100_128")


@pytest.mark.parametrize(
    "output_format", ["pcm_24000", "pcm_16000", "mp3_22050_32", "mp3_24000_48", "ulaw_8000"]
)
async def test_stream(emulator: EmulatorProcess, client: ElevenLabs, output_format: str) -> None:
    def stream() -> bytes:
        pieces = client.text_to_speech.stream(
            RACHEL,
            text=TEXT,
            model_id=FLASH,
            output_format=output_format,
            voice_settings=VoiceSettings(stability=0.8, speed=1.1),
            optimize_streaming_latency=2,
            seed=7,
        )
        return b"".join(pieces)

    assert _says(await asyncio.to_thread(stream), output_format)
    (call,) = await emulator.calls()
    assert call.body["voice_settings"] == {"stability": 0.8, "speed": 1.1}


async def test_convert_with_timestamps(emulator: EmulatorProcess, client: ElevenLabs) -> None:
    reply = await asyncio.to_thread(
        client.text_to_speech.convert_with_timestamps,
        RACHEL,
        text=TEXT,
        model_id=FLASH,
        output_format="pcm_24000",
    )
    assert reply.alignment is not None
    assert reply.normalized_alignment is not None
    assert "".join(reply.alignment.characters) == TEXT
    assert "".join(reply.normalized_alignment.characters) == " " + TEXT
    audio = base64.b64decode(reply.audio_base_64)
    assert _says(audio, "pcm_24000")
    ends = reply.alignment.character_end_times_seconds
    assert ends == sorted(ends)
    assert ends[-1] <= len(audio) / 48_000


async def test_stream_with_timestamps(emulator: EmulatorProcess, client: ElevenLabs) -> None:
    def stream() -> list[tuple[bytes, str, list[float]]]:
        chunks = client.text_to_speech.stream_with_timestamps(
            RACHEL, text=TEXT, model_id=FLASH, output_format="pcm_24000"
        )
        found = []
        for chunk in chunks:
            names = chunk.alignment
            letters = "".join(names.characters) if names else ""
            starts = names.character_start_times_seconds if names else []
            found.append((base64.b64decode(chunk.audio_base_64), letters, list(starts)))
        return found

    chunks = await asyncio.to_thread(stream)
    assert len(chunks) > 3
    assert _says(b"".join(audio for audio, _, _ in chunks), "pcm_24000")
    assert "".join(letters for _, letters, _ in chunks) == TEXT
    starts = [at for _, _, part in chunks for at in part]
    assert starts == sorted(starts)
    assert all(22_000 <= len(audio) <= 28_000 for audio, _, _ in chunks[:-1])
    timings = wordcode.encode(TEXT)[1]
    assert all(abs(starts[t.char_start] * 1000 - t.start_ms) < 2 for t in timings)


async def test_async_client(emulator: EmulatorProcess) -> None:
    async with httpx.AsyncClient() as http:
        asynchronous = AsyncElevenLabs(api_key=KEY, base_url=emulator.url, httpx_client=http)
        pieces = asynchronous.text_to_speech.stream(
            RACHEL, text=TEXT, model_id=FLASH, output_format="pcm_24000"
        )
        assert _says(b"".join([piece async for piece in pieces]), "pcm_24000")


async def test_voices_models_and_subscription(
    emulator: EmulatorProcess, client: ElevenLabs
) -> None:
    every = await asyncio.to_thread(client.voices.get_all)
    assert {voice.voice_id for voice in every.voices} == set(VOICES)
    page = await asyncio.to_thread(client.voices.search, page_size=3)
    assert (len(page.voices), page.has_more, page.total_count) == (3, True, 5)
    rest = await asyncio.to_thread(
        client.voices.search, page_size=3, next_page_token=page.next_page_token
    )
    assert {v.voice_id for v in [*page.voices, *rest.voices]} == set(VOICES)
    assert not rest.has_more
    found = await asyncio.to_thread(client.voices.search, search="alice")
    assert [voice.name for voice in found.voices] == ["Alice"]
    rachel = await asyncio.to_thread(client.voices.get, RACHEL)
    assert (rachel.name, rachel.category) == ("Rachel", "premade")
    models = await asyncio.to_thread(client.models.list)
    assert {FLASH, "eleven_multilingual_v2", "eleven_v3"} <= {m.model_id for m in models}
    user = await asyncio.to_thread(client.user.get)
    assert user.subscription.tier == "creator"


async def test_credits_are_counted_half_for_flash(
    emulator: EmulatorProcess, client: ElevenLabs
) -> None:
    get = client.user.subscription.get

    async def spent(model_id: str) -> int:
        before = (await asyncio.to_thread(get)).character_count
        await asyncio.to_thread(
            lambda: b"".join(
                client.text_to_speech.convert(RACHEL, text="x" * 51, model_id=model_id)
            )
        )
        after: SubscriptionResponse = await asyncio.to_thread(get)
        return int(after.character_count - before)

    assert await spent(FLASH) == 26
    assert await spent("eleven_multilingual_v2") == 51


async def test_errors_have_the_vendors_classes_and_bodies(
    emulator: EmulatorProcess, client: ElevenLabs
) -> None:

    def fails(**fields: Any) -> ApiError:
        voice = fields.pop("voice_id", RACHEL)
        with pytest.raises(ApiError) as caught:
            b"".join(client.text_to_speech.convert(voice, **fields))
        return caught.value

    unknown = await asyncio.to_thread(fails, voice_id="nobody", text=TEXT)
    assert unknown.status_code == 404
    assert unknown.body["detail"]["code"] == "voice_not_found"
    assert "request-id" not in (unknown.headers or {})
    assert len(unknown.body["detail"]["request_id"]) == 32
    model = await asyncio.to_thread(fails, text=TEXT, model_id="eleven_v9")
    assert (model.status_code, model.body["detail"]["code"]) == (400, "model_not_found")
    gated = await asyncio.to_thread(fails, text=TEXT, output_format="pcm_44100")
    assert (gated.status_code, gated.body["detail"]["code"]) == (403, "subscription_required")
    wrong = await asyncio.to_thread(fails, text=None)
    assert isinstance(wrong, UnprocessableEntityError)
    metadata = await asyncio.to_thread(_failing_get, client)
    assert (metadata.status_code, metadata.body["detail"]["code"]) == (400, "voice_not_found")


def _failing_get(client: ElevenLabs) -> ApiError:
    with pytest.raises(ApiError) as caught:
        client.voices.get("nobody")
    return caught.value


async def test_wrong_keys(emulator: EmulatorProcess, web: httpx.Client) -> None:
    def status(key: str) -> tuple[int | None, str]:
        other = ElevenLabs(api_key=key, base_url=emulator.url, httpx_client=web)
        with pytest.raises(ApiError) as caught:
            other.models.list()
        return caught.value.status_code, caught.value.body["detail"]["code"]

    assert await asyncio.to_thread(status, "sk_" + "0" * 48) == (400, "invalid_api_key")
    assert await asyncio.to_thread(status, "nonsense") == (401, "unauthorized")


async def test_json_calls_are_retried_by_the_sdk_and_streams_are_not(
    emulator: EmulatorProcess, client: ElevenLabs
) -> None:
    await emulator.set_fault("system_busy", count=1, routes=["models"])
    assert await asyncio.to_thread(client.models.list)
    assert [c.status for c in await emulator.calls(speech_only=False)] == [429, 200]
    await emulator.clear_calls()
    await emulator.set_fault("rate_limit_exceeded", count=1)
    with pytest.raises(ApiError) as caught:
        await asyncio.to_thread(
            lambda: b"".join(client.text_to_speech.stream(RACHEL, text=TEXT, model_id=FLASH))
        )
    assert caught.value.status_code == 429
    assert len(await emulator.calls()) == 1


async def test_a_cut_stream_is_an_error_for_the_sdk(
    emulator: EmulatorProcess, client: ElevenLabs
) -> None:
    await emulator.set_fault("truncate")
    with pytest.raises(httpx.RemoteProtocolError):
        await asyncio.to_thread(
            lambda: b"".join(client.text_to_speech.stream(RACHEL, text=TEXT, model_id=FLASH))
        )


async def test_broken_lines_are_dropped_by_the_sdk(
    emulator: EmulatorProcess, client: ElevenLabs
) -> None:
    await emulator.set_fault("broken_json")
    chunks = await asyncio.to_thread(
        lambda: list(client.text_to_speech.stream_with_timestamps(RACHEL, text=TEXT))
    )
    assert chunks == []
    assert (await emulator.calls())[0].fault == "broken_json"
