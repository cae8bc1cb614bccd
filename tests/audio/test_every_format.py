"""Every format as a stream: what a player hears is the audio, in time, whole and unbent."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import AsyncIterator

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.decoders import decoder_for
from core.audio.codecs import FIRST_PIECE_BYTES, open_encoder, pieces
from core.audio.formats import FORMATS, OutputFormat
from core.audio.pcm import BYTES_PER_S
from core.audio.pool import CodecPool
from core.audio.silence import LeadTrimmer
from core.speech import AudioChunk
from tests.audio.conftest import samples
from tests.player import decoded

Signal = npt.NDArray[np.float64]

every_format = pytest.mark.parametrize("output", FORMATS.values(), ids=FORMATS)


@pytest.fixture(scope="module")
def three_seconds(ten_seconds: bytes) -> bytes:
    """Speech from its first sound on, as a stream has it."""
    trimmed = LeadTrimmer().feed(AudioChunk(pcm=ten_seconds))
    assert trimmed is not None
    return trimmed.pcm[: 3 * BYTES_PER_S]


async def parts(output: OutputFormat, pool: CodecPool, cut: list[bytes]) -> AsyncIterator[bytes]:
    encoder = open_encoder(output, pool)
    for piece in cut:
        yield await encoder.feed(piece)
    yield await encoder.finish()


async def encoded(output: OutputFormat, pool: CodecPool, cut: list[bytes]) -> bytes:
    encoder = open_encoder(output, pool)
    fed = [await encoder.feed(piece) for piece in cut]
    return encoder.seal(b"".join((*fed, await encoder.finish())))


def unevenly(pcm: bytes, seed: int = 1) -> list[bytes]:
    """Pieces from none to 1.5 s, so that some are encoded at once and some in threads."""
    dice = random.Random(seed)
    cut: list[bytes] = []
    at = 0
    while at < len(pcm):
        size = 2 * dice.choice((0, 1, 37, 480, 2_400, 9_999, 36_000))
        cut.append(pcm[at : at + size])
        at += size
    return cut


def at_rate(signal: Signal, rate_hz: int) -> Signal:
    """The same sound at another rate, by its spectrum: no filter, no delay."""
    length = len(signal) * rate_hz // 24_000
    spectrum = np.fft.rfft(signal)
    bins = np.zeros(length // 2 + 1, np.complex128)
    kept = min(len(bins), len(spectrum))
    bins[:kept] = spectrum[:kept]
    return np.fft.irfft(bins, length) * (length / len(signal))


def fidelity_db(heard: Signal, said: Signal, rate_hz: int) -> float:
    """Sound over error, sample by sample, without the outer 60 ms (the spectrum wraps around)."""
    edge = rate_hz * 60 // 1000
    error = (heard - said)[edge:-edge]
    power, noise = np.mean(said[edge:-edge] ** 2), np.mean(error**2)
    return float(10 * np.log10(power / (noise + 1e-9)))


def least_db(output: OutputFormat) -> float:
    """2-4 dB under what this speech measures; a shift by half a millisecond leaves at most 5."""
    match output.codec:
        case "wav" | "pcm":
            return 27
        case "ulaw" | "alaw":
            return 31
        case "opus":
            return {32: 15, 64: 23, 96: 27, 128: 31, 192: 35}[output.kbps or 0]
        case "mp3":
            return 15 if (output.kbps or 0) < 48 else 18 if (output.kbps or 0) < 96 else 22


@every_format
async def test_what_is_heard_is_what_was_said(
    output: OutputFormat, pool: CodecPool, three_seconds: bytes
) -> None:
    said = at_rate(samples(three_seconds), output.rate_hz)
    heard = decoded(await encoded(output, pool, unevenly(three_seconds)), output)
    assert len(heard) == 3 * output.rate_hz
    measured = fidelity_db(heard, said, output.rate_hz)
    by = output.rate_hz // 2_000
    shifted = fidelity_db(np.roll(heard, by), said, output.rate_hz)
    print(f"{output.name}: {measured:.1f} dB, half a millisecond later {shifted:.1f} dB")
    assert measured > least_db(output)
    assert shifted < 5


@every_format
async def test_equal_audio_gives_equal_bytes_however_it_is_cut(
    output: OutputFormat, pool: CodecPool, three_seconds: bytes
) -> None:
    pcm = three_seconds[:-2]
    whole = await encoded(output, pool, [pcm])
    assert await encoded(output, pool, unevenly(pcm, seed=2)) == whole
    assert await encoded(output, pool, list(pieces(pcm))) == whole


@every_format
async def test_any_length_is_kept(
    output: OutputFormat, pool: CodecPool, ten_seconds: bytes
) -> None:
    for length in (100, 479, 481, 4_801, 24_001, 100_003):
        pcm = ten_seconds[: 2 * length]
        body = await encoded(output, pool, list(pieces(pcm)))
        heard = len(decoded(body, output)) if body else 0
        assert abs(heard - length * output.rate_hz / 24_000) < 1, length


@every_format
async def test_the_stream_is_as_long_as_the_sealed_reply_within_50_ms(
    output: OutputFormat, pool: CodecPool, ten_seconds: bytes
) -> None:
    for length in (4_801, 24_000, 24_301, 71_003):
        body = b"".join([part async for part in parts(output, pool, [ten_seconds[: 2 * length]])])
        surplus_s = len(decoded(body, output)) / output.rate_hz - length / 24_000
        assert -0.001 < surplus_s < 0.050, length


def first_bytes_ms(output: OutputFormat) -> int:
    """Audio that may have to go in before bytes come out."""
    if output.codec == "mp3":
        return 100 if output.kbps == 32 else 60
    if output.rate_hz == 8_000:
        return 80
    return 10 if output.rate_hz == 24_000 else 40


@every_format
async def test_the_first_bytes_come_soon_and_hold_audio(
    output: OutputFormat, pool: CodecPool, three_seconds: bytes
) -> None:
    encoder = open_encoder(output, pool)
    fed_ms = 0
    first = b""
    while not first:
        first = await encoder.feed(three_seconds[48 * fed_ms : 48 * (fed_ms + 10)])
        fed_ms += 10
    assert fed_ms <= first_bytes_ms(output)
    at_once = await open_encoder(output, pool).feed(three_seconds[:FIRST_PIECE_BYTES])
    assert decoder_for(output.name).feed(at_once).size > 0
    if output.codec != "mp3":
        assert decoder_for(output.name).feed(first).size > 0


@pytest.mark.parametrize("name", ["pcm_8000", "wav_8000", "ulaw_8000", "alaw_8000"])
async def test_what_8_khz_cannot_hold_does_not_fold_back(name: str, pool: CodecPool) -> None:
    output = FORMATS[name]
    clock = np.arange(48_000) / 24_000

    async def level_db(hz: float) -> float:
        tone = 16_000 * np.sin(2 * np.pi * hz * clock)
        heard = decoded(await encoded(output, pool, [tone.astype("<i2").tobytes()]), output)
        ratio = np.std(heard[800:-800]) / np.std(tone)
        return float(20 * np.log10(ratio + 1e-9))

    assert await level_db(1_000) == pytest.approx(0, abs=0.3)
    assert await level_db(3_400) == pytest.approx(0, abs=0.3)
    for hz in (4_500, 6_000, 9_000, 11_000):
        assert await level_db(hz) < -60, hz


@pytest.mark.parametrize("name", ["wav_8000", "wav_22050", "wav_44100", "ogg_48000_64"])
async def test_a_minute_does_not_drift(name: str, pool: CodecPool, three_seconds: bytes) -> None:
    output = FORMATS[name]
    heard = decoded(await encoded(output, pool, list(pieces(three_seconds * 20))), output)
    assert len(heard) == 60 * output.rate_hz
    said = at_rate(samples(three_seconds), output.rate_hz)
    assert fidelity_db(heard[-len(said) :], said, output.rate_hz) > least_db(output)


@pytest.mark.parametrize(
    "name", ["mp3_24000_128", "mp3_44100_128", "ogg_48000_64", "wav_48000", "pcm_16000"]
)
async def test_two_segments_are_one_sound(name: str, pool: CodecPool) -> None:
    """A tone cut anywhere into two segments: no gap and no click where they meet."""
    output = FORMATS[name]
    join = 30_011
    tone = 10_000 * np.sin(2 * np.pi * 441.7 * np.arange(72_000) / 24_000)
    pcm = tone.astype("<i2").tobytes()
    segments = [pcm[: 2 * join], pcm[2 * join :]]
    said = 10_000 * np.sin(2 * np.pi * 441.7 * np.arange(3 * output.rate_hz) / output.rate_hz)

    def worst_error(heard: Signal, at_s: float) -> float:
        around = slice(int((at_s - 0.05) * output.rate_hz), int((at_s + 0.05) * output.rate_hz))
        return float(np.abs(heard[around] - said[around]).max())

    cut = [piece for segment in segments for piece in pieces(segment)]
    heard = decoded(await encoded(output, pool, cut), output)
    elsewhere = max(worst_error(heard, at_s) for at_s in (0.4, 0.9, 1.8, 2.4))
    assert worst_error(heard, join / 24_000) <= max(1.5 * elsewhere, 2.0)

    bodies = [b"".join([part async for part in parts(output, pool, [one])]) for one in segments]
    apart = np.concatenate([decoded(body, output) for body in bodies])[: len(said)]
    assert worst_error(apart, join / 24_000) > 5 * elsewhere, "an encoder for each would do as well"


@pytest.mark.parametrize("name", ["mp3_44100_128", "ogg_48000_64", "ulaw_8000", "pcm_48000"])
async def test_abandoned_encoders_leave_nothing_behind(
    name: str, pool: CodecPool, three_seconds: bytes
) -> None:
    def resident_bytes() -> int:
        with open("/proc/self/statm") as fields:
            return int(fields.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def abandon(count: int) -> None:
        for at in range(count):
            encoder = open_encoder(FORMATS[name], pool)
            await encoder.feed(three_seconds[: BYTES_PER_S // 5])
            if at % 2:
                await encoder.finish()

    await abandon(20)
    files = len(os.listdir("/proc/self/fd"))
    before = resident_bytes()
    gc.disable()
    try:
        await abandon(200)
        grown = resident_bytes() - before
    finally:
        gc.enable()
    print(f"{name}: {grown / 2**20:.1f} MiB more")
    assert grown < 8 * 2**20
    assert len(os.listdir("/proc/self/fd")) <= files
