"""The emulator speaks Mandarin and Spanish like the vendor: a time for each character, its pace."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import pairwise

import aiohttp
import pytest
import pytest_asyncio

from benchmarks import wordcode
from benchmarks.emulator.hibari_voice import HibariVoice
from benchmarks.emulator.process import EmulatorProcess
from core.audio.pcm import RATE_HZ
from core.audio.quality import is_plausible, quality_score
from core.providers.elevenlabs_wire import TimestampStream
from core.speech import WordTiming
from core.text.words import words_of
from tests.emulator.conftest import RACHEL

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = {
    "zh": [
        "这套公寓有两间卧室和一个很大的阳台。您想在星期六上午来看这套房子吗？",
        "请问WiFi密码是多少？“大堂里有写。”他说，房租是3.5万元。",
    ],
    "es": [
        "El piso tiene dos habitaciones y un balcón muy grande. ¿Le gustaría visitarlo?",
        "«El alquiler», dijo la Sra. Núñez, «es de 1.250,50 € al mes».",
    ],
}
CASES = [(language, text) for language, texts in TEXTS.items() for text in texts]


@pytest_asyncio.fixture(params=["coded", "words", "clips"], scope="module", loop_scope="module")
async def speaking(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, EmulatorProcess]]:
    async with EmulatorProcess("--audio", request.param, "--latency", "none") as started:
        yield request.param, started


async def said(emulator: EmulatorProcess, text: str) -> tuple[bytes, list[WordTiming], str]:
    """The audio and the words as our reader of the wire has them, and the characters aligned."""
    url = f"{emulator.url}/v1/text-to-speech/{RACHEL}/stream/with-timestamps"
    body = {"text": text, "model_id": "eleven_multilingual_v2"}
    async with (
        aiohttp.ClientSession(headers={"xi-api-key": "any"}) as http,
        http.post(f"{url}?output_format=pcm_24000", json=body) as reply,
    ):
        assert reply.status == 200
        received = await reply.read()
    stream = TimestampStream(text)
    chunks = stream.feed(received) + stream.finish()
    lines = [json.loads(line)["alignment"] for line in received.split(b"\n") if line]
    aligned = "".join(c for each in lines if each for c in each["characters"])
    return b"".join(c.pcm for c in chunks), [w for c in chunks for w in c.words], aligned


@pytest.mark.parametrize(("language", "text"), CASES)
async def test_every_character_has_its_time_and_the_audio_is_plausible(
    speaking: tuple[str, EmulatorProcess], language: str, text: str
) -> None:
    kind, emulator = speaking
    pcm, words, aligned = await said(emulator, text)
    assert aligned == text
    assert [w.text for w in words] == [w.text for w in words_of(text)]
    edges = [edge for w in words for edge in (w.start_ms, w.end_ms)]
    assert all(a <= b for a, b in pairwise(edges))
    assert edges[-1] <= len(pcm) / 2 / RATE_HZ * 1000 + 1
    report = quality_score(pcm, text, language)
    assert is_plausible(report, text)
    assert report.pace > 0.9, report
    if kind == "coded":
        verdict = wordcode.matches(text, wordcode.decode(pcm, RATE_HZ))
        assert verdict.ok, verdict


async def test_another_han_character_or_a_lost_one_is_heard() -> None:
    text = TEXTS["zh"][0]
    heard = wordcode.decode(wordcode.encode(text)[0], RATE_HZ)
    assert wordcode.matches(text, heard).ok
    assert wordcode.matches(text.replace("公寓", "房子", 1), heard).wrong == ("房", "子")
    assert wordcode.matches(text, heard[:4] + heard[5:]).missing == (text[4],)


@pytest.mark.parametrize(
    "text", ["好", "。", "“好的。”他说……", "abc好 def。", "🙂好", "価格は500円"]
)
async def test_any_chinese_text_has_its_words(text: str) -> None:
    _, words = HibariVoice().speak(text, 1.0, 1)
    assert [w.text for w in words] == [w.text for w in words_of(text)]
