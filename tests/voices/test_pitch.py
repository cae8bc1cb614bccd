"""Voices at another pitch and speed, with the real engines of English and Spanish."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.agents import PROFILES
from core.audio.pcm import AUDIBLE_AMPLITUDE, RATE_HZ, SAMPLE_BYTES
from core.speech import WordTiming
from core.text.languages import Language
from core.voices.hibari import Hibari
from core.voices.pico import Pico
from core.voices.pitch import MAX_CENTS, parse_voice, speak_at
from core.voices.registry import EngineOptions, Passage, VoiceEngine
from tests.recogniser import Recogniser, spoken_words, word_error_rate
from tests.voices import server, spanish
from tests.voices.f0 import cents as cents_between
from tests.voices.f0 import median_f0_hz

SENTENCES: dict[Language, tuple[str, ...]] = {"en": server.SENTENCES, "es": spanish.SENTENCES}
ERROR_RATE: dict[Language, float] = {"en": 0.03, "es": 0.06}
LANGUAGES: list[Language] = ["en", "es"]

EXTREMES = {"authoritative_male", "multilingual_female"}
"""The lowest and a raised one: what is hardest to understand."""

Engines = dict[Language, tuple[VoiceEngine, str]]


@pytest.fixture(scope="module")
def engines(hibari: Hibari) -> Engines:
    return {"en": (hibari, "heart"), "es": (Pico(EngineOptions(data_dir="")), "es")}


def passages_of(
    engines: Engines, language: Language, text: str, *, cents: int = 0, speed: float = 1.0
) -> list[Passage]:
    engine, voice = engines[language]
    return list(speak_at(engine, voice, text, cents=cents, speed=speed, seed=None))


def pcm_of(
    engines: Engines, language: Language, text: str, *, cents: int = 0, speed: float = 1.0
) -> bytes:
    passages = passages_of(engines, language, text, cents=cents, speed=speed)
    return b"".join(passage.pcm for passage in passages)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("cents", "speed"), [(-600, 1.0), (-350, 0.93), (-200, 1.1), (100, 1.04), (400, 1.0), (0, 1.3)]
)
def test_the_voice_is_as_much_higher_and_faster_as_asked(
    engines: Engines, language: Language, cents: int, speed: float
) -> None:
    for text in SENTENCES[language][:3]:
        plain = pcm_of(engines, language, text)
        other = pcm_of(engines, language, text, cents=cents, speed=speed)
        assert cents_between(median_f0_hz(other), median_f0_hz(plain)) == pytest.approx(
            cents, abs=40
        )
        assert len(other) * speed / len(plain) == pytest.approx(1, abs=0.001)
        assert sound_s(other) * speed / sound_s(plain) == pytest.approx(1, abs=0.05)


def sound_s(pcm: bytes) -> float:
    """From the first audible sample to the last."""
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, np.int16).astype(int)) > AUDIBLE_AMPLITUDE)
    return float(loud[-1] - loud[0]) / RATE_HZ


@pytest.mark.parametrize("language", LANGUAGES)
def test_at_its_own_pitch_and_speed_it_is_the_engine_itself(
    engines: Engines, language: Language
) -> None:
    engine, voice = engines[language]
    text = SENTENCES[language][0]
    assert passages_of(engines, language, text) == list(
        engine.speak(voice, text, speed=1.0, seed=None)
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_text_has_the_same_audio(engines: Engines, language: Language) -> None:
    text = SENTENCES[language][1]
    first = pcm_of(engines, language, text, cents=-350, speed=0.93)
    assert pcm_of(engines, language, text, cents=-350, speed=0.93) == first
    assert pcm_of(engines, language, text, cents=-349, speed=0.93) != first


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("cents", "speed"), [(-350, 0.93), (300, 1.25)])
def test_words_sound_between_their_times(
    engines: Engines, language: Language, cents: int, speed: float
) -> None:
    for text in SENTENCES[language][:4]:
        (passage,) = passages_of(engines, language, text, cents=cents, speed=speed)
        assert [word.text for word in passage.words] == text.split()
        samples = np.abs(np.frombuffer(passage.pcm, np.int16).astype(int))
        first, last = passage.words[0].start_ms, passage.words[-1].end_ms
        per_ms = RATE_HZ // 1000
        assert samples[: max(0, first - 70) * per_ms].max(initial=0) <= AUDIBLE_AMPLITUDE
        assert samples[(last + 30) * per_ms :].max(initial=0) <= AUDIBLE_AMPLITUDE
        for word in passage.words:
            assert samples[word.start_ms * per_ms : word.end_ms * per_ms].max() > 800


def test_words_are_where_the_engine_has_them(engines: Engines) -> None:
    text = SENTENCES["en"][1]
    (plain,) = passages_of(engines, "en", text)
    (slow,) = passages_of(engines, "en", text, cents=-100, speed=0.8)
    for before, after in zip(plain.words, slow.words, strict=True):
        assert after.start_ms == round(before.start_ms / 0.8)
        assert not after.estimated


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "profile",
    [pytest.param(name, marks=[] if name in EXTREMES else [pytest.mark.long]) for name in PROFILES],
)
def test_a_profile_is_understood(
    engines: Engines, recogniser: Recogniser, language: Language, profile: str
) -> None:
    cents, speed = sound_of(profile, language)
    wrong = said = 0.0
    for text in SENTENCES[language]:
        pcm = pcm_of(engines, language, text, cents=cents, speed=speed)
        count = len(spoken_words(text, language))
        heard = recogniser.transcribe(pcm, RATE_HZ, language)
        wrong += word_error_rate(text, heard, language) * count
        said += count
    assert wrong / said <= ERROR_RATE[language], f"{wrong:.0f} of {said:.0f} words"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_two_profiles_differ_audibly(engines: Engines, language: Language) -> None:
    text = SENTENCES[language][0]
    heard = {}
    for profile in PROFILES:
        cents, speed = sound_of(profile, language)
        pcm = pcm_of(engines, language, text, cents=cents, speed=speed)
        heard[profile] = median_f0_hz(pcm), sound_s(pcm)
    assert len(heard) == 5
    for one, two in itertools.combinations(heard.values(), 2):
        higher = abs(cents_between(one[0], two[0]))
        longer = max(one[1], two[1]) / min(one[1], two[1])
        assert higher >= 80 or longer >= 1.05


def sound_of(profile: str, language: Language) -> tuple[int, float]:
    """Cents and speed of a profile's voice, which is that of the engine under test."""
    voice = PROFILES[profile].voices[language]
    engine, name, cents = parse_voice(voice.local_voice)
    assert (engine, name) == {"en": ("hibari", "heart"), "es": ("pico", "es")}[language]
    return cents, voice.local_speed


# What does not depend on an engine.


class Steps:
    """A stand-in engine: a passage of one tone for each word; knows when it was closed."""

    voices = frozenset({"one"})

    def __init__(self, samples: int = 24_001) -> None:
        wave = 32_767 * np.sign(np.sin(np.arange(samples) * 0.05))
        self._pcm = wave.astype("<i2").tobytes()
        self._length_ms = round(samples / 24)
        self.closed = 0
        self.speeds: list[float] = []

    def speak(self, voice: str, text: str, *, speed: float, seed: int | None) -> Iterator[Passage]:
        self.speeds.append(speed)
        try:
            for word in text.split():
                yield Passage(self._pcm, (WordTiming(word, 0, self._length_ms, 0, len(word)),))
        finally:
            self.closed += 1


@pytest.mark.parametrize("samples", [1, 7, 479, 24_000, 24_001])
@pytest.mark.parametrize("cents", [-600, 0, 333])
@pytest.mark.parametrize("speed", [0.25, 0.7, 1.0, 1.2, 4.0])
def test_any_length_at_any_pitch_and_speed(samples: int, cents: int, speed: float) -> None:
    engine = Steps(samples)
    (passage,) = speak_at(engine, "one", "a", cents=cents, speed=speed, seed=None)
    assert len(passage.pcm) == round(samples / speed) * SAMPLE_BYTES
    assert passage.words[0].end_ms <= round(samples / speed / 24)
    assert engine.speeds == [1.0]


class Sweep:
    """A stand-in engine: one rising tone, cut into passages that go on, a word every 100 ms."""

    voices = frozenset({"one"})

    def __init__(self, lengths: list[int]) -> None:
        self._lengths = lengths
        at = np.arange(sum(lengths)) / RATE_HZ
        self._wave = (9000 * np.sin(2 * np.pi * (150 + 40 * at) * at)).astype("<i2")

    def speak(self, voice: str, text: str, *, speed: float, seed: int | None) -> Iterator[Passage]:
        start = 0
        for number, length in enumerate(self._lengths):
            words = tuple(
                WordTiming("w", at // 24 - start // 24, at // 24 - start // 24 + 90, 0, 1)
                for at in range(0, len(self._wave), RATE_HZ // 10)
                if start <= at < start + length
            )
            pcm = self._wave[start : start + length].tobytes()
            start += length
            yield Passage(pcm, words, goes_on=number < len(self._lengths) - 1)


@pytest.mark.parametrize(("cents", "speed"), [(-250, 1.0), (0, 1.2), (-400, 0.93), (300, 1.25)])
def test_a_sentence_in_passages_sounds_as_one_in_one(cents: int, speed: float) -> None:
    lengths = [17_000, 9601, 1200, 480, 30_000]
    whole = speak_at(Sweep([sum(lengths)]), "one", "a", cents=cents, speed=speed, seed=None)
    (expected,) = whole
    passages = list(speak_at(Sweep(lengths), "one", "a", cents=cents, speed=speed, seed=None))
    assert [passage.goes_on for passage in passages] == [True, True, True, True, False]
    assert b"".join(passage.pcm for passage in passages) == expected.pcm
    base_ms, words = 0.0, []
    for passage in passages:
        length_ms = len(passage.pcm) / 48
        words += [(w.start_ms + base_ms, w.end_ms + base_ms) for w in passage.words]
        assert all(-1 <= word.start_ms <= length_ms + 1 for word in passage.words)
        base_ms += length_ms
    for now, single in zip(words, expected.words, strict=True):
        assert now == pytest.approx((single.start_ms, single.end_ms), abs=2)
    taken = given = 0
    for length, passage in zip(lengths[:-1], passages, strict=False):
        taken, given = taken + length, given + len(passage.pcm) // 2
        assert -2 <= (taken / speed - given) / 24 < 120


def test_a_loud_voice_does_not_wrap_around() -> None:
    (passage,) = speak_at(Steps(), "one", "a", cents=-300, speed=1.1, seed=None)
    samples = np.frombuffer(passage.pcm, "<i2").astype(int)
    plain = np.sign(samples[np.abs(samples) > 20_000])
    # A sample that wrapped around would stand alone between two of the other sign.
    assert not np.any((plain[:-2] == plain[2:]) & (plain[:-2] != plain[1:-1]))


def test_the_engine_is_closed_with_its_listener() -> None:
    engine = Steps()
    passages = speak_at(engine, "one", "a b c", cents=-100, speed=1.0, seed=None)
    next(iter(passages))
    del passages
    assert engine.closed == 1


def test_a_voice_may_carry_its_pitch() -> None:
    assert parse_voice("pico/es") == ("pico", "es", 0)
    assert parse_voice("hibari/heart:-350") == ("hibari", "heart", -350)
    assert parse_voice("kokoro/zf_xiaobei:100") == ("kokoro", "zf_xiaobei", 100)
    assert parse_voice(f"a/b:{MAX_CENTS}") == ("a", "b", MAX_CENTS)


@pytest.mark.parametrize(
    "voice",
    [
        "",
        "/",
        "pico",
        "pico/",
        "/es",
        "pico/es:",
        "pico/es:x",
        "pico/es:+100",
        "pico/es:1.5",
        "pico/es:601",
        "pico/es:-601",
        "pico/es:99999",
        "pico/es:١٠",
        "pico/es:100:100",
        "pico/es/x",
        " pico/es",
        "pico/es\n",
        "../etc/passwd:0",
        "a" * 41 + "/b",
    ],
)
def test_nonsense_is_no_voice(voice: str) -> None:
    with pytest.raises(ValueError, match="voice"):
        parse_voice(voice)


@given(st.text(max_size=40))
def test_any_text_is_a_voice_or_an_error(voice: str) -> None:
    try:
        engine, name, cents = parse_voice(voice)
    except ValueError:
        return
    assert voice.startswith(f"{engine}/{name}")
    assert abs(cents) <= MAX_CENTS
