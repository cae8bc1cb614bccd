"""Texts with figures, dates and prices: what is written in them, and what a voice says of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from benchmarks.wordcode import BURST_MS, CodedWord, encode
from benchmarks.wordtext import tokens

_READ = re.compile(r"\[([^|]*)\|([^]]*)\]")


class Place(msgspec.Struct, frozen=True):
    """A word as it is written, or a figure, and how many words are said for it."""

    start: int
    end: int
    words: int


class Said(msgspec.Struct, frozen=True):
    """A text, and how it is read."""

    text: str
    spoken: str
    places: Sequence[Place]

    def told(self, spoken_text: str) -> int:
        """How many places that part of the text holds; it may not end within one."""
        at = len(spoken_text)
        assert not any(place.start < at < place.end for place in self.places), spoken_text
        return sum(place.end <= at for place in self.places)

    def heard(self, words: Sequence[CodedWord], offset_ms: float) -> int:
        """How many places were heard more than half by then. What did not arrive is taken to sound
        when the voice says it in one breath."""
        starts_ms = [word.start_ms for word in words]
        starts_ms += [word.start_ms for word in encode(self.spoken)[1][len(words) :]]
        count = first = 0
        for place in self.places:
            last = first + place.words - 1
            count += (starts_ms[first] + starts_ms[last] + BURST_MS) / 2 <= offset_ms
            first = last + 1
        return count


def said_of(pattern: str) -> Said:
    """`[3|three]` is written 3 and read three; everything else is read as it is written."""
    text = spoken = ""
    places: list[Place] = []
    for at, part in enumerate(_READ.split(pattern)):
        match at % 3:
            case 0:
                begin = len(text)
                places += [Place(begin + t.start, begin + t.end, 1) for t in tokens(part)]
                text, spoken = text + part, spoken + part
            case 1:
                places.append(Place(len(text), len(text) + len(part), 0))
                text += part
            case _:
                words = sum(1 for _ in tokens(part))
                places[-1] = msgspec.structs.replace(places[-1], words=words)
                spoken += part
    return Said(text, spoken, places)
