"""Text without what no voice can say, with the way back to the caller's characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

import msgspec

_DROPPED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


class Mapped(msgspec.Struct, frozen=True):
    """A text made from another one and, for each of its characters, the place it came from."""

    text: str
    offsets: Sequence[int]
    """One for each character of `text`, never falling; one more: where the last of them ends."""


def clean(text: str) -> Mapped:
    """Compose accents (NFC), turn every run of white space into one space, drop what no voice can
    say (controls, invisible format characters, unassigned code points), trim both ends."""
    if text.isascii() and text.isprintable() and "  " not in text:
        trimmed = text.strip()
        at = text.index(trimmed)
        return Mapped(trimmed, range(at, at + len(trimmed) + 1))
    out: list[str] = []
    offsets: list[int] = []
    space_at: int | None = None
    position = end = 0
    while position < len(text):
        start = position
        position += 1
        while position < len(text) and unicodedata.combining(text[position]):
            position += 1
        cluster = text[start:position]
        if cluster[0].isspace():
            space_at = start if space_at is None else space_at
            continue
        spoken = "".join(
            c
            for c in unicodedata.normalize("NFC", cluster)
            if unicodedata.category(c) not in _DROPPED
        )
        if not spoken:
            continue
        if space_at is not None and out:
            out.append(" ")
            offsets.append(space_at)
        space_at = None
        out.append(spoken)
        offsets.extend([start] * len(spoken))
        end = position
    offsets.append(end)
    return Mapped("".join(out), tuple(offsets))


def speakable(text: str) -> bool:
    """Whether a voice would say anything: at least one letter or digit."""
    return any(c.isalnum() for c in text)
