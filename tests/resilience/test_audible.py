"""Only what can be heard gets through."""

from __future__ import annotations

import random
from contextlib import aclosing

import pytest

from core.audio.pcm import duration_ms
from core.errors import BadAudio
from core.resilience.audible import Audible
from tests.fakes import FakeVoice, call_of, segment_of, silence, tone


async def heard(voice: FakeVoice) -> list[bytes]:
    async with aclosing(Audible(voice).stream("Hi.", segment_of(), call_of())) as chunks:
        return [chunk.pcm async for chunk in chunks]


async def test_silence_before_the_first_sound_is_dropped_and_nothing_else() -> None:
    spoken = tone(300)
    chunks = await heard(FakeVoice(pieces=[silence(200), silence(116) + spoken, silence(80)]))
    whole = b"".join(chunks)
    assert 380 <= duration_ms(len(whole) // 2) <= 391
    assert whole.endswith(spoken[100:] + silence(80))


async def test_the_first_chunk_holds_enough_to_be_judged() -> None:
    spoken = tone(300)
    chunks = await heard(FakeVoice(pieces=[spoken[i : i + 480] for i in range(0, 14400, 480)]))
    assert len(chunks[0]) >= 2400
    assert b"".join(chunks) == spoken


async def test_a_sound_shorter_than_that_is_heard_all_the_same() -> None:
    assert b"".join(await heard(FakeVoice(pieces=[tone(20)]))) == tone(20)


@pytest.mark.parametrize("pieces", [[silence(500)], [silence(10)] * 5, [b"\x00\x00"]])
async def test_zero_audio_is_an_error(pieces: list[bytes]) -> None:
    voice = FakeVoice(pieces=pieces)
    with pytest.raises(BadAudio):
        await heard(voice)
    assert voice.open == 0


@pytest.mark.parametrize("size_bytes", [400, 2400, 40_000])
async def test_random_bytes_are_no_speech(size_bytes: int) -> None:
    dice = random.Random(3)
    noise = dice.randbytes(80_000)
    pieces = [noise[i : i + size_bytes] for i in range(0, len(noise), size_bytes)]
    voice = FakeVoice(pieces=pieces)
    with pytest.raises(BadAudio):
        await heard(voice)
    assert voice.open == 0
