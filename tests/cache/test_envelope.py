from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cache.envelope import (
    VERSION,
    DamagedEntry,
    Entry,
    RenditionEntry,
    SegmentEntry,
    decode,
    encode,
)
from core.speech import Provenance, WordTiming
from tests.cache.conftest import rendition_entry, segment_entry

NUMBERS = st.integers(0, 2**40)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORDS = st.lists(
    st.builds(WordTiming, TEXTS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.booleans()), max_size=4
).map(tuple)
PROVENANCES = st.builds(
    Provenance,
    TEXTS,
    TEXTS,
    TEXTS,
    TEXTS,
    st.none() | TEXTS,
    st.none() | st.floats(0, 1e9),
    st.floats(0, 4e9),
)
ENTRIES = st.builds(
    SegmentEntry,
    st.sampled_from(["flac", "pcm"]),
    st.binary(max_size=300),
    NUMBERS,
    WORDS,
    PROVENANCES,
) | st.builds(
    RenditionEntry, TEXTS, st.binary(max_size=300), NUMBERS, st.floats(0, 1), WORDS, PROVENANCES
)


@given(ENTRIES)
def test_what_was_stored_comes_back(entry: Entry) -> None:
    assert decode(encode(entry)) == entry


@given(ENTRIES, st.data())
def test_any_truncation_is_damage(entry: Entry, data: st.DataObject) -> None:
    stored = encode(entry)
    length = data.draw(st.integers(0, len(stored) - 1))
    with pytest.raises(DamagedEntry):
        decode(stored[:length])


@given(ENTRIES, st.data())
def test_any_flipped_bit_is_damage(entry: Entry, data: st.DataObject) -> None:
    stored = bytearray(encode(entry))
    bit = data.draw(st.integers(0, 8 * len(stored) - 1))
    stored[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedEntry):
        decode(bytes(stored))


def test_every_single_bit_of_one_entry() -> None:
    stored = encode(segment_entry(b"abc"))
    for bit in range(8 * len(stored)):
        damaged = bytearray(stored)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedEntry):
            decode(bytes(damaged))


@given(st.binary(max_size=200))
def test_other_bytes_are_damage(stored: bytes) -> None:
    with pytest.raises(DamagedEntry):
        decode(stored)
    with pytest.raises(DamagedEntry):
        decode(bytes([VERSION]) + stored)


def test_more_bytes_than_were_written_are_damage() -> None:
    with pytest.raises(DamagedEntry):
        decode(encode(rendition_entry()) + b"\0")


def test_another_version_is_not_read() -> None:
    stored = encode(rendition_entry())
    assert stored[0] == VERSION
    with pytest.raises(DamagedEntry):
        decode(bytes([VERSION + 1]) + stored[1:])
