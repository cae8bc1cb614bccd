"""Three languages and every kind of format, by the local voices alone, heard from outside."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio

from benchmarks.listener import Heard, listen
from benchmarks.stack import Stack, open_stack
from core.audio.formats import resolve
from core.audio.pcm import AUDIBLE_AMPLITUDE
from core.text.languages import Language
from tests.player import decoded
from tests.recogniser import Recogniser, word_error_rate
from tests.sentences import MOST_ERRORS, SENTENCES

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAM = "/api/v1/voice/streaming/synthesize/streaming"
WHOLE = "/api/v1/voice/synthesize"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with open_stack(slow_voice_processes=2) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser()


def body(text: str, **fields: Any) -> dict[str, Any]:
    return {"text": text, "voice_agent_id": "agent_123", "language": "auto"} | fields


async def whole(
    http: aiohttp.ClientSession, stack: Stack, text: str, **fields: Any
) -> tuple[dict[str, Any], bytes, int]:
    """The JSON reply, its audio as a player decodes it (16 bit mono), and the rate in Hz."""
    asked = body(text, include_audio=True, **fields)
    heard = await listen(http, "POST", stack.base_url + WHOLE, json=asked)
    assert heard.status == 200, heard.body
    reply: dict[str, Any] = heard.json()
    output = resolve(reply["format"], 0)
    samples = decoded(base64.b64decode(reply["audio_base64"]), output)
    return reply, samples.clip(-32_768, 32_767).astype("<i2").tobytes(), output.rate_hz


@pytest.mark.parametrize(
    "output_format",
    [
        "mp3",
        "ulaw",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("wav", "ogg", "pcm")),
    ],
)
@pytest.mark.parametrize("language", ["en", "es", pytest.param("zh", marks=pytest.mark.alone)])
async def test_a_recogniser_hears_what_was_written_in_the_language_the_text_chose(
    stack: Stack,
    http: aiohttp.ClientSession,
    recogniser: Recogniser,
    language: Language,
    output_format: str,
) -> None:
    texts: list[str] = []
    sentences = SENTENCES[language][: 6 if language == "zh" else 10]
    for text in sentences:
        reply, pcm, rate_hz = await whole(http, stack, text, format=output_format)
        assert (reply["language"], reply["provider"]) == (language, "local")
        assert abs(len(pcm) / 2 * 1000 / rate_hz - reply["duration_ms"]) <= 50
        texts.append(await asyncio.to_thread(recogniser.transcribe, pcm, rate_hz, language))
    said, heard = " ".join(sentences), " ".join(texts)
    assert word_error_rate(said, heard, language) <= MOST_ERRORS[language], heard


@pytest.mark.parametrize("language", ["en", "es", pytest.param("zh", marks=pytest.mark.long)])
async def test_segments_are_joined_to_the_sample_without_a_click(
    stack: Stack, http: aiohttp.ClientSession, language: Language
) -> None:
    sentences = SENTENCES[language][:3]
    joint = "" if language == "zh" else " "
    alone = [(await whole(http, stack, text, format="pcm"))[1] for text in sentences]
    _, together, _ = await whole(http, stack, joint.join(sentences), format="pcm")
    assert together == b"".join(alone)
    for pcm in alone:
        edges = np.abs(np.frombuffer(pcm, "<i2").astype(np.int32))[[0, -1]]
        assert edges.max() < AUDIBLE_AMPLITUDE, "a segment begins and ends in silence"


@pytest.mark.alone
async def test_a_mandarin_request_starts_in_time_or_is_refused_at_once(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    async def ask(number: int) -> tuple[Heard, float]:
        text = f"第{number}套房子离地铁站很近，周末可以带您去看。"
        began_s = time.monotonic()
        asked = body(text, format="pcm", enable_caching=False)
        heard = await listen(http, "POST", stack.base_url + STREAM, json=asked)
        return heard, (heard.ended_s - began_s) * 1000

    answers = await asyncio.gather(*(ask(number) for number in range(2, 8)))
    served = [heard for heard, _ in answers if heard.status == 200]
    refused = [(heard, took_ms) for heard, took_ms in answers if heard.status != 200]
    assert len(served) >= 2
    for heard in served:
        assert heard.complete
        assert (heard.listening().first_audio_ms or 9e9) <= 2000
    assert refused, "six at once are more than two processes can begin in time"
    for heard, took_ms in refused:
        assert heard.json()["error"]["code"] == "busy"
        assert float(heard.headers["retry-after"]) > 0
        assert took_ms <= 200


async def test_an_unknown_language_is_a_clear_error(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    asked = body("Bonjour.", language="fr")
    heard = await listen(http, "POST", stack.base_url + WHOLE, json=asked)
    assert heard.status == 422
    error = heard.json()["error"]
    assert error["code"] == "unsupported_language"
    assert "en, es, zh" in error["message"]
