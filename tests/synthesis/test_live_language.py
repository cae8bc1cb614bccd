"""Speech of a text of which a part was said before keeps its language."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from core.embedded import EmbeddedRedis
from tests.fakes import FakeVoice, tone
from tests.synthesis.test_live import speech_of, tokens
from tests.synthesis.test_service import Bench, CodedVoice

NAME = "Marina Bay Towers."


@pytest.fixture
async def bench(redis_cache: EmbeddedRedis) -> AsyncIterator[Bench]:
    made = Bench(redis_cache, CodedVoice("elevenlabs"), FakeVoice("local", pieces=[tone(900)]))
    made.codecs.open()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("rest", "begun_in", "spoken_in"),
    [
        ("350.000 €.", None, ["en"]),
        ("350.000 €.", "es", ["es"]),
        (f"{NAME} 这套房子有两个房间, 还有一个花园。 {NAME}", "es", ["es", "zh", "es"]),
        (f"这套房子有两个房间。 {NAME}", "es", ["zh", "es"]),
    ],
)
async def test_what_follows_is_spoken_as_what_was_said_before(
    bench: Bench, rest: str, begun_in: str | None, spoken_in: list[str]
) -> None:
    stream, trace = speech_of(bench, tokens(rest), begun_in=begun_in)
    assert [piece async for piece in stream]
    found = [s.provenance.language for s in trace.segments if s.provenance is not None]
    assert found == spoken_in
    assert trace.language == spoken_in[0]
