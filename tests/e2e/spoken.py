"""What a caller hears of a whole text, in any language and kind of format."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp
import numpy as np
import pytest

from benchmarks.listener import listen
from benchmarks.stack import Stack
from core.audio.formats import resolve
from core.audio.pcm import AUDIBLE_AMPLITUDE
from core.text.languages import Language
from tests.player import decoded
from tests.recogniser import Recogniser, word_error_rate
from tests.sentences import MOST_ERRORS, SENTENCES

STREAM = "/api/v1/voice/streaming/synthesize/streaming"
WHOLE = "/api/v1/voice/synthesize"

EVERY_KIND = [
    "mp3",
    "ulaw",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("wav", "ogg", "pcm")),
]
"""A format of each kind."""


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


async def check_heard(
    stack: Stack,
    http: aiohttp.ClientSession,
    recogniser: Recogniser,
    language: Language,
    output_format: str,
) -> None:
    """A recogniser hears what was written, in the language that the text chose."""
    texts: list[str] = []
    sentences = SENTENCES[language][: 6 if language == "zh" else 10]
    for text in sentences:
        reply, pcm, rate_hz = await whole(http, stack, text, format=output_format)
        assert (reply["language"], reply["provider"]) == (language, "local")
        assert abs(len(pcm) / 2 * 1000 / rate_hz - reply["duration_ms"]) <= 50
        texts.append(await asyncio.to_thread(recogniser.transcribe, pcm, rate_hz, language))
    said, heard = " ".join(sentences), " ".join(texts)
    assert word_error_rate(said, heard, language) <= MOST_ERRORS[language], heard


async def check_joints(stack: Stack, http: aiohttp.ClientSession, language: Language) -> None:
    """Segments are joined to the sample, without a click."""
    sentences = SENTENCES[language][:3]
    joint = "" if language == "zh" else " "
    alone = [(await whole(http, stack, text, format="pcm"))[1] for text in sentences]
    _, together, _ = await whole(http, stack, joint.join(sentences), format="pcm")
    assert together == b"".join(alone)
    for pcm in alone:
        edges = np.abs(np.frombuffer(pcm, "<i2").astype(np.int32))[[0, -1]]
        assert edges.max() < AUDIBLE_AMPLITUDE, "a segment begins and ends in silence"
