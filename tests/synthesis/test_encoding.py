"""Clauses that were encoded before are not decoded and encoded again, and nobody hears it."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from typing import ParamSpec, TypeVar

import msgspec
import numpy as np
import pytest

from core.audio.codecs import CodecPool, compress, decompress, pieces
from core.audio.formats import OutputFormat, resolve
from core.audio.pcm import samples_of
from core.cache.envelope import SegmentEntry
from core.embedded import EmbeddedRedis
from core.speech import Provenance
from core.synthesis.encoding import MAX_CLAUSES, Paths, UtteranceEncoder
from core.synthesis.live import HEARD_PIECE_BYTES, SpokenPiece
from tests.fakes import FakeVoice, tone
from tests.synthesis.test_live import check_clock, speech_of, tokens
from tests.synthesis.test_service import Bench, CodedVoice

FORMATS = ("mp3", "mp3_44100_128", "ulaw", "wav", "pcm_16000", "opus_48000_64", "ogg")
FIRST = "Sure, I can tell you about that flat. "
SECOND = "It has two large rooms and a balcony. "
THIRD = "Would you like to see it on Friday?"

P = ParamSpec("P")
T = TypeVar("T")


class CountingPool(CodecPool):
    """Tells how often its threads were asked."""

    asked = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.asked += 1
        return await super().run(function, *args, **kwargs)


@pytest.fixture
async def bench(redis_cache: EmbeddedRedis) -> AsyncIterator[Bench]:
    made = Bench(redis_cache, CodedVoice("elevenlabs"), FakeVoice("local", pieces=[tone(900)]))
    made.codecs.open()
    yield made
    await made.close()


async def said(bench: Bench, text: str, output_format: str) -> list[SpokenPiece]:
    stream, _ = speech_of(bench, tokens(text, 60, 0), output_format=output_format)
    found = [piece async for piece in stream]
    await bench.settled()
    return found


def body_of(spoken: list[SpokenPiece]) -> bytes:
    return b"".join(piece.data for piece in spoken)


@pytest.mark.parametrize("name", FORMATS)
async def test_a_text_said_again_and_again_is_the_same_audio(bench: Bench, name: str) -> None:
    text = FIRST + SECOND
    first, second, third = [await said(bench, text, name) for _ in range(3)]
    for spoken in (first, second, third):
        check_clock(spoken)
        assert body_of(spoken) == body_of(first)
        assert [w for p in spoken for w in p.words] == [w for p in first for w in p.words]
    assert [(p.data, p.offset_ms, p.duration_ms) for p in third] == [
        (p.data, p.offset_ms, p.duration_ms) for p in second
    ]
    # Another ending after a known beginning, and one after two known clauses.
    await said(bench, FIRST + THIRD, name)
    for ending in (THIRD, SECOND + THIRD):
        joined = await said(bench, FIRST + ending, name)
        check_clock(joined)
        again = await said(bench, FIRST + ending, name)
        bench.cache.memory.clear_all()  # what was encoded is in memory alone
        assert body_of(await said(bench, FIRST + ending, name)) == body_of(joined) == body_of(again)


async def test_nothing_is_decoded_or_encoded_the_third_time(redis_cache: EmbeddedRedis) -> None:
    codecs = CountingPool()
    bench = Bench(redis_cache, CodedVoice("elevenlabs"), None, codecs)
    codecs.open()
    await said(bench, FIRST + SECOND, "mp3")
    await said(bench, FIRST + SECOND, "mp3")
    asked = codecs.asked
    spoken = await said(bench, FIRST + SECOND, "mp3")
    assert codecs.asked == asked
    assert spoken[-1].data
    assert bench.asked.calls == 2
    await bench.close()


async def test_another_tenant_and_another_recording_have_paths_of_their_own(bench: Bench) -> None:
    key, codecs = "k1", bench.codecs
    now_s = time.time()
    kept = [await entry_of(noise(0.5, seed), now_s - seed) for seed in (1, 2)]
    for _ in range(2):
        heard = [
            await encoded(UtteranceEncoder(MP3, codecs, Paths(bench.cache, tenant)), bench, [one])
            for tenant, one in (("a", kept[0]), ("a", kept[1]), ("b", kept[0]))
        ]
        assert heard[0] == heard[2] != heard[1]
    for tenant, found in (("a", True), ("b", True), ("c", False)):
        encoder = UtteranceEncoder(MP3, codecs, Paths(bench.cache, tenant))
        assert (encoder.known(kept[0], key) is not None) is found


@pytest.mark.parametrize("name", FORMATS)
async def test_whatever_was_said_before_the_audio_is_as_if_nothing_was(
    bench: Bench, name: str
) -> None:
    dice = random.Random(7)
    output = resolve(name, 128)
    kept = [await entry_of(noise(dice.uniform(0.004, 0.9), seed)) for seed in range(2)]
    paths, known = Paths(bench.cache, "t"), 0
    for _ in range(30):
        clauses = [dice.choice(kept) for _ in range(dice.randint(1, 3))]
        fresh = dice.choice((0, 0, 1, 2))  # from there on it was not kept
        plain = await encoded(UtteranceEncoder(output, bench.codecs), bench, clauses)
        encoder = UtteranceEncoder(output, bench.codecs, paths)
        assert await encoded(encoder, bench, clauses, fresh or None) == plain
        known += encoder._opened is None
    assert known > 3, "nothing was ever reused"


async def test_a_path_has_an_end(bench: Bench) -> None:
    one = await entry_of(noise(0.2, 1))
    for _ in range(2):
        encoder = UtteranceEncoder(MP3, bench.codecs, Paths(bench.cache, "t"))
        found = []
        for _ in range(MAX_CLAUSES + 2):
            found.append(encoder.known(one, "k1") is not None)
            if not found[-1]:
                await encoder.feed(await decompress(one, bench.codecs))
                encoder.made(of_entry=True)
    assert found == [True] * MAX_CLAUSES + [False, False]


MP3: OutputFormat = resolve("mp3", 128)


def noise(seconds: float, seed: int) -> bytes:
    samples = np.random.default_rng(seed).normal(0, 3000, round(24_000 * seconds))
    return samples.clip(-32768, 32767).astype("<i2").tobytes()


async def entry_of(pcm: bytes, created_unix_s: float = 0.0) -> SegmentEntry:
    async with CodecPool() as codecs:
        codec, audio = await compress(pcm, codecs)
    provenance = Provenance("p", "v", "m", "en", created_unix_s=created_unix_s)
    return SegmentEntry(codec, audio, samples_of(len(pcm)), (), provenance, quality_score=1.0)


async def encoded(
    encoder: UtteranceEncoder,
    bench: Bench,
    clauses: list[SegmentEntry],
    kept: int | None = None,
) -> bytes:
    """All of an utterance; only its first `kept` clauses come from the cache, or all."""
    out: list[bytes] = []
    for number, entry in enumerate(clauses):
        from_cache = kept is None or number < kept
        known = encoder.known(entry if from_cache else None, "k1")
        if known is not None:
            out += [data for _, data in known.pieces]
            continue
        pcm = await decompress(entry, bench.codecs)
        for piece in pieces(pcm, HEARD_PIECE_BYTES):
            out.append(await encoder.feed(piece))
        encoder.made(of_entry=from_cache)
    return b"".join([*out, await encoder.finish()])


async def test_after_a_recording_that_cannot_be_read_nothing_is_kept(bench: Bench) -> None:
    now_s = time.time()
    first, second = [await entry_of(noise(0.5, seed), now_s - seed) for seed in (1, 2)]
    damaged = msgspec.structs.replace(first, audio=first.audio[: len(first.audio) // 2])
    paths = Paths(bench.cache, "t")
    await encoded(UtteranceEncoder(MP3, bench.codecs, paths), bench, [first])
    await encoded(UtteranceEncoder(MP3, bench.codecs, paths), bench, [damaged, second])
    plain = await encoded(UtteranceEncoder(MP3, bench.codecs), bench, [first, second])
    again = UtteranceEncoder(MP3, bench.codecs, paths)
    assert await encoded(again, bench, [first, second]) == plain
