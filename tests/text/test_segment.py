"""Segmentation of English: sentences stay whole, nothing is lost, nothing is too long."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text.normalise import normalise, speakable
from core.text.segment import LONG_FIRST_CHARS, segment


def cut(text: str, max_chars: int = 240) -> list[str]:
    return [text[start:end] for start, end in segment(text, max_chars=max_chars)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "The flat has two rooms. The rent is low.",
            ["The flat has two rooms.", "The rent is low."],
        ),
        ("Hello! How can I help you today?", ["Hello! How can I help you today?"]),
        ("It costs $1,250.50 a month. Call us.", ["It costs $1,250.50 a month.", "Call us."]),
        (
            "Please ask for Dr. Smith at noon. Thanks.",
            ["Please ask for Dr. Smith at noon.", "Thanks."],
        ),
        (
            "We meet at 5 p.m. on Main St. near the park.",
            ["We meet at 5 p.m. on Main St. near the park."],
        ),
        ("J. K. Rowling lived here. It is sold.", ["J. K. Rowling lived here.", "It is sold."]),
        ('She said "come in." Then we left.', ['She said "come in."', "Then we left."]),
        ("Wait... what? I did not know that.", ["Wait... what? I did not know that."]),
        ("One word", ["One word"]),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert cut(text) == parts


def test_equal_sentences_are_equal_segments_wherever_they_stand() -> None:
    sentence = "The apartment has two bedrooms and a large balcony."
    alone = cut(sentence)
    among = cut(f"Thank you for calling us today. {sentence} Would you like to see it?")
    assert alone[0] in among


def test_a_long_first_sentence_begins_with_a_clause() -> None:
    text = (
        "Thank you for waiting so patiently, I have now looked at every apartment that we have in"
        " the northern part of the city and found three of them that may be what you want."
    )
    parts = cut(text)
    assert parts[0] == "Thank you for waiting so patiently,"
    assert len(parts[0]) <= LONG_FIRST_CHARS


@given(st.text(alphabet=st.sampled_from("ab cd.!?, \"'é好")), st.integers(40, 120))
def test_nothing_is_lost_and_nothing_is_too_long(text: str, max_chars: int) -> None:
    spoken = normalise(text).text
    spans = segment(spoken, max_chars=max_chars)
    assert all(0 < end - start <= max_chars for start, end in spans)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert all(speakable(spoken[start:end]) for start, end in spans)
    said = "".join(spoken[start:end] for start, end in spans)
    assert [c for c in said if c.isalnum()] == [c for c in spoken if c.isalnum()]


@pytest.mark.parametrize("text", ["Goodbye for now, my friend. 🙂", "🙂🙂🙂! Goodbye for now."])
def test_what_no_voice_can_say_alone_goes_with_its_neighbour(text: str) -> None:
    assert cut(text) == [text]


def test_a_text_without_any_space_is_cut() -> None:
    assert [len(part) for part in cut("x" * 1000)] == [120, 240, 240, 240, 160]


@pytest.mark.parametrize("run", ["." * 5000, '."' * 2500, "." * 2500 + '"' * 2500, "?!" * 2500])
def test_a_long_run_of_marks_costs_one_pass(run: str) -> None:
    began = time.perf_counter()
    segment("a" + run, max_chars=240)
    assert time.perf_counter() - began < 0.05
