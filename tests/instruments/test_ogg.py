"""The listener's Opus: what a player would hide is an error."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from benchmarks.decoders import DecodeError, decoder_for
from core.audio.codecs import open_encoder
from core.audio.formats import resolve
from core.audio.pool import CodecPool

SAMPLES = 24_011


@pytest.fixture
async def body() -> AsyncIterator[bytes]:
    tone = 8_000 * np.sin(2 * np.pi * 300 * np.arange(SAMPLES) / 24_000)
    async with CodecPool() as pool:
        encoder = open_encoder(resolve("ogg", 0), pool)
        yield await encoder.feed(tone.astype("<i2").tobytes()) + await encoder.finish()


@pytest.mark.parametrize("step", [1, 27, 4_096, 10**6])
@pytest.mark.parametrize("name", ["ogg", "opus_48000_64", "audio/ogg; codecs=opus", "audio/opus"])
def test_any_cut_gives_the_same_samples(body: bytes, step: int, name: str) -> None:
    decoder = decoder_for(name)
    heard = [decoder.feed(body[at : at + step]) for at in range(0, len(body), step)]
    assert decoder.finish().size == 0
    assert decoder.rate_hz == 48_000
    assert sum(part.size for part in heard) == 2 * SAMPLES


def test_what_is_not_whole_is_an_error(body: bytes) -> None:
    def page_at(near: int) -> int:
        return body.index(b"OggS", near)

    first, second = page_at(2_000), page_at(page_at(2_000) + 4)
    broken = {
        "without its last page": body[: body.rindex(b"OggS")],
        "cut inside a page": body[: first + 40],
        "without a page": body[:first] + body[second:],
        "with a page twice": body[:second] + body[first:],
        "with a changed byte": body[: first + 60]
        + bytes([body[first + 60] ^ 1])
        + body[first + 61 :],
        "longer than its end": body + body[first:second],
        "empty": b"",
        "not ogg": b"RIFF" * 20,
    }
    for what, data in broken.items():
        assert _fault(data) is not None, what
    assert _fault(body) is None


def _fault(data: bytes) -> DecodeError | None:
    decoder = decoder_for("ogg")
    try:
        decoder.feed(data)
        decoder.finish()
    except DecodeError as fault:
        return fault
    return None


def test_what_came_before_a_fault_is_kept(body: bytes) -> None:
    at = body.index(b"OggS", len(body) // 2)
    with pytest.raises(DecodeError) as fault:
        decoder_for("ogg").feed(body[:at] + b"junk" * 20)
    assert 0.3 * SAMPLES < fault.value.samples.size < 2 * SAMPLES
