"""Where a text is parted when its listener interrupts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.conversation.heard import PAUSE_MS, split_spoken
from core.conversation.utterance import ClauseMark
from core.speech import WordTiming
from core.text.words import words_of

EACH_MS = 200


def timed(text: str, *, upto: int | None = None, estimated: bool = False) -> list[WordTiming]:
    """Every word 200 ms long, one after another."""
    return [
        WordTiming(
            word.text, n * EACH_MS, (n + 1) * EACH_MS, word.start, word.end, estimated=estimated
        )
        for n, word in enumerate(words_of(text)[:upto])
    ]


HOUSE = "The flat has two rooms, sir. Shall we go?"


@pytest.mark.parametrize(
    ("text", "offset_ms", "spoken"),
    [
        (HOUSE, 0, ""),
        (HOUSE, 100, ""),
        (HOUSE, 101, "The "),
        (HOUSE, 300, "The "),
        (HOUSE, 310, "The flat "),
        (HOUSE, 950, "The flat has two rooms, "),
        (HOUSE, 1150, "The flat has two rooms, sir. "),
        (HOUSE, 1790, "The flat has two rooms, sir. Shall we go?"),
        (HOUSE, 60_000, HOUSE),
        ("你好，我们走吧。", 350, "你好，"),
        ("你好，我们走吧。", 550, "你好，我"),
        ("你好，我们走吧。", 1400, "你好，我们走吧。"),
        ("Claro.  ¿Vamos ya?", 150, "Claro.  "),
        ("Claro. ¿Vamos ya?", 350, "Claro. ¿Vamos "),
        ("  Yes\nno ", 150, "  Yes\n"),
        ("Yes — no", 350, "Yes — "),
    ],
)
def test_a_word_counts_when_more_than_half_of_it_was_heard(
    text: str, offset_ms: float, spoken: str
) -> None:
    split = split_spoken(text, timed(text), offset_ms)
    assert split.spoken == spoken
    assert split.spoken + split.remaining == text
    assert not split.estimated


def test_words_made_of_one_figure_are_one_word() -> None:
    text = "It is 350 dollars."
    spoken = ["It", "is", "three", "hundred", "fifty", "dollars."]
    spans = [(0, 2), (3, 5), (6, 9), (6, 9), (6, 9), (10, 18)]
    words = [
        WordTiming(word, n * EACH_MS, (n + 1) * EACH_MS, *span)
        for n, (word, span) in enumerate(zip(spoken, spans, strict=True))
    ]
    assert split_spoken(text, words, 690).spoken == "It is "
    assert split_spoken(text, words, 710).spoken == "It is 350 "


def test_what_has_no_timing_is_told_by_the_usual_pace() -> None:
    text = "one two three four five six seven eight nine ten"
    split = split_spoken(text, [], 1_500)
    assert split.estimated
    assert split.spoken == "one two three four five "
    assert split_spoken(text, [], 60_000).remaining == ""
    first = timed(text, upto=2)
    assert split_spoken(text, first, 400 + PAUSE_MS).spoken == "one two "
    assert not split_spoken(text, first, 400 + PAUSE_MS).estimated, "that was a pause"
    later = split_spoken(text, first, 400 + PAUSE_MS + 700)
    assert (later.spoken, later.estimated) == ("one two three four ", True)


TWO = "One two three. Four five six seven."
MARKS = [ClauseMark(1, 0, 0.0), ClauseMark(2, 15, 900.0)]


def test_what_comes_before_a_clause_that_has_begun_was_said() -> None:
    """A clause's end is no pause of unknown length, and its last word may end a little late."""
    first = timed(TWO, upto=3)
    late = [*first[:2], WordTiming("three.", 400, 901, 8, 14)]
    for words in ((), first, late):
        split = split_spoken(TWO, words, 900 + 250, MARKS)
        assert (split.spoken, split.estimated) == ("One two three. Four ", True)


def test_a_clause_whose_end_is_known_is_parted_in_proportion() -> None:
    text = "one two three four five six. Then more."
    marks = [ClauseMark(1, 0, 0.0), ClauseMark(2, text.index("Then"), 6_000.0)]
    assert split_spoken(text, (), 3_000, marks).spoken == "one two three "
    assert split_spoken(text, (), 5_999, marks).spoken == "one two three four five six. "
    assert split_spoken(text, (), 3_000, marks[:1]).spoken == text, "the usual pace is faster"


@given(st.lists(st.integers(0, 8), max_size=4), st.integers(0, 8), st.floats(0, 6_000))
def test_with_clauses_too_more_time_never_means_less_text(
    begin: list[int], known: int, offset_ms: float
) -> None:
    found = timed(HOUSE)
    marks = [ClauseMark(0, found[n].char_start, found[n].start_ms * 2) for n in sorted(begin)]
    split = split_spoken(HOUSE, found[:known], offset_ms, marks)
    assert split.spoken + split.remaining == HOUSE
    later = split_spoken(HOUSE, found[:known], offset_ms + 150, marks)
    assert later.spoken.startswith(split.spoken)


def test_timings_that_are_estimates_say_so() -> None:
    assert split_spoken(HOUSE, timed(HOUSE, estimated=True), 500).estimated


@given(
    st.text("ab é好，.!¿$(3 \n“”", max_size=60),
    st.floats(-100, 20_000),
    st.integers(0, 20),
)
def test_nothing_is_lost_and_more_time_never_means_less_text(
    text: str, offset_ms: float, known: int
) -> None:
    words = timed(text, upto=known)
    split = split_spoken(text, words, offset_ms)
    assert split.spoken + split.remaining == text
    assert split_spoken(text, words, offset_ms + 150).spoken.startswith(split.spoken)
