"""A kept reply in pieces: it is cut where its clauses begin, so that it can be left there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from benchmarks.wordcode import decode, matches_segments
from core.audio.formats import resolve
from core.embedded import EmbeddedRedis
from core.synthesis.rendition import PIECE_MS
from tests.fakes import FakeVoice
from tests.player import decoded
from tests.synthesis.test_service import Bench, CodedVoice

TEXT = (
    "It has two large rooms, a kitchen and a balcony! Anna Smith asks a lot for it. "
    "Would you like to see it? We have time on Friday."
)
STARTS = [TEXT.index(word) for word in ("Anna", "Would", "We")]


@pytest.fixture
async def bench(redis_cache: EmbeddedRedis) -> AsyncIterator[Bench]:
    made = Bench(redis_cache, CodedVoice("elevenlabs"), FakeVoice("local"))
    made.codecs.open()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("output_format", "early_ms"),
    [("pcm_8000", 1), ("wav_22050", 1), ("ulaw", 1), ("mp3", 24), ("mp3_44100_128", 27)],
)
async def test_what_comes_before_a_clause_holds_nothing_of_it(
    bench: Bench, output_format: str, early_ms: float
) -> None:
    whole, _ = await bench.whole(TEXT, output_format=output_format)
    plan, trace = await bench.begin(TEXT, output_format=output_format)
    stream = bench.service.pieces(plan, trace, bench.service.new_deadline())
    pieces = [piece async for piece in stream]
    assert trace.rendition_source is not None, "it was kept"
    assert b"".join(piece.data for piece in pieces) == whole.audio
    assert max(piece.duration_ms for piece in pieces) < PIECE_MS + 30
    assert min(piece.duration_ms for piece in pieces[:-1]) >= 0
    starts_ms = {word.char_start: word.start_ms for word in whole.words}
    output = resolve(plan.output_format, 0)
    found: list[int] = []
    for at, piece in enumerate(pieces):
        begins = piece.next_clause
        if begins is None:
            continue
        found.append(begins.char)
        assert begins.offset_ms == pytest.approx(piece.offset_ms + piece.duration_ms)
        assert 0 <= starts_ms[begins.char] - begins.offset_ms + 1e-6 < early_ms
        assert (pieces[at + 1].clause_start_char, pieces[at + 1].clause_offset_ms) == (
            begins.char,
            begins.offset_ms,
        )
        samples = decoded(b"".join(p.data for p in pieces[: at + 1]), output)
        before = decode(samples.clip(-32768, 32767).astype("<i2").tobytes(), output.rate_hz)
        verdict = matches_segments(TEXT[: begins.char], before)
        assert verdict.ok, verdict
    assert found == STARTS
