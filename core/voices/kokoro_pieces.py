"""How the plan of a sentence is cut, so that each piece is there when it is to be played.

A reading costs 60 ms for its plan, and each of its pieces 9.5 ms a unit of 25 ms: so each may be
longer than the one before, and they are all cut between two words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from core.voices.kokoro_net import Plan

FIRST_UNITS: Final = 48
"""The first piece of a text is at most that long, and a word at least: 0.6 s of work."""
FIRST_WORDS: Final = 3
"""And it has at most so many words."""
_EARLY_UNITS: Final = 16
"""A first piece shorter than this is made one word longer: the next would not be there in time."""
_LEAST_UNITS: Final = 24
_MOST_UNITS: Final = 64
"""1.6 s: bounds the work after an abandoned call, and the memory (4.5 MB a unit)."""
_UNIT_COST: Final = 0.55
"""Time to compute a unit in relation to its length: 0.38 alone, the rest is for a busy machine."""
_SHORTEST_UNITS: Final = 12
"""A piece is worth the work at its edges, and has room for two seams."""
_REST_UNITS: Final = 12
"""A rest shorter than this is part of the last piece."""

LEAD_UNITS: Final = 1
"""Silence kept before the first sound of a reading."""
TAIL_UNITS: Final = 3
"""Silence kept after its last sound; the voice's own is 1 s."""

SHORT_UNITS: Final = 48
"""A reading of one piece no longer than this is decoded as a whole, see `kokoro_graph`."""
SHORT_TAIL_UNITS: Final = 16
"""And with so much of the silence after it."""

MARGIN_UNITS: Final = 6
"""What is decoded on both sides of a piece and not heard, so that its edges sound as within the
sentence; with 10 no less is understood."""
_NEARLY: Final = 0.6
"""A piece may be shorter by this than it could be, if it can end where it is quieter."""


class Piece(msgspec.Struct, frozen=True):
    """Units `first` to `last` (excluded) of a plan."""

    first: int
    last: int


class Pacer:
    """Cuts the plans of one text, in order, without regard to the clock: the same text has the same
    pieces."""

    def __init__(self) -> None:
        self._ahead: float | None = None
        """Units yet to be played when the next piece is begun; `None` before the first."""

    def pieces(self, plan: Plan, words: Sequence[int]) -> list[Piece]:
        """Cut a plan at the symbols where words begin; the pieces cover all that sounds."""
        sounding = np.flatnonzero(plan.sounding)
        start, end = 0, plan.units  # whole, if nothing sounds: symbols without a word can do that
        if len(sounding):
            start = max(start, int(sounding[0]) - LEAD_UNITS)
            end = min(end, int(sounding[-1]) + 1 + TAIL_UNITS)
        places = [int(plan.starts[word]) for word in words]
        pieces: list[Piece] = []
        while start < end:
            cuts = [cut for cut in places if start + _SHORTEST_UNITS <= cut <= end - _REST_UNITS]
            if self._ahead is None:
                last = _first_cut(start, cuts, places[FIRST_WORDS - 1 :], end)
            else:
                last = _next_cut(start, cuts, end, self._ahead, plan)
            work = _UNIT_COST * (last - start + 2 * MARGIN_UNITS)
            self._ahead = last - start + max(0.0, (self._ahead or work) - work)
            pieces.append(Piece(start, last))
            start = last
        return pieces


def _first_cut(start: int, cuts: list[int], last_words: list[int], end: int) -> int:
    """Where the first piece of a text ends: as late as it may, since its length is the lead."""
    latest = last_words[0] if last_words else end
    cuts = [cut for cut in cuts if cut <= latest] or cuts[:1]
    if latest == end:
        cuts.append(end)
    long_enough = [cut for cut in cuts if cut - start >= _EARLY_UNITS] or cuts[-1:]
    fitting = [cut for cut in long_enough if cut - start <= FIRST_UNITS]
    return max(fitting, default=min(long_enough, default=end))


def _next_cut(start: int, cuts: list[int], end: int, ahead: float, plan: Plan) -> int:
    """Where any other piece ends: about as late as it can be in time, where it is quiet."""
    limit = min(_MOST_UNITS, max(_LEAST_UNITS, ahead / _UNIT_COST - 2 * MARGIN_UNITS))
    if not cuts or end - start <= limit:
        return end
    fitting = [cut for cut in cuts if cut - start <= limit] or cuts[:1]
    fitting = [cut for cut in fitting if cut - start >= _NEARLY * (fitting[-1] - start)]
    return min(fitting, key=lambda cut: float(plan.energy[0, 2 * cut - 2 : 2 * cut + 2].min()))
