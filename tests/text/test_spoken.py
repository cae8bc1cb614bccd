"""From a caller's text to what is spoken, and back to the caller's characters."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.text.clean import clean, speakable
from core.text.languages import LANGUAGES, Language
from core.text.segment import limit_of
from core.text.spoken import SpokenSegment, spoken_segments

PIECES = [
    *"abcXYZ éñÑ.,!?;:…\"'()-—/%&@#+*=<>[]~^|\\¿¡«»$€£¥º0123456789",
    *"好的房子两，。！？；、“”「」（）：",
    *[
        "Mr. ",
        "p.m. ",
        "St. ",
        "No. 5",
        "Sra. ",
        "EE. UU. ",
        "1. ",
        "n.º 5",
        "m²",
        "sq ft",
        "\n",
        "\t",
    ],
    *["$1,250.50", "1.250,50 €", "350.5万", "5:30 pm", "17:30 h", "下午3:30", "2024年5月1日"],
    *["617-555-0100", "+34 600 123 456", "138-0013-8000", "a@b.com", "www.a.com/x?y=1", "3/4/2025"],
    *[
        "May 5, 2025",
        "5 de mayo",
        "½",
        "90%",
        "10-12",
        "12345678901234567890",
        "IV",
        "ﬁ",
        "e\u0301",
    ],
    *["\u200b", "🙂", "👩‍👩‍👧", "\u202e", "Ａ１２", "٣", "ǆ", "㎡", "Ⅳ", "ß", "İ"],
]
mixed = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


def letters_of(text: str) -> list[str]:
    """Letters and digits; not the ornamental numbers (`❶`), which may be dropped as marks."""
    return [c for c in text if c.isalnum() and unicodedata.category(c) != "No"]


def check(text: str, language: Language, max_chars: int) -> None:
    cleaned = clean(text)
    segments = list(spoken_segments(cleaned, language, max_chars=max_chars))
    limit = limit_of(language, max_chars)
    for segment in segments:
        assert 0 < len(segment.text) <= limit
        assert speakable(segment.text)
        assert len(segment.source_offsets) == len(segment.text) + 1
        assert all(0 <= at <= len(text) for at in segment.source_offsets)
        assert all(a <= b for a, b in itertools.pairwise(segment.source_offsets))
    for one, two in itertools.pairwise(segments):
        assert one.source_offsets[-1] <= two.source_offsets[0]
    assert covered(text, segments) == letters_of(text)


def covered(text: str, segments: list[SpokenSegment]) -> list[str]:
    return [
        character
        for segment in segments
        for character in letters_of(text[segment.source_offsets[0] : segment.source_offsets[-1]])
    ]


@settings(max_examples=1500, deadline=None)
@given(text=mixed, language=st.sampled_from(LANGUAGES), max_chars=st.sampled_from([60, 120, 240]))
def test_every_segment_leads_back_to_the_callers_text(
    text: str, language: Language, max_chars: int
) -> None:
    check(text, language, max_chars)


@settings(max_examples=500, deadline=None)
@given(text=st.text(max_size=120), language=st.sampled_from(LANGUAGES))
def test_so_does_any_text_at_all(text: str, language: Language) -> None:
    check(text, language, 240)


@pytest.mark.parametrize(
    ("text", "language", "second"),
    [
        ("Hi.  It costs\n$3.50 a\u200b day now.\n\nCall us soon.", "en", "Call"),
        ("Cuesta 1.250,50 € al mes.  ¿Le interesa el piso?", "es", "¿Le"),
        ("总价是350.5万元。您想什么时候来看？", "zh", "您想"),
        (" Thank you very much for your call. Shall we see the house?", "en", "Shall"),
    ],
)
def test_a_segment_says_where_it_begins(text: str, language: Language, second: str) -> None:
    segments = list(spoken_segments(clean(text), language, max_chars=240))
    first = len(text) - len(text.lstrip())
    assert [segment.source_offsets[0] for segment in segments] == [first, text.index(second)]
    assert segments[-1].source_offsets[-1] == len(text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_grows_over_the_limit_in_words_is_cut_again(language: Language) -> None:
    text = " ".join(["987,654,321"] * 20) if language != "zh" else "987654321和" * 8
    segments = list(spoken_segments(clean(text), language, max_chars=240))
    assert all(len(segment.text) <= limit_of(language, 240) for segment in segments)
    assert covered(text, segments) == letters_of(text)


@pytest.mark.parametrize("text", ["", " ", "...", "\u200b", "🙂 !", "。。。"])
def test_nothing_is_made_of_nothing(text: str) -> None:
    assert not list(spoken_segments(clean(text), "en", max_chars=240))


def test_equal_sentences_are_spoken_alike_wherever_they_stand() -> None:
    sentence = "It costs $1,250.50 a month near St. James Park."
    [alone] = spoken_segments(clean(sentence), "en", max_chars=240)
    among = list(
        spoken_segments(
            clean(f"Thank you for your call. {sentence} Shall we go?"), "en", max_chars=240
        )
    )
    assert among[1].text == alone.text
