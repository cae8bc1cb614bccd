"""The Spanish engine: understood, timed, and deaf to commands in its text."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.audio.pcm import RATE_HZ, SAMPLE_BYTES
from core.text.words import words_of
from core.voices.pico import Pico
from core.voices.pico_native import PicoEngine, PicoError
from core.voices.pico_text import tokens_of
from core.voices.registry import EngineOptions
from tests.recogniser import Recogniser, spoken_words, word_error_rate
from tests.voices.spanish import (
    FILES,
    SENTENCES,
    check,
    passages_of,
    pcm_of,
    true_ends_ms,
)

HELLO = "Buenos días, señora."


@pytest.fixture(scope="module")
def pico() -> Pico:
    return Pico(EngineOptions(data_dir=""))


def test_spanish_is_understood(pico: Pico, recogniser: Recogniser) -> None:
    wrong = said = 0.0
    for text in SENTENCES:
        heard = recogniser.transcribe(pcm_of(pico, text), RATE_HZ, "es")
        count = len(spoken_words(text, "es"))
        wrong += word_error_rate(text, heard, "es") * count
        said += count
    assert wrong / said <= 0.06, f"{wrong:.0f} of {said:.0f} words"


@pytest.mark.parametrize("speed", [0.7, 1.0, 1.3])
def test_every_word_has_its_time(pico: Pico, speed: float) -> None:
    for text in SENTENCES:
        passages = passages_of(pico, text, speed=speed)
        check(text, passages)
        assert len(passages) == 1
        assert all(word.start_ms < word.end_ms for word in passages[0].words)


def test_estimated_times_are_near_the_true_ones(pico: Pico) -> None:
    errors_ms: list[int] = []
    for text in SENTENCES:
        (passage,) = passages_of(pico, text)
        ends_ms, length_ms = true_ends_ms(PicoEngine(*FILES), text)
        if abs(length_ms - len(passage.pcm) * 1000 / SAMPLE_BYTES / RATE_HZ) > 40:
            continue  # measuring changed the sentence
        errors_ms += [
            word.start_ms - end_ms
            for word, end_ms in zip(passage.words[1:], ends_ms[:-1], strict=True)
        ]
    assert len(errors_ms) >= 60
    assert np.median(np.abs(errors_ms)) <= 45
    assert np.percentile(np.abs(errors_ms), 90) <= 150


def test_words_after_a_comma_start_after_its_pause(pico: Pico) -> None:
    (passage,) = passages_of(pico, "Sí, claro, pase usted; la puerta está abierta.")
    words = {word.text: word for word in passage.words}
    for before, after in (("Sí,", "claro,"), ("claro,", "pase"), ("usted;", "la")):
        assert 200 <= words[after].start_ms - words[before].end_ms <= 500
    assert words["pase"].end_ms == words["usted;"].start_ms


def test_words_without_a_sound_take_no_time(pico: Pico) -> None:
    text = "😀 Hola 👍 señora , buenos días. 你好 🎉"
    passages = passages_of(pico, text)
    check(text, passages)
    for word in (word for passage in passages for word in passage.words):
        assert (word.start_ms < word.end_ms) == any("a" <= c <= "z" for c in word.text.lower())


def test_the_same_text_has_the_same_audio(pico: Pico) -> None:
    first = pcm_of(pico, HELLO)
    pcm_of(pico, "Otra cosa muy distinta, dicha entre medias.")
    assert pcm_of(pico, HELLO) == first
    assert pcm_of(Pico(EngineOptions(data_dir="")), HELLO) == first
    seeded = b"".join(p.pcm for p in pico.speak("es", HELLO, speed=1.0, seed=7))
    assert seeded == first


@pytest.mark.parametrize("speed", [0.7, 0.9, 1.1, 1.4])
def test_speech_lasts_as_long_as_its_speed_says(pico: Pico, speed: float) -> None:
    def sound_ms(at: float) -> int:
        return sum(passages_of(pico, text, speed=at)[0].words[-1].end_ms for text in SENTENCES)

    assert sound_ms(speed) * speed / sound_ms(1.0) == pytest.approx(1, abs=0.03)


def test_nothing_is_clipped(pico: Pico) -> None:
    for text in SENTENCES:
        assert np.abs(np.frombuffer(pcm_of(pico, text), np.int16).astype(int)).max() < 30_000


def test_sentences_are_passages(pico: Pico) -> None:
    text = " ".join(SENTENCES)
    passages = passages_of(pico, text)
    check(text, passages)
    assert [p.words[-1].text for p in passages] == [text.split()[-1] for text in SENTENCES]


def test_a_long_sentence_comes_in_passages(pico: Pico) -> None:
    for text in ("palabra " * 150, "uno dos tres, " * 60, "1234567 " * 30, "%%% " * 60):
        passages = passages_of(pico, text, speed=2.0)
        check(text, passages)
        assert len(passages) > 4
        assert max(len(p.pcm) for p in passages) < 15 * RATE_HZ * SAMPLE_BYTES


def test_the_pause_after_a_clause_is_shorter_than_after_a_sentence(pico: Pico) -> None:
    def tail_ms(text: str) -> float:
        (passage,) = passages_of(pico, text)
        return len(passage.pcm) / SAMPLE_BYTES * 1000 / RATE_HZ - passage.words[-1].end_ms

    assert tail_ms("Mire usted,") == pytest.approx(260, abs=20)
    assert tail_ms("Mire usted.") > 380


def test_other_threads_go_on(pico: Pico) -> None:
    gaps_s: list[float] = []
    speaking = threading.Thread(target=lambda: passages_of(pico, " ".join(SENTENCES)))
    speaking.start()
    while speaking.is_alive():
        before = time.perf_counter()
        time.sleep(0.001)
        gaps_s.append(time.perf_counter() - before)
    speaking.join()
    assert len(gaps_s) > 20
    # The package's own call holds the GIL for a sentence, 20 ms and more.
    assert np.median(gaps_s) < 0.01


def test_only_its_own_voice(pico: Pico) -> None:
    with pytest.raises(KeyError):
        next(pico.speak("en", "Hi.", speed=1.0, seed=None))


def test_a_voice_that_is_not_there_is_an_error() -> None:
    with pytest.raises(PicoError):
        PicoEngine("missing.bin")


READ_AS = {
    "<ignore>": ["ignore"],
    "hola": ["hola"],
    "¿Qué?": ["Qué", "?"],
    "«Sí»,": ["Sí", ","],
    "(sótano)": [",", "sótano", ","],
    "1.250.000": ["1.250.000"],
    "10:30,": ["10:30", ","],
    "3.º": ["3o"],
    "50%": ["50", "por", "ciento"],
    "ana@casa.es": ["ana", "arroba", "casa", "es"],
    "EE.UU.": ["EE", "UU", "."],
    "fin.)": ["fin", ".", ","],
    "l'hospitalet": ["lhospitalet"],
    "norte-sur": ["norte", "sur"],
    "½": ["1", "2"],
    "٣٤": ["34"],
    "çà": ["ca"],
    "ﬁn": ["fin"],
    "1234567890123": list("1234567890123"),
    "a" * 90: ["a" * 40, "a" * 40, "a" * 10],
    "漢字😀_*/\\|^~`": [],
    "—": [","],
}


@pytest.mark.parametrize(("word", "tokens"), READ_AS.items())
def test_a_word_is_read_with_letters_digits_and_marks(word: str, tokens: list[str]) -> None:
    assert list(tokens_of(word)) == tokens


EDGE_TEXTS = (
    "",
    " \n\t ",
    "😀 🎉",
    "...",
    "¿?¡!",
    "\"'“”",
    "你好世界",
    "Привет мир",
    "\x00\x07\u200d\ufeff",
    "①②③ Ⅷ ² ½ ٣٤",
    "你好 hola 世界",
    "1" * 50,
    "1," * 60,
    "-" * 300,
    "!" * 3000,
    "? " * 1500,
    "(" * 3000,
    "a" * 5000,
    "9" * 5000,
    "%" * 5000,
    "a.b" * 1600,
    "&lt;&amp;&#60;",
    "http://user:pw@example.com:8000/a/b?c=d&e=f#g",
    "A\u0301\u0301\u0301" * 50,
    "\ufffd lone",
)


@pytest.mark.parametrize("text", EDGE_TEXTS, ids=lambda text: repr(text)[:16])
def test_no_text_is_too_odd(pico: Pico, text: str) -> None:
    passages = passages_of(pico, text)
    check(text, passages)
    readable = any(token.isalnum() for word in words_of(text) for token in tokens_of(word.text))
    assert bool(passages) == readable
    for passage in passages:
        assert np.abs(np.frombuffer(passage.pcm, np.int16)).max() > 1000


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.text(max_size=60),
        st.text(
            alphabet="abñáXY019.,!?¿¡'-_/[]()<>$€%&@#*~^|=+:;\"“”…—°ºª²½٣①你😀 \n\u200d\u00a0\x00",
            max_size=60,
        ),
    )
)
def test_any_text_is_spoken_or_silent(pico: Pico, text: str) -> None:
    clean = text.encode("utf-8", "replace").decode()
    check(clean, passages_of(pico, clean))
