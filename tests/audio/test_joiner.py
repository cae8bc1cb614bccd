from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.audio.joiner import Joiner, source_span
from core.speech import AudioChunk, SegmentPlan, WordTiming


def segment(index: int, text: str, offsets: tuple[int, ...] | range) -> SegmentPlan:
    return SegmentPlan(
        index=index,
        text=text,
        source_start=offsets[0],
        source_end=offsets[-1],
        source_offsets=offsets,
        attempts=(),
    )


def word(text: str, start_ms: int, char_start: int) -> WordTiming:
    return WordTiming(text, start_ms, start_ms + 100, char_start, char_start + len(text))


@given(st.lists(st.lists(st.integers(0, 5000), min_size=1, max_size=6), min_size=1, max_size=8))
def test_no_sample_is_lost_and_no_rounding_adds_up(lengths: list[list[int]]) -> None:
    joiner = Joiner()
    out, before = b"", 0
    for index, chunks in enumerate(lengths):
        plan = segment(index, "word", range(index * 5, index * 5 + 5))
        for at, length in enumerate(chunks):
            words = (word("word", 40 * at, 0),)
            fill = bytes([index + 1]) * (2 * length)
            placed = joiner.add(plan, AudioChunk(pcm=fill, words=words))
            out += placed.pcm
            assert abs(placed.words[0].start_ms - (40 * at + before / 24)) <= 0.5
            assert placed.words[0].char_start == index * 5
            assert placed.words[0].char_end == index * 5 + 4
        joiner.end_segment()
        before += sum(chunks)
        assert joiner.samples == before
    expected = b"".join(bytes([i + 1]) * (2 * sum(c)) for i, c in enumerate(lengths))
    assert out == expected


def test_words_point_to_the_callers_own_characters() -> None:
    #          0123456789
    source = "  It is $20 now "
    spoken = "It is twenty dollars now"
    offsets = (2, 3, 4, 5, 6, 7, *[8] * len("twenty dollars"), 11, 12, 13, 14, 16)
    assert len(offsets) == len(spoken) + 1
    plan = segment(0, spoken, offsets)
    words = tuple(word(text, 0, spoken.index(text)) for text in spoken.split())
    placed = Joiner().add(plan, AudioChunk(pcm=b"", words=words)).words
    assert [source[w.char_start : w.char_end].strip() for w in placed] == [
        *("It", "is", "$20", "$20", "now")
    ]
    assert [w.text for w in placed] == spoken.split()


def test_a_letter_keeps_its_combining_accent() -> None:
    source = "cafe\u0301 bar"
    offsets = (0, 1, 2, 3, 5, 6, 7, 8, 9)
    start, end = source_span(offsets, 0, 4)
    assert source[start:end] == "cafe\u0301"


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=30).map(sorted),
    st.integers(-5, 40),
    st.integers(-5, 40),
)
def test_any_offsets_of_a_provider_stay_inside_the_text(
    offsets: list[int], start: int, end: int
) -> None:
    low, high = source_span(tuple(offsets), start, end)
    assert offsets[0] <= low <= high <= offsets[-1] + 1


def test_a_chunk_without_words_is_passed_on() -> None:
    chunk = AudioChunk(pcm=bytes(96))
    assert Joiner().add(segment(0, "a", range(2)), chunk) is chunk


def test_half_samples_and_mixed_segments_are_refused() -> None:
    joiner = Joiner()
    with pytest.raises(ValueError, match="whole samples"):
        joiner.add(segment(0, "a", range(2)), AudioChunk(pcm=b"123"))
    joiner.add(segment(0, "a", range(2)), AudioChunk(pcm=b"12"))
    with pytest.raises(ValueError, match="not ended"):
        joiner.add(segment(1, "b", range(2, 4)), AudioChunk(pcm=b"12"))
