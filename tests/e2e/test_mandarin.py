"""Mandarin in every kind of format, by its local voice, heard from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from benchmarks.listener import Heard, listen
from benchmarks.stack import Stack, open_stack
from tests.e2e.spoken import EVERY_KIND, STREAM, body, check_heard, check_joints
from tests.recogniser import Recogniser

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with open_stack(slow_voice_processes=2) as opened:
        yield opened


@pytest.mark.parametrize("output_format", EVERY_KIND)
async def test_a_recogniser_hears_what_was_written_in_the_language_the_text_chose(
    stack: Stack, http: aiohttp.ClientSession, recogniser: Recogniser, output_format: str
) -> None:
    await check_heard(stack, http, recogniser, "zh", output_format)


@pytest.mark.long
async def test_segments_are_joined_to_the_sample_without_a_click(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    await check_joints(stack, http, "zh")


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
