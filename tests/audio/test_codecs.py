from __future__ import annotations

import asyncio
import io
import threading
import time
import wave

import numpy as np
import pytest

from core.audio.codecs import Encoder, compress, decompress, open_encoder, pieces
from core.audio.formats import FORMATS, MP3_KBPS, resolve
from core.audio.pcm import AUDIBLE_AMPLITUDE
from core.audio.pool import CodecPool
from core.audio.silence import LeadTrimmer
from core.cache.envelope import SegmentEntry
from core.errors import StoreError
from core.speech import AudioChunk, Provenance
from tests.audio.conftest import samples
from tests.player import decoded

PROVENANCE = Provenance(provider="local", voice="hibari/heart", model="hibari", language="en")


async def encoded(encoder: Encoder, pcm: bytes, piece_bytes: int = 4800) -> bytes:
    out = [await encoder.feed(pcm[at : at + piece_bytes]) for at in range(0, len(pcm), piece_bytes)]
    return b"".join((*out, await encoder.finish()))


@pytest.mark.parametrize("kbps", MP3_KBPS)
async def test_mp3_has_the_length_of_the_audio(
    kbps: int, pool: CodecPool, ten_seconds: bytes
) -> None:
    output = resolve("mp3", kbps)
    for length in (480, 4_801, 24_000, 100_003, 240_000):
        pcm = ten_seconds[: 2 * length]
        encoder = open_encoder(output, pool)
        body = await encoded(encoder, pcm)
        asked = length * output.rate_hz / 24_000
        running = len(decoded(body, output)) - asked
        assert 0 <= running < output.rate_hz * 0.050, f"{running} samples more while streaming"
        assert abs(len(decoded(encoder.seal(body), output)) - asked) <= 0.5


async def test_mp3_sounds_at_the_same_time_and_like_the_audio(
    pool: CodecPool, ten_seconds: bytes
) -> None:
    output = resolve("mp3", 128)
    encoder = open_encoder(output, pool)
    heard = decoded(encoder.seal(await encoded(encoder, ten_seconds)), output)
    said = samples(ten_seconds)
    error = float(np.sqrt(np.mean((heard - said) ** 2)))
    assert error < 0.1 * float(np.sqrt(np.mean(said**2)))
    shifted = float(np.sqrt(np.mean((heard[12:] - said[:-12]) ** 2)))
    assert error < 0.5 * shifted, "half a millisecond off would be closer"


async def test_streamed_and_sealed_bodies_are_equally_long(
    pool: CodecPool, ten_seconds: bytes
) -> None:
    for output in FORMATS.values():
        encoder = open_encoder(output, pool)
        body = await encoded(encoder, ten_seconds)
        assert len(encoder.seal(body)) == len(body)


@pytest.mark.parametrize("kbps", [32, 128])
async def test_100_ms_are_enough_to_hear_mp3(
    kbps: int, pool: CodecPool, ten_seconds: bytes
) -> None:
    trimmed = LeadTrimmer().feed(AudioChunk(pcm=ten_seconds))
    assert trimmed is not None
    output = resolve("mp3", kbps)
    encoder = open_encoder(output, pool)
    body = b""
    first_bytes_ms = audible_ms = 0
    for fed_ms in range(10, 201, 10):
        body += await encoder.feed(trimmed.pcm[480 * (fed_ms // 10 - 1) : 480 * (fed_ms // 10)])
        first_bytes_ms = first_bytes_ms or (fed_ms if body else 0)
        if body and np.abs(decoded(body, output)).max(initial=0.0) > AUDIBLE_AMPLITUDE:
            audible_ms = fed_ms
            break
    print(f"{kbps} kbit/s: first bytes after {first_bytes_ms} ms, audible after {audible_ms} ms")
    assert 0 < first_bytes_ms <= 60
    assert 0 < audible_ms <= 100


@pytest.mark.parametrize("name", ["mp3", "ogg", "opus_48000_32", "ulaw", "pcm_16000"])
async def test_nothing_fed_gives_nothing(name: str, pool: CodecPool) -> None:
    encoder = open_encoder(resolve(name, 128), pool)
    assert await encoder.feed(b"") == b""
    assert await encoder.finish() == b""
    assert encoder.seal(b"") == b""
    with pytest.raises(RuntimeError):
        await encoder.feed(bytes(960))


@pytest.mark.parametrize("name", ["mp3", "ogg", "mp3_44100_128"])
async def test_a_cancelled_encoder_is_not_used_again(
    name: str, pool: CodecPool, ten_seconds: bytes
) -> None:
    long = ten_seconds * 3
    output = resolve(name, 128)
    encoder = open_encoder(output, pool)
    await encoder.feed(long[:4800])
    feeding = asyncio.create_task(encoder.feed(long))
    await asyncio.sleep(0.002)
    feeding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await feeding
    with pytest.raises(RuntimeError):
        await encoder.feed(long[:4800])
    other = open_encoder(output, pool)
    body = await encoded(other, ten_seconds)
    assert (
        len(decoded(other.seal(body), output)) == len(ten_seconds) // 2 * output.rate_hz // 24_000
    )


async def test_cancelling_many_encoders_leaves_the_pool_whole(ten_seconds: bytes) -> None:
    async with CodecPool(threads=2) as pool:
        tasks = [
            asyncio.create_task(open_encoder(resolve("mp3", 128), pool).feed(ten_seconds))
            for _ in range(20)
        ]
        await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        began = time.perf_counter()
        await open_encoder(resolve("mp3", 128), pool).feed(ten_seconds)
        waited_s = time.perf_counter() - began
        assert waited_s < 1.0, "the cancelled work was done nevertheless"
    assert not [t for t in threading.enumerate() if t.name.startswith("codec")]


async def test_a_pool_works_only_while_it_is_open(ten_seconds: bytes) -> None:
    pool = CodecPool()
    assert not [t for t in threading.enumerate() if t.name.startswith("codec")]
    with pytest.raises(RuntimeError):
        await compress(ten_seconds, pool)
    pool.open()
    await compress(ten_seconds, pool)
    await pool.aclose()
    await pool.aclose()
    with pytest.raises(RuntimeError):
        await compress(ten_seconds, pool)


@pytest.mark.parametrize("name", ["mp3", "mp3_44100_128", "ogg"])
async def test_encoding_does_not_hold_up_the_loop(
    name: str, pool: CodecPool, ten_seconds: bytes
) -> None:
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append((time.perf_counter() - began) * 1000 - 1)

    ticking = asyncio.create_task(tick())
    began = time.perf_counter()
    rounds = 8
    for _ in range(rounds):
        encoder = open_encoder(resolve(name, 128), pool)
        for piece in pieces(ten_seconds * 3):
            await encoder.feed(piece)
    took_ms = (time.perf_counter() - began) * 1000 / rounds
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
    late = sorted(gaps)
    print(
        f"30 s of {name}: {took_ms:.1f} ms ({took_ms / 30:.2f} ms per s), loop late by p50 "
        f"{late[len(late) // 2]:.2f}, p99 {late[int(len(late) * 0.99)]:.2f}, max {late[-1]:.2f} ms"
    )
    # Held up, the loop would tick about once a piece (16 a round); free, every millisecond or two.
    assert len(gaps) > rounds * took_ms / 6
    assert late[len(late) // 2] < 1.0


async def test_wav_streams_with_unknown_and_seals_with_exact_sizes(
    pool: CodecPool, ten_seconds: bytes
) -> None:
    encoder = open_encoder(resolve("wav", 128), pool)
    body = await encoded(encoder, ten_seconds)
    assert np.array_equal(decoded(body, resolve("wav", 0)), samples(ten_seconds))
    assert int.from_bytes(body[40:44], "little") == 0xFFFFFFFF
    with wave.open(io.BytesIO(encoder.seal(body))) as read:
        assert (read.getnchannels(), read.getsampwidth(), read.getframerate()) == (1, 2, 24_000)
        assert read.getnframes() == len(ten_seconds) // 2
        assert read.readframes(read.getnframes()) == ten_seconds
    assert int.from_bytes(encoder.seal(body)[4:8], "little") == len(body) - 8


async def test_wav_without_audio_is_a_whole_file(pool: CodecPool) -> None:
    encoder = open_encoder(resolve("wav", 128), pool)
    with wave.open(io.BytesIO(encoder.seal(await encoder.finish()))) as read:
        assert read.getnframes() == 0


async def test_pcm_is_left_as_it_is(pool: CodecPool, ten_seconds: bytes) -> None:
    encoder = open_encoder(resolve("pcm", 128), pool)
    assert encoder.seal(await encoded(encoder, ten_seconds)) == ten_seconds


def test_pieces_are_the_whole_with_a_short_first() -> None:
    for length in (0, 2, 4_800, 4_802, 96_000, 500_002):
        pcm = bytes(i % 251 for i in range(length))
        cut = list(pieces(pcm))
        assert b"".join(cut) == pcm
        assert len(cut[0]) <= 4_800
        assert all(len(piece) % 2 == 0 for piece in cut)


async def test_flac_keeps_every_sample_at_about_half_the_size(
    pool: CodecPool, spoken: dict[str, bytes], ten_seconds: bytes
) -> None:
    for pcm in (*spoken.values(), ten_seconds, ten_seconds[:4_802]):
        began = time.perf_counter()
        codec, audio = await compress(pcm, pool)
        middle = time.perf_counter()
        entry = SegmentEntry(codec, audio, len(pcm) // 2, (), PROVENANCE)
        assert await decompress(entry, pool) == pcm
        assert audio[:8] == b"fLaC\x80\0\0\x22"
        assert int.from_bytes(audio[21:26]) & 0xF_FFFF_FFFF == len(pcm) // 2, "samples in the whole"
        assert audio[26:42] == bytes(16), "no digest, and none that is wrong"
        per_s = len(pcm) / 48_000 / 1000
        print(
            f"{len(pcm) / 48_000:.1f} s: {codec} {len(audio) / len(pcm):.2f} of the size, compress "
            f"{(middle - began) / per_s:.2f}, decompress "
            f"{(time.perf_counter() - middle) / per_s:.2f} ms per s"
        )
        assert codec == "flac"
    assert len((await compress(ten_seconds, pool))[1]) < 0.6 * len(ten_seconds)


async def test_what_flac_cannot_shorten_is_kept_as_it_is(pool: CodecPool) -> None:
    noise = np.random.default_rng(1).bytes(48_000)
    assert await compress(noise, pool) == ("pcm", noise)
    short = bytes(2_000)
    assert await compress(short, pool) == ("pcm", short)
    assert await decompress(SegmentEntry("pcm", noise, 24_000, (), PROVENANCE), pool) == noise


async def test_an_entry_that_does_not_hold_its_samples_is_a_store_error(
    pool: CodecPool, ten_seconds: bytes
) -> None:
    _, audio = await compress(ten_seconds, pool)
    for entry in (
        SegmentEntry("flac", audio, 239_999, (), PROVENANCE),
        SegmentEntry("flac", audio[: len(audio) // 2], 240_000, (), PROVENANCE),
        SegmentEntry("flac", b"no audio at all", 240_000, (), PROVENANCE),
        SegmentEntry("flac", b"", 240_000, (), PROVENANCE),
        SegmentEntry("pcm", b"", 1, (), PROVENANCE),
    ):
        with pytest.raises(StoreError):
            await decompress(entry, pool)
