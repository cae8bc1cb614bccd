"""The English engine: exact timings, any text, the same words the same audio."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hibari.tts import ASSETS
from hibari.tts import Hibari as HibariTts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.audio.pcm import AUDIBLE_AMPLITUDE, RATE_HZ, SAMPLE_BYTES
from core.speech import WordTiming
from core.text.words import words_of
from core.voices.hibari import UNIT_SAMPLES, Hibari
from core.voices.registry import EngineOptions, Passage
from tests.recogniser import Recogniser, word_error_rate
from tests.voices.server import SENTENCES, TEN_WORDS


def passages_of(
    engine: Hibari, text: str, *, speed: float = 1.0, seed: int | None = None
) -> list[Passage]:
    return list(engine.speak("heart", text, speed=speed, seed=seed))


def pcm_of(engine: Hibari, text: str, *, speed: float = 1.0, seed: int | None = None) -> bytes:
    return b"".join(p.pcm for p in passages_of(engine, text, speed=speed, seed=seed))


def check(text: str, passages: list[Passage]) -> None:
    """Every word once, in order, where it stands in the text and inside its audio."""
    words = [word for passage in passages for word in passage.words]
    if passages:
        assert [word.text for word in words] == [word.text for word in words_of(text)]
    assert all(text[word.char_start : word.char_end] == word.text for word in words)
    for passage in passages:
        samples = len(passage.pcm) // SAMPLE_BYTES
        assert samples > 0
        assert samples % UNIT_SAMPLES == 0
        at = 0
        for word in passage.words:
            assert at <= word.start_ms <= word.end_ms
            at = word.end_ms
        assert at <= samples * 1000 / RATE_HZ


def test_sounds_as_the_package_itself(hibari: Hibari) -> None:
    package = HibariTts(voice="heart")
    for text in SENTENCES:
        theirs = (package(text, seed=7) * 32_767).astype(np.int16)
        ours = np.frombuffer(pcm_of(hibari, text, seed=7), np.int16)
        assert len(ours) == len(theirs)
        assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("speed", [0.7, 1.0, 1.2])
def test_every_word_of_the_sentences_is_timed_exactly(hibari: Hibari, speed: float) -> None:
    for text in SENTENCES:
        passages = passages_of(hibari, text, speed=speed)
        check(text, passages)
        for word in passages[0].words:
            assert not word.estimated
            assert word.start_ms < word.end_ms
            assert word.start_ms % 25 == word.end_ms % 25 == 0


def test_audio_ends_where_the_timing_says(hibari: Hibari, recogniser: Recogniser) -> None:
    """Cut after a word, the recogniser hears the words up to it and no other."""
    errors, cuts = 0.0, 0
    for text in SENTENCES:
        (passage,) = passages_of(hibari, text)
        for count in (3, 6):
            last, following = passage.words[count - 1 : count + 1]
            middle_ms = (last.end_ms + following.start_ms) // 2
            cut = middle_ms * RATE_HZ // 1000 * SAMPLE_BYTES
            heard = recogniser.transcribe(passage.pcm[:cut], RATE_HZ)
            errors += word_error_rate(" ".join(text.split()[:count]), heard) * count
            cuts += count
    assert errors / cuts <= 0.15  # one word off would be 0.22


def test_words_sound_between_their_times(hibari: Hibari) -> None:
    for text in SENTENCES:
        (passage,) = passages_of(hibari, text)
        words, unit = passage.words, RATE_HZ // 1000
        samples = np.abs(np.frombuffer(passage.pcm, np.int16).astype(int))
        assert samples[: (words[0].start_ms - 50) * unit].max() <= AUDIBLE_AMPLITUDE
        assert samples[words[-1].end_ms * unit :].max() <= AUDIBLE_AMPLITUDE
        for word in words:
            assert samples[word.start_ms * unit : word.end_ms * unit].max() > 800


def timings_of(engine: Hibari, text: str) -> dict[str, WordTiming]:
    passages = passages_of(engine, text)
    check(text, passages)
    return {word.text: word for passage in passages for word in passage.words}


def test_words_that_are_read_as_others(hibari: Hibari) -> None:
    words = timings_of(hibari, "The rent is $2,400/month until 3/4/2024 at 5:30 pm — ok?")
    assert words["$2,400/month"].end_ms - words["$2,400/month"].start_ms > 1500
    assert words["3/4/2024"].end_ms - words["3/4/2024"].start_ms > 1200
    assert words["—"].start_ms <= words["—"].end_ms
    assert not any(word.estimated for word in words.values())


def test_words_without_a_sound_take_no_time(hibari: Hibari) -> None:
    words = timings_of(hibari, "😀 Hi 👍 there , you. 🎉")
    for silent in ("😀", "👍", ",", "🎉"):
        assert words[silent].start_ms == words[silent].end_ms
    assert words["Hi"].end_ms > words["Hi"].start_ms


def test_same_words_same_audio_and_the_seed_counts(hibari: Hibari) -> None:
    first = pcm_of(hibari, TEN_WORDS)
    assert pcm_of(hibari, TEN_WORDS) == first
    assert pcm_of(Hibari(EngineOptions(data_dir="")), TEN_WORDS) == first
    one, two = pcm_of(hibari, TEN_WORDS, seed=1), pcm_of(hibari, TEN_WORDS, seed=2)
    assert one != two
    assert one == pcm_of(hibari, TEN_WORDS, seed=1)
    assert pcm_of(hibari, TEN_WORDS, seed=-1) == one


def test_speed_changes_the_length(hibari: Hibari) -> None:
    slow, plain, fast = (len(pcm_of(hibari, TEN_WORDS, speed=s)) for s in (0.7, 1.0, 1.2))
    assert slow > 1.2 * plain
    assert fast < 0.95 * plain


def test_sentences_are_passages(hibari: Hibari) -> None:
    text = "Dr. Smith is here. “Come in!” he said.\nWe left"
    passages = passages_of(hibari, text)
    check(text, passages)
    assert [passage.words[0].text for passage in passages] == ["Dr.", "“Come", "We"]


def test_a_long_sentence_comes_in_passages(hibari: Hibari) -> None:
    text = "word " * 600
    passages = passages_of(hibari, text)
    check(text, passages)
    assert len(passages) > 5
    assert max(len(p.pcm) for p in passages) < 60 * RATE_HZ * SAMPLE_BYTES
    commas = "one two three, " * 60
    assert all(p.words[-1].text == "three," for p in passages_of(hibari, commas))


def test_markup_is_text(hibari: Hibari, recogniser: Recogniser) -> None:
    text = "Say [apple](/bənˈænə/) now."
    check(text, passages_of(hibari, text))
    heard = recogniser.transcribe(pcm_of(hibari, text), RATE_HZ).lower()
    assert "apple" in heard
    command = pcm_of(hibari, "Say [x](/ˈæpəl/) now.", seed=1)
    assert command != pcm_of(hibari, "Say apple now.", seed=1)


EDGE_TEXTS = (
    "",
    " \n\t ",
    "😀",
    "😀 🎉 👍",
    "...",
    "\"'“”",
    "你好世界",
    "\x00\x07\u200d\ufeff",
    "①②③ Ⅷ ² ½ ٣٤",
    "①你",
    "1" * 50,
    "1," * 60,
    "-" * 300,
    "!" * 3000,
    "(" * 3000,
    "a" * 5000,
    "9" * 5000,
    "a.b" * 1600,
    "a 1/2 " * 800,
    "[a](/b/)" * 300,
    "[](//)[x](/" + "ə" * 400 + "/)",
    "x=y a<b c>d ~5 #7 $ € @ \\ ^ | _",
    "http://user:pw@example.com:8000/a/b?c=d&e=f#g",
    "\ud800 lone",
)


@pytest.mark.parametrize("text", EDGE_TEXTS, ids=lambda text: repr(text)[:16])
def test_no_text_is_too_odd(hibari: Hibari, text: str) -> None:
    clean = text.encode("utf-8", "replace").decode()
    check(clean, passages_of(hibari, clean))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.text(max_size=60),
        st.text(
            alphabet="abXY019.,!?'-_/[]()$€%&@#*~^<>|=+:;\"“”‘’…—°¢é½²٣Ⅷ①你😀 \n\u200d\u00a0\x00",
            max_size=60,
        ),
    )
)
def test_any_text_is_spoken_or_silent(hibari: Hibari, text: str) -> None:
    clean = text.encode("utf-8", "replace").decode()
    check(clean, passages_of(hibari, clean))


def test_only_the_voice_in_the_package(hibari: Hibari) -> None:
    registry = json.loads((Path(ASSETS) / "voices.json").read_text(encoding="utf-8"))
    assert {name for name, about in registry.items() if about.get("bundled")} == hibari.voices
    other = hibari.speak("emma", "Hi.", speed=1.0, seed=None)
    with pytest.raises(KeyError):
        next(other)
