"""Texts to speak: different real-estate sentences of 40 to 170 characters."""

from __future__ import annotations

import random
from typing import Final

_OPENINGS: Final = (
    "Thank you for calling about the apartment",
    "The house with the large garden",
    "I have looked at the calendar and the visit",
    "The owner told us this morning that the flat",
    "One of our agents will show you the property",
    "The asking price of the corner building",
)
_PLACES: Final = (
    "near the old harbour",
    "on the third floor of the brick building",
    "two streets away from the station",
    "behind the public library",
    "at the northern end of the park",
    "next to the primary school",
)
_ENDINGS: Final = (
    "is still free.",
    "can be seen on Tuesday afternoon, if that suits you and your family.",
    "was renovated last year, and it has a new kitchen with an open view over the valley.",
    "is lower than you might expect. Would you like to hear more?",
    "has two bedrooms, a balcony and a quiet office. Heating and water are included in the rent.",
)
MIN_CHARS: Final = 40
MAX_CHARS: Final = 170


def phrases(count: int, seed: int) -> list[str]:
    """`count` different texts, the same ones for the same seed."""
    dice = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        number = dice.randrange(100, 10_000)
        text = (
            f"{dice.choice(_OPENINGS)} {_spoken(number)} {dice.choice(_PLACES)} "
            f"{dice.choice(_ENDINGS)}"
        )
        if MIN_CHARS <= len(text) <= MAX_CHARS:
            found[text] = None
    return list(found)


_DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def _spoken(number: int) -> str:
    return "number " + " ".join(_DIGITS[int(digit)] for digit in str(number))
