"""The whole gateway with the local voice alone: no key, no provider, heard from outside."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from benchmarks.listener import listen
from benchmarks.stack import Stack, open_stack
from tests.recogniser import Recogniser, word_error_rate
from tests.voices.server import SENTENCES, TEN_WORDS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]

STREAM = "/api/v1/voice/streaming/synthesize/streaming"
WHOLE = "/api/v1/voice/synthesize"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with open_stack() as opened:
        yield opened


def body(text: str, **fields: Any) -> dict[str, Any]:
    return {"text": text, "voice_agent_id": "agent_123", "language": "en"} | fields


async def whole(
    http: aiohttp.ClientSession, stack: Stack, text: str, **fields: Any
) -> dict[str, Any]:
    heard = await listen(http, "POST", stack.base_url + WHOLE, json=body(text, **fields))
    assert heard.status == 200, heard.body
    reply: dict[str, Any] = heard.json()
    return reply


async def test_a_recogniser_hears_what_was_written(
    stack: Stack, http: aiohttp.ClientSession, recogniser: Recogniser
) -> None:
    heard_texts: list[str] = []
    for text in SENTENCES:
        heard = await listen(http, "POST", stack.base_url + STREAM, json=body(text))
        listening = heard.listening()
        assert heard.complete
        assert listening.error is None
        heard_texts.append(
            await asyncio.to_thread(recogniser.transcribe, listening.pcm, listening.rate_hz, "en")
        )
    assert word_error_rate(" ".join(SENTENCES), " ".join(heard_texts)) <= 0.03


@pytest.mark.parametrize("output_format", ["pcm", "mp3", "wav"])
async def test_ten_words_start_within_eighty_milliseconds(
    stack: Stack, http: aiohttp.ClientSession, output_format: str
) -> None:
    asked = body(TEN_WORDS, format=output_format, enable_caching=False)
    times: list[float] = []
    for _ in range(15):
        heard = await listen(http, "POST", stack.base_url + STREAM, json=asked)
        assert heard.headers["x-provider"] == "local"
        assert heard.headers["x-fallback"] == "false"
        times.append(heard.listening().first_audio_ms or 9e9)
    assert sorted(times)[len(times) // 2] < 80


async def test_the_link_in_the_reply_gives_the_audio(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    reply = await whole(http, stack, TEN_WORDS, format="wav", include_audio=True)
    assert (reply["status"], reply["provider"], reply["fallback"]) == ("success", "local", False)
    assert 0.5 < reply["quality_score"] <= 1
    heard = await listen(http, "GET", stack.base_url + reply["audio_url"])
    assert heard.complete
    listening = heard.listening()
    assert abs(listening.duration_ms - reply["duration_ms"]) <= 50
    assert reply["first_audio_ms"] <= reply["processing_time_ms"]


async def test_a_crashed_voice_costs_nobody_a_reply(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    async def killer() -> None:
        await asyncio.sleep(0.15)
        children = await asyncio.to_thread(_children_of, stack.voices_pid)
        os.kill(children[0], signal.SIGKILL)

    async def caller(number: int) -> str:
        text = f"{TEN_WORDS} This is caller number {number}, and there is more to say. " * 2
        heard = await listen(
            http, "POST", stack.base_url + WHOLE, json=body(text, enable_caching=False)
        )
        return "" if heard.status == 200 else heard.body.decode()

    task = asyncio.create_task(killer())
    served = await asyncio.gather(*(caller(number) for number in range(12)))
    await task
    assert not any(served), served


def _children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return [int(child) for child in listed.read().split()]
