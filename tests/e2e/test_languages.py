"""English and Spanish in every kind of format, by the local voices alone, heard from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from benchmarks.listener import listen
from benchmarks.stack import Stack, open_stack
from core.text.languages import Language
from tests.e2e.spoken import EVERY_KIND, WHOLE, body, check_heard, check_joints
from tests.recogniser import Recogniser

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with open_stack() as opened:
        yield opened


@pytest.mark.parametrize("output_format", EVERY_KIND)
@pytest.mark.parametrize("language", ["en", "es"])
async def test_a_recogniser_hears_what_was_written_in_the_language_the_text_chose(
    stack: Stack,
    http: aiohttp.ClientSession,
    recogniser: Recogniser,
    language: Language,
    output_format: str,
) -> None:
    await check_heard(stack, http, recogniser, language, output_format)


@pytest.mark.parametrize("language", ["en", "es"])
async def test_segments_are_joined_to_the_sample_without_a_click(
    stack: Stack, http: aiohttp.ClientSession, language: Language
) -> None:
    await check_joints(stack, http, language)


async def test_an_unknown_language_is_a_clear_error(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    asked = body("Bonjour.", language="fr")
    heard = await listen(http, "POST", stack.base_url + WHOLE, json=asked)
    assert heard.status == 422
    error = heard.json()["error"]
    assert error["code"] == "unsupported_language"
    assert "en, es, zh" in error["message"]
