"""Which script a text is written in, as far as a voice that reads one script has to know."""

from __future__ import annotations

from typing import Final

_LATIN: Final = (
    (0x0000, 0x024F),
    (0x1E00, 0x1EFF),
    (0x2C60, 0x2C7F),
    (0xFB00, 0xFB06),
)
"""Blocks of Latin letters, ligatures included (Unicode 15); full-width ones are another matter: the
local voice does not read them."""


def is_latin(text: str) -> bool:
    """Whether every letter of the text is a Latin one; marks, digits and symbols do not count."""
    if text.isascii():
        return True
    return all(
        any(first <= ord(character) <= last for first, last in _LATIN)
        for character in text
        if character.isalpha()
    )
