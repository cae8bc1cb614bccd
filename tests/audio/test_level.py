"""One loudness for all local speech, measured by FFmpeg's EBU R 128 meter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest

from core.audio.level import PEAK_DBFS, SILENCE_LUFS, TARGET_LUFS, Leveller, levelled, loudness_lufs
from core.audio.pcm import RATE_HZ
from core.voices.hibari import Hibari
from core.voices.pico import Pico
from core.voices.pitch import speak_at
from core.voices.registry import EngineOptions
from tests.voices import server, spanish

CHANGES = ((0, 1.0), (-350, 0.93), (100, 1.04), (-200, 1.1))
"""Cents and speed."""

Spoken = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def spoken() -> Spoken:
    """Eight sentences of each voice, each a request of its own, and the voices at other pitches."""
    options = EngineOptions(data_dir="")
    voices = (
        (Hibari(options), "heart", server.SENTENCES[:8]),
        (Pico(options), "es", spanish.SENTENCES[:8]),
    )
    return [
        (text, b"".join(p.pcm for p in speak_at(engine, name, text, cents=c, speed=s, seed=None)))
        for engine, name, texts in voices
        for c, s in CHANGES
        for text in texts
    ]


def meter_lufs(pcm: bytes) -> float:
    """Integrated loudness as FFmpeg's `ebur128` gives it."""
    samples = np.concatenate([np.frombuffer(pcm, np.int16), np.zeros(RATE_HZ, np.int16)])
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=RATE_HZ, format="s16", layout="mono", time_base=Fraction(1, RATE_HZ)
    )
    meter, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
    source.push(frame)
    source.push(None)
    values = [float(m["lavfi.r128.I"]) for m in _metadata(sink) if "lavfi.r128.I" in m]
    return values[-1]


def _metadata(sink: av.filter.context.FilterContext) -> Iterator[dict[str, str]]:
    while True:
        try:
            yield dict(sink.pull().metadata)
        except (av.error.EOFError, av.error.BlockingIOError):
            return


def samples_of(pcm: bytes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.frombuffer(pcm, np.int16).astype(np.int64)


def tone(seconds: float, dbfs: float, hz: float = 440.0) -> bytes:
    """A sine with that RMS."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = np.sqrt(2) * 32_768 * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * at)
    pcm: bytes = wave.astype("<i2").tobytes()
    return pcm


def test_loudness_is_what_the_meter_says(spoken: Spoken) -> None:
    for _, pcm in spoken:
        ours = loudness_lufs(samples_of(pcm).astype(np.float32))
        assert ours == pytest.approx(meter_lufs(pcm), abs=0.15)
    for hz in (100.0, 1000.0, 4000.0):
        pcm = tone(20, -20, hz)
        ours = loudness_lufs(samples_of(pcm).astype(np.float32))
        assert ours == pytest.approx(meter_lufs(pcm), abs=0.15)


def test_sentences_and_voices_are_equally_loud(spoken: Spoken) -> None:
    before = [meter_lufs(pcm) for _, pcm in spoken]
    assert max(before) - min(before) > 5  # there is something to do
    after = [meter_lufs(levelled(pcm)) for _, pcm in spoken]
    assert max(after) - min(after) <= 1, sorted(after)
    assert np.mean(after) == pytest.approx(TARGET_LUFS, abs=0.3)


def test_sentences_of_one_text_are_equally_loud() -> None:
    options = EngineOptions(data_dir="")
    for engine, name, texts in (
        (Hibari(options), "heart", server.SENTENCES),
        (Pico(options), "es", spanish.SENTENCES),
    ):
        leveller = Leveller()
        passages = engine.speak(name, " ".join(texts), speed=1.0, seed=None)
        loudness = [meter_lufs(leveller.apply(passage.pcm)) for passage in passages]
        assert len(loudness) == len(texts)
        assert np.abs(np.diff(loudness)).max() <= 1


def test_nothing_is_clipped_or_over_the_peak(spoken: Spoken) -> None:
    limit = 32_768 * 10 ** (PEAK_DBFS / 20) + 1
    limited = 0
    for _, pcm in spoken:
        out = samples_of(levelled(pcm))
        assert len(out) == len(pcm) // 2
        assert np.abs(out).max() <= limit
        assert np.count_nonzero(np.abs(out) >= limit - 2) < 20  # peaks, no flat tops
        gain = float(np.median(np.abs(out[np.abs(out) > 300])))
        gain /= float(np.median(np.abs(samples_of(pcm)[np.abs(out) > 300])))
        limited += bool(np.abs(samples_of(pcm)).max() * gain > limit)
    assert limited  # the limiter had work


def test_around_a_peak_the_wave_keeps_its_shape() -> None:
    quiet = samples_of(tone(3, -30))
    quiet[30_000:30_480] *= 12
    out = samples_of(levelled(np.clip(quiet, -32_768, 32_767).astype("<i2").tobytes()))
    ratio = out[np.abs(quiet) > 500] / quiet[np.abs(quiet) > 500]
    steps = np.abs(np.diff(ratio)) / ratio[1:]
    assert ratio.min() < 0.9 * ratio.max()
    assert steps.max() < 0.1


def test_a_later_soft_passage_is_not_pumped_up() -> None:
    leveller = Leveller()
    leveller.apply(tone(2, -20))
    soft = meter_lufs(leveller.apply(tone(0.6, -30)))
    alone = meter_lufs(levelled(tone(0.6, -30)))
    assert alone == pytest.approx(TARGET_LUFS, abs=1.5)
    assert 5 < alone - soft < 9


@pytest.mark.parametrize("usual_lufs", [None, -26.0])
def test_a_sentence_in_passages_has_one_gain(usual_lufs: float | None) -> None:
    leveller = Leveller(usual_lufs)
    parts = [tone(0.9, -24), tone(1.2, -36), bytes(4800), tone(0.5, -30)]
    out = [leveller.apply(part, goes_on=index < len(parts) - 1) for index, part in enumerate(parts)]
    gains = [
        np.abs(samples_of(after)).max() / np.abs(samples_of(before)).max()
        for before, after in zip(parts, out, strict=True)
        if any(before)
    ]
    own_lufs = loudness_lufs(samples_of(parts[0]).astype(np.float32))
    first_lufs = own_lufs if usual_lufs is None else usual_lufs
    assert gains == pytest.approx([10 ** ((TARGET_LUFS - first_lufs) / 20)] * 3, rel=0.02)
    # The next sentence has its own gain again, however short it is.
    assert meter_lufs(leveller.apply(tone(0.6, -24))) == pytest.approx(TARGET_LUFS, abs=1.5)


def test_the_gain_is_bounded() -> None:
    soft, loud = tone(2, -40), tone(2, -4)
    assert np.abs(samples_of(levelled(soft))).max() / np.abs(samples_of(soft)).max() < 4
    assert np.abs(samples_of(levelled(loud))).max() / np.abs(samples_of(loud)).max() > 0.12


def test_silence_and_noise_stay_as_they_are() -> None:
    noise = np.random.default_rng(1).normal(0, 900, 2 * RATE_HZ).astype("<i2").tobytes()
    hiss = np.random.default_rng(1).normal(0, 20, 2 * RATE_HZ).astype("<i2").tobytes()
    for pcm in (b"", b"\0\0", bytes(960), bytes(96_000), hiss, noise, tone(2, SILENCE_LUFS - 5)):
        assert levelled(pcm) == pcm


@pytest.mark.parametrize("samples", [1, 100, 479, 480, 481, 2399, 2400, 9599, 9601])
def test_short_audio_keeps_its_length(samples: int) -> None:
    pcm = tone(samples / RATE_HZ, -20)
    assert len(levelled(pcm)) == len(pcm)


def test_a_passage_costs_well_under_a_millisecond() -> None:
    pcm = server_sentence()
    levelled(pcm)
    took_s = []
    for _ in range(50):
        before = time.thread_time()
        levelled(pcm)
        took_s.append(time.thread_time() - before)
    # The least of all, since the machine may have other work to do.
    assert min(took_s) < 0.001 * len(pcm) / (3 * 2 * RATE_HZ)


def server_sentence() -> bytes:
    """An English sentence, the loudest peaks of which need the limiter."""
    engine = Hibari(EngineOptions(data_dir=""))
    return b"".join(p.pcm for p in engine.speak("heart", server.SENTENCES[2], speed=1.0, seed=None))
