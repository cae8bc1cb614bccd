"""Pieces and lines lose nothing: every byte, every character, once and in order."""

from __future__ import annotations

import base64
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import wordcode
from benchmarks.emulator.formats import FORMATS, encode
from benchmarks.emulator.hibari_voice import HibariVoice
from benchmarks.emulator.speech import Encoded, Spoken, json_lines, seconds, times_of_words

texts = st.text(st.sampled_from("abc dé.,!?\n-'12 价😀"), min_size=1, max_size=160)


@settings(max_examples=80, deadline=None)
@given(text=texts, name=st.sampled_from(["pcm_24000", "pcm_16000", "wav_8000", "ulaw_8000"]))
def test_lines_carry_all_audio_and_all_characters(text: str, name: str) -> None:
    wire = FORMATS[name]
    pcm, words = wordcode.encode(text)
    body = encode(pcm, wire)
    duration_s = seconds(pcm)
    spoken = Spoken(Encoded(body, duration_s, wire), times_of_words(text, words, duration_s))
    lines = [
        json.loads(line) for part in json_lines(text, spoken) for line in part.split(b"\n") if line
    ]
    if not pcm:
        return
    assert b"".join(base64.b64decode(line["audio_base64"]) for line in lines) == body
    aligned = [line["alignment"] for line in lines if line["alignment"]]
    assert "".join(c for each in aligned for c in each["characters"]) == text
    starts = [at for each in aligned for at in each["character_start_times_seconds"]]
    ends = [at for each in aligned for at in each["character_end_times_seconds"]]
    assert all(a <= b for a, b in pairwise(starts))
    assert all(start <= end for start, end in zip(starts, ends, strict=True))


@pytest.fixture(scope="module")
def hibari() -> HibariVoice:
    return HibariVoice()


@pytest.mark.parametrize(
    "text",
    [
        "Plain words here.",
        'He said: "Go!" Then Dr. Smith left. It was 5:30 p.m.',
        "One\n\ntwo\nthree",
        "  spaces   around  ",
        "$250,000 — that's all; see www.example.com",
        "😀 ok 😀",
    ],
)
def test_hibari_places_every_word_in_its_audio(hibari: HibariVoice, text: str) -> None:
    pcm, words = hibari.speak(text, 1.0, 1)
    assert [word.text for word in words] == text.split()
    assert all(text[word.char_start : word.char_end] == word.text for word in words)
    edges = [edge for word in words for edge in (word.start_ms, word.end_ms)]
    assert edges == sorted(edges)
    assert edges[-1] <= seconds(pcm) * 1000


def test_hibari_times_are_the_models_own(hibari: HibariVoice) -> None:
    _, words = hibari.speak("The house has three bedrooms.", 1.0, 1)
    assert not any(word.estimated for word in words)
    assert hibari.speak("Same.", 1.0, 5)[0] == hibari.speak("Same.", 1.0, 5)[0]


@pytest.mark.parametrize("text", ["", "...", "😀", "\n\n"])
def test_hibari_survives_texts_without_words(hibari: HibariVoice, text: str) -> None:
    hibari.speak(text, 1.0, 1)
