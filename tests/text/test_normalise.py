"""The normaliser: what is spoken, and the way back to the caller's characters."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text.normalise import normalise, speakable


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [
        ("Hello there.", "Hello there."),
        ("  Hello \n\t there. ", "Hello there."),
        ("a\x00b\u200bc", "abc"),
        ("cafe\u0301", "café"),
        ("\u202eevil", "evil"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_what_is_spoken(asked: str, spoken: str) -> None:
    assert normalise(asked).text == spoken


@given(st.text())
def test_every_spoken_character_leads_back_to_where_it_came_from(text: str) -> None:
    result = normalise(text)
    assert len(result.offsets) == len(result.text) + 1
    assert not speakable(text[result.offsets[-1] :])
    assert result.offsets[-1] <= len(text)
    assert list(result.offsets) == sorted(result.offsets)
    for character, offset in zip(result.text, result.offsets, strict=False):
        if character == " ":
            assert text[offset].isspace()
        else:
            base = unicodedata.normalize("NFC", text[offset : offset + 8])
            assert character in base


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text).text
    assert normalise(once).text == once


@pytest.mark.parametrize(
    ("text", "can"), [("a", True), ("7", True), ("好", True), ("... !", False)]
)
def test_what_can_be_spoken(text: str, can: bool) -> None:
    assert speakable(text) is can
