"""Which script a text is written in, as far as a voice that reads one script has to know."""

from __future__ import annotations

from typing import Final

from core.text.languages import Language

_LATIN: Final = (
    (0x0000, 0x024F),
    (0x1E00, 0x1EFF),
    (0x2C60, 0x2C7F),
    (0xFB00, 0xFB06),
)
"""Blocks of Latin letters, ligatures included (Unicode 15); full-width ones are another matter: the
local voice does not read them."""


_HAN: Final = ((0x3007, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF))
"""Han characters, those of the supplementary planes left out: no voice here knows them."""


def readable(text: str, language: Language) -> bool:
    """Whether the local voice of that language has a sound for every letter of the text: Latin
    ones, and Han in Mandarin. Marks, digits and symbols do not count."""
    if text.isascii():
        return True
    blocks = _LATIN + _HAN if language == "zh" else _LATIN
    return all(
        any(first <= ord(character) <= last for first, last in blocks)
        for character in text
        if character.isalpha()
    )
