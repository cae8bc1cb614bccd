"""When audio that was sent is heard, reckoned by a clock and by what the client reports.

Utterances are played one after the other, each at its own pace of 1 ms of audio per ms; when the
audio runs out before more of it was sent, playing waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

MAX_KEPT: Final = 16
"""Utterances whose playing is followed; beyond it the oldest count as heard."""


class _Play(msgspec.Struct, eq=False):
    number: int
    sent_ms: float = 0.0
    paced_ms: float = 0.0
    """Heard by the clock alone; what a client reports can only bring it forward."""
    heard_ms: float = 0.0
    """Heard by the last report, run on by the clock."""
    ended: bool = False


class Playout:
    """The playing of one session. `clock` gives seconds and never goes back."""

    __slots__ = ("_at_s", "_clock", "_plays")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at_s = clock()
        self._plays: list[_Play] = []

    def sent(self, number: int, duration_ms: float, *, paced: bool = True) -> None:
        """More audio of that utterance was sent; the utterances are sent one after the other.

        What is not `paced` holds nothing up: it was sent whole, and may be meant for later.
        """
        self._advance()
        play = self._play(number)
        play.sent_ms += duration_ms
        if not paced:
            play.paced_ms = play.sent_ms

    def ended(self, number: int) -> None:
        """All audio of that utterance was sent."""
        for play in self._plays:
            if play.number == number:
                play.ended = True

    def report(self, number: int, offset_ms: float) -> None:
        """The client says how far it has played; what comes before that utterance is over."""
        self._advance()
        if all(play.number != number for play in self._plays):
            return
        while self._plays[0].number != number and self._plays[0].ended:
            self._plays.pop(0)
        for play in self._plays:
            if play.number == number:
                play.heard_ms = min(offset_ms, play.sent_ms)
                play.paced_ms = max(play.paced_ms, play.heard_ms)

    def ahead_ms(self) -> float:
        """Audio that was sent at its pace and not played yet, by the clock."""
        self._advance()
        return sum(play.sent_ms - play.paced_ms for play in self._plays)

    def unheard_ms(self) -> float:
        """How long it takes until everything that was sent is heard."""
        self._advance()
        return sum(play.sent_ms - play.heard_ms for play in self._plays)

    def heard_ms(self, number: int) -> float:
        """How much of an utterance was heard that is not heard to its end; else 0."""
        self._advance()
        return next((play.heard_ms for play in self._plays if play.number == number), 0.0)

    def playing(self) -> tuple[int, ...]:
        """The utterances that are not heard to their end yet, in order."""
        self._advance()
        return tuple(play.number for play in self._plays)

    def clear(self) -> None:
        """Nothing is played any more."""
        self._plays = []

    def _play(self, number: int) -> _Play:
        if not self._plays or self._plays[-1].number != number:
            if len(self._plays) >= MAX_KEPT:
                self._plays.pop(0)
            self._plays.append(_Play(number))
        return self._plays[-1]

    def _advance(self) -> None:
        now_s = self._clock()
        passed_ms = (now_s - self._at_s) * 1000
        self._at_s = now_s
        paced_ms = heard_ms = passed_ms
        for play in self._plays:
            step = min(paced_ms, play.sent_ms - play.paced_ms)
            play.paced_ms += step
            # An utterance that still grows is waited for: nothing behind it is heard before.
            paced_ms = paced_ms - step if play.ended else 0.0
            step = min(heard_ms, play.sent_ms - play.heard_ms)
            play.heard_ms += step
            heard_ms = heard_ms - step if play.ended else 0.0
        if self._plays and self._plays[0].ended:
            self._plays = [p for p in self._plays if not p.ended or p.heard_ms < p.sent_ms]
