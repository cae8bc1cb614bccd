"""When bytes leave: recorded times of the real service, with a small seeded jitter.

Recorded (mp3_44100_128, creator plan, one client in Europe, 2026-09): flash first byte 206-210 ms
at any length, whole reply 0.25 s + 1.65 ms per character; multilingual whole replies of 1.09, 1.68
and 5.62 s for 40, 170 and 600 characters. Not recorded and assumed: turbo is flash plus the
published difference of inference (200 ms); multilingual's first byte is half its shortest reply;
a Han character counts as several, as it takes longer to say.
"""

from __future__ import annotations

import random
from typing import Final, Literal

import msgspec
import numpy as np

from benchmarks.emulator.catalogue import Family

LatencyName = Literal["recorded", "flash", "multilingual", "none"]

FLASH_FIRST_S: Final = 0.208
FLASH_BASE_S: Final = 0.25
FLASH_PER_CHAR_S: Final = 0.001_65
_TURBO_EXTRA_S: Final = 0.2
_MULTILINGUAL_FIRST_S: Final = 0.545
_MULTILINGUAL_CHARS: Final = (0, 40, 170, 600)
_MULTILINGUAL_S: Final = (0.91, 1.09, 1.68, 5.62)
_MULTILINGUAL_PER_CHAR_S: Final = (5.62 - 1.68) / (600 - 170)
JITTER: Final = 0.02
"""Share of a time by which it varies both ways."""


class Timing(msgspec.Struct, frozen=True):
    """Seconds from the start of the generation."""

    first_byte_s: float
    total_s: float


INSTANT: Final = Timing(0.0, 0.0)


def timing_of(
    name: LatencyName, family: Family, chars: int, rng: random.Random, *, jitter: float = JITTER
) -> Timing:
    """The times of one request; `name` other than `recorded` overrides the model's family."""
    if name == "none":
        return INSTANT
    if name != "recorded":
        family = name
    if family == "multilingual":
        first_s = _MULTILINGUAL_FIRST_S
        total_s = float(np.interp(chars, _MULTILINGUAL_CHARS, _MULTILINGUAL_S))
        total_s += max(0, chars - _MULTILINGUAL_CHARS[-1]) * _MULTILINGUAL_PER_CHAR_S
    else:
        extra_s = _TURBO_EXTRA_S if family == "turbo" else 0.0
        first_s = FLASH_FIRST_S + extra_s
        total_s = FLASH_BASE_S + extra_s + chars * FLASH_PER_CHAR_S
    first_s *= 1 + rng.uniform(-jitter, jitter)
    total_s *= 1 + rng.uniform(-jitter, jitter)
    return Timing(first_s, max(first_s, total_s))
