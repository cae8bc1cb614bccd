"""How near the told place is to the true one where the voice tells no times of its words.

The word-coded voice says which words were heard; what it tells of them is kept from the gateway.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest

from benchmarks.wordcode import BURST_MS, decode, encode
from core.audio.pcm import BYTES_PER_S
from core.audio.quality import passing_s
from core.conversation.heard import split_spoken
from core.conversation.utterance import ClauseMark
from core.embedded import EmbeddedRedis
from core.providers.elevenlabs_words import AlignedSpeech
from core.speech import AudioChunk, SegmentPlan, WordTiming
from core.synthesis.live import SpokenPiece
from core.text.languages import Language
from core.text.words import words_of
from tests.fakes import FakeVoice
from tests.synthesis.test_service import Bench, CodedVoice

OFFSETS = 100
CHUNK_BYTES = BYTES_PER_S // 4
VOICE_STEPS = 4
"""Turns of the event loop that the voice gets for each piece that is sent."""
LEAD_MS = 3_000.0
"""So far the audio is ahead of its listener at the most."""
USUAL = 15.8
PACES = (14.5, 15.5, 16.2, 17.2)
"""The vendor's were 15.5 to 16.2 characters a second; the others are a character beyond."""

TEXTS: dict[Language, str] = {
    "en": "The flat on the third floor has two large bedrooms, a sunny living room with a balcony "
    "towards the park, and a kitchen that was renovated last year by the owner. He would be glad "
    "to show it to you on Friday afternoon, at any time you like.",
    "es": "El piso de la tercera planta tiene dos dormitorios grandes, un salón soleado con balcón "
    "hacia el parque y una cocina que el propietario reformó el año pasado. Con mucho gusto se lo "
    "enseñaría el viernes por la tarde, a la hora que usted prefiera.",
    "zh": "这套房子在三楼，有两间很大的卧室，客厅阳光充足，阳台朝向公园，厨房是房主去年"
    "刚刚装修过的。如果您愿意的话，星期五下午任何时间都可以带您去看一看。",
}


class Untimed(CodedVoice):
    """Says as much as the vendor does where its replies have no alignment."""

    def chunks_of(self, segment: SegmentPlan) -> list[AudioChunk]:
        pcm, _ = encode(segment.text)
        speech = AlignedSpeech(segment.text)
        found = [speech.feed(pcm[at : at + CHUNK_BYTES], None) for at in _steps(pcm)]
        return [chunk for chunk in (*found, speech.finish()) if chunk is not None]


def _steps(pcm: bytes) -> range:
    return range(0, len(pcm), CHUNK_BYTES)


@pytest.fixture
async def bench(redis_cache: EmbeddedRedis) -> AsyncIterator[Bench]:
    made = Bench(redis_cache, Untimed("elevenlabs"), FakeVoice("local"))
    made.codecs.open()
    yield made
    await made.close()


async def said(bench: Bench, text: str) -> list[SpokenPiece]:
    """The pieces of a text whose voice is ahead of its listener."""
    plan, trace = await bench.begin(text, enable_caching=False)
    pieces: list[SpokenPiece] = []
    async for piece in bench.service.pieces(plan, trace, bench.service.new_deadline()):
        pieces.append(piece)
        for _ in range(VOICE_STEPS):
            await asyncio.sleep(0)
    return pieces


@pytest.mark.parametrize("language", TEXTS)
async def test_of_a_clause_that_is_there_the_place_is_told_within_two_words(
    bench: Bench, language: Language
) -> None:
    text = TEXTS[language]
    pieces = await said(bench, text)
    heard = [w.start_ms + BURST_MS / 2 for w in decode(b"".join(p.data for p in pieces), 24_000)]
    assert len(heard) == len(words_of(text))
    dice = random.Random(20)
    off: list[int] = []
    for _ in range(OFFSETS):
        at_ms = dice.uniform(0, pieces[-1].offset_ms)
        sent_ms = at_ms + dice.uniform(0, LEAD_MS)
        sent = [piece for piece in pieces if piece.offset_ms <= sent_ms]
        words = [word for piece in sent for word in piece.words]
        assert at_ms < 1_000 or words[-1].end_ms >= at_ms - 1_000, "they come before their audio"
        marks = [ClauseMark(0, 0, 0.0)]
        follow = [piece.next_clause for piece in sent if piece.next_clause is not None]
        marks += [ClauseMark(0, begins.char, begins.offset_ms) for begins in follow]
        split = split_spoken(text, words, at_ms, marks)
        assert split.estimated or not split.spoken or not split.remaining
        off.append(len(words_of(split.spoken)) - sum(ms <= at_ms for ms in heard))
    print(f"\n{language}: {min(off)} to {max(off)} words")
    assert max(map(abs, off)) <= 2


def spoken_at(text: str, pace: float, dice: random.Random) -> list[WordTiming]:
    """Words one after another, each as long as it is written give or take a quarter."""
    found: list[WordTiming] = []
    at_ms = 0.0
    for word, after in pairwise([*words_of(text), None]):
        assert word is not None
        until = len(text) if after is None else after.start
        usual_ms = 1000 * passing_s(text[word.start : until], USUAL) * USUAL / pace
        end_ms = at_ms + usual_ms * dice.uniform(0.75, 1.25)
        found.append(WordTiming(word.text, round(at_ms), round(end_ms), word.start, word.end))
        at_ms = end_ms
    return found


def off_by(text: str, truth: Sequence[WordTiming], since: int, at_ms: float) -> int:
    """Words told beyond those that were heard, where the clause since that word has no timings."""
    marks = [ClauseMark(0, 0, 0.0), ClauseMark(0, truth[since].char_start, truth[since].start_ms)]
    split = split_spoken(text, truth[:since], at_ms, marks)
    heard = sum((word.start_ms + word.end_ms) / 2 < at_ms for word in truth)
    return len(words_of(split.spoken)) - heard


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("pace", PACES)
def test_of_a_clause_that_is_still_being_made_one_word_in_six_may_be_off_besides(
    language: Language, pace: float
) -> None:
    text, dice = TEXTS[language], random.Random(pace)
    for _ in range(OFFSETS):
        truth = spoken_at(text, pace, dice)
        at_ms = dice.uniform(0, truth[-1].end_ms)
        heard = sum(word.end_ms < at_ms for word in truth)
        assert abs(off_by(text, truth, 0, at_ms)) <= 2 + heard / 6


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("pace", PACES)
def test_behind_a_clause_whose_pace_is_known_two_words_are_off_at_the_most(
    language: Language, pace: float
) -> None:
    text, dice = TEXTS[language], random.Random(pace)
    second = next(n for n, w in enumerate(words_of(text)) if w.text[-1] in ".。") + 1
    for _ in range(OFFSETS):
        truth = spoken_at(text, pace, dice)
        at_ms = dice.uniform(truth[second].start_ms, truth[-1].end_ms)
        assert abs(off_by(text, truth, second, at_ms)) <= 2
