"""What no voice can say is gone, and every character knows the way back."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text.clean import clean, speakable


@pytest.mark.parametrize(
    ("asked", "cleaned"),
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
def test_a_text_keeps_only_what_a_voice_can_say(asked: str, cleaned: str) -> None:
    assert clean(asked).text == cleaned


@given(st.text())
def test_every_clean_character_leads_back_to_where_it_came_from(text: str) -> None:
    result = clean(text)
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
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean(text).text
    assert clean(once).text == once


@pytest.mark.parametrize(
    ("text", "can"), [("a", True), ("7", True), ("好", True), ("... !", False)]
)
def test_what_can_be_spoken(text: str, can: bool) -> None:
    assert speakable(text) is can
