"""Joins two sounds of the same speech, where one was cut off in the middle of a sentence.

Both are known for a while around the cut. They change over where it is quietest.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from core.audio.pcm import RATE_HZ

_FADE: Final = RATE_HZ // 200
"""Half of the cross-fade of 10 ms."""
_REACH: Final = RATE_HZ // 50
"""How far from the cut the cross-fade may be, to where it is quiet."""
_LAG: Final = RATE_HZ // 200
"""How far the two may be shifted against each other: a period of the voice at 200 Hz."""
NEEDED: Final = _REACH + 3 * _FADE + _LAG
"""How many samples of both sounds have to be known before and after a cut (40 ms)."""

Samples = npt.NDArray[np.float32]


class Seam(msgspec.Struct, frozen=True, eq=False):
    """Where a sound ends and the next one is to go on."""

    centre: int
    """Sample of the plan."""
    window: Samples
    """The first sound from two fades before the centre to two after it."""


def cut_off(sound: Samples, origin: int, cut: int) -> tuple[Samples, Seam]:
    """A sound up to where it is quietest near sample `cut` of the plan, and its seam; `origin` is
    the sample of the plan with which it begins."""
    near = cut - origin - _REACH
    around = sound[near - _FADE : near + 2 * _REACH + _FADE] ** 2
    centre = near + int(np.convolve(around, np.ones(2 * _FADE), mode="valid").argmin())
    window = sound[centre - 2 * _FADE : centre + 2 * _FADE]
    return sound[: centre - _FADE], Seam(origin + centre, window)


def carried_on(seam: Seam, sound: Samples, origin: int) -> tuple[Samples, int]:
    """What follows a sound that was cut off, and the sample of the plan with which that begins.

    Both sounds are the same speech around the seam, but the phases of the voice differ: the second
    one is shifted to where they agree best, by 5 ms at the most.
    """
    start = seam.centre - origin - 2 * _FADE
    lags = range(-_LAG, _LAG + 1)
    lag = max(lags, key=lambda lag: _likeness(seam.window, sound[start + lag :]))
    begin = start + lag + _FADE
    rise = np.sin(np.linspace(0, np.pi / 2, 2 * _FADE, dtype=np.float32)) ** 2
    after = sound[begin:].copy()
    after[: 2 * _FADE] *= rise
    after[: 2 * _FADE] += seam.window[_FADE : 3 * _FADE] * (1 - rise)
    return after, origin + begin


def _likeness(left: Samples, right: Samples) -> float:
    right = right[: len(left)]
    energy = float(np.dot(right, right)) * float(np.dot(left, left))
    return float(np.dot(left, right)) / float(energy**0.5 + 1e-9)


def faded(sound: Samples, *, at_start: bool, at_end: bool) -> Samples:
    """The sound from and to zero, within 5 ms of silence that is almost that."""
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    sound = sound.copy()
    if at_start:
        sound[:_FADE] *= ramp
    if at_end:
        sound[-_FADE:] *= ramp[::-1]
    return sound
