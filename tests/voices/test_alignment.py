"""Written words next to read words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.text.words import Word, words_of
from core.voices.alignment import Block, align, timings


def test_words_and_offsets() -> None:
    text = "  Hello,\tbig \n world! "
    words = words_of(text)
    assert [word.text for word in words] == ["Hello,", "big", "world!"]
    assert all(text[word.start : word.end] == word.text for word in words)


def test_equal_words_stand_alone() -> None:
    assert align(["Hello,", "world."], ["hello", "world"]) == [
        Block(0, 1, 0, 1),
        Block(1, 2, 1, 2),
    ]


def test_one_written_word_read_as_several() -> None:
    written = ["at", "5:30", "today"]
    read = ["at", "five", "thirty", "today"]
    assert align(written, read) == [Block(0, 1, 0, 1), Block(1, 2, 1, 3), Block(2, 3, 3, 4)]


def test_words_that_are_not_read_have_no_read_words() -> None:
    assert align(["go", "😀", "on"], ["go", "on"]) == [
        Block(0, 1, 0, 1),
        Block(1, 2, 1, 1),
        Block(2, 3, 1, 2),
    ]


def test_what_is_read_before_the_first_word_belongs_to_it() -> None:
    assert align(["dogs"], ["hashtag", "dogs"]) == [Block(0, 1, 0, 2)]


@given(
    st.lists(st.sampled_from(["a", "b", "c", "1/2", "!"]), max_size=12),
    st.lists(st.sampled_from(["a", "b", "c", "half", "!"]), max_size=12),
)
def test_blocks_cover_both_in_order(written: list[str], read: list[str]) -> None:
    blocks = align(written, read)
    assert [i for b in blocks for i in range(b.w0, b.w1)] == list(range(len(written)))
    assert [j for b in blocks for j in range(b.r0, b.r1)] == list(range(len(read)))
    assert all(b.w0 < b.w1 for b in blocks) or not written


def test_one_word_has_the_whole_time_and_is_exact() -> None:
    (timing,) = timings([Word("5:30", 3, 7)], 100, 900)
    assert (timing.start_ms, timing.end_ms, timing.estimated) == (100, 900, False)


def test_several_words_share_the_time_by_their_letters() -> None:
    first, dash, last = timings([Word("abc", 0, 3), Word("—", 4, 5), Word("d.", 6, 8)], 0, 400)
    assert (first.start_ms, first.end_ms) == (0, 300)
    assert (dash.start_ms, dash.end_ms) == (300, 300)
    assert (last.start_ms, last.end_ms) == (300, 400)
    assert first.estimated
    assert last.estimated
