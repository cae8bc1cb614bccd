"""When audio that was sent is heard, reckoned by a clock and by what the client reports.

Utterances are played one after the other, each at its own pace of 1 ms of audio per ms; when the
audio runs out before more of it was sent, playing waits for it. All places are on an utterance's
own clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

MAX_KEPT: Final = 16
"""Utterances whose playing is followed; beyond it the oldest count as heard."""
GRACE_S: Final = 2.0
"""So long after its end an utterance is still known: a player may be behind the clock."""


class _Play(msgspec.Struct, eq=False):
    number: int
    from_ms: float = 0.0
    sent_ms: float = 0.0
    paced_ms: float = 0.0
    """Heard by the clock alone; what a client reports can only bring it forward."""
    heard_ms: float = 0.0
    """Heard by the last report, run on by the clock."""
    ended: bool = False
    heard_since_s: float | None = None
    """When its end was heard."""
    guessed: bool = False
    """The clock stood still, or ran in another process."""


class Playout:
    """The playing of one session. `clock` gives seconds and never goes back."""

    __slots__ = ("_at_s", "_clock", "_plays", "_reported")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at_s = clock()
        self._plays: list[_Play] = []
        self._reported: int | None = None

    def begin(self, number: int, from_ms: float) -> None:
        """The audio that is sent next begins there; what was sent from there on is not played."""
        self._advance()
        play = self._find(number)
        if play is None and from_ms:
            play = self._play(number)
            play.from_ms = play.sent_ms = play.paced_ms = play.heard_ms = from_ms
        elif play is not None:
            play.sent_ms = from_ms
            play.paced_ms, play.heard_ms = min(play.paced_ms, from_ms), min(play.heard_ms, from_ms)
            play.ended, play.heard_since_s = False, None

    def regain(self, number: int, sent_ms: float, left_ms: float, *, ended: bool = True) -> None:
        """So much of that utterance was sent elsewhere, and the end of that is heard after
        `left_ms`; less than 0: so long ago. `ended`: it was all of it."""
        self._advance()
        play = self._play(number)
        play.sent_ms = play.paced_ms = sent_ms
        play.heard_ms = min(sent_ms, max(0.0, sent_ms - left_ms))
        play.ended, play.guessed = ended, True
        if ended and left_ms <= 0:
            play.heard_since_s = self._at_s + left_ms / 1000

    def sent(self, number: int, duration_ms: float, *, paced: bool = True) -> float:
        """More audio of that utterance was sent; the utterances are sent one after the other.

        What is not `paced` holds nothing up: it was sent whole, and may be meant for later.

        Returns:
            When its end is heard, by the clock of the day.
        """
        self._advance()
        play = self._play(number)
        play.sent_ms += duration_ms
        if not paced:
            play.paced_ms = play.sent_ms
        return self._end_unix_s(number)

    def ended(self, number: int) -> None:
        """All audio of that utterance was sent."""
        play = self._find(number)
        if play is not None:
            play.ended = True

    def report(self, number: int, offset_ms: float) -> None:
        """The client says how far it has played; what comes before that utterance is over, and
        what comes behind it has not begun."""
        self._advance()
        play = self._find(number)
        if play is None:
            return
        while self._plays[0].number != number and self._plays[0].ended:
            self._plays.pop(0)
        play.heard_ms = min(offset_ms, play.sent_ms)
        play.paced_ms = max(play.paced_ms, play.heard_ms)
        play.guessed = False
        over = play.ended and play.heard_ms >= play.sent_ms
        self._reported = None if over else number
        if over:
            play.heard_since_s = play.heard_since_s or self._at_s
            return
        play.heard_since_s = None
        for later in self._plays[self._plays.index(play) + 1 :]:
            later.heard_ms, later.heard_since_s = later.from_ms, None

    @property
    def reported(self) -> int | None:
        """The utterance that the client last said to be playing, if it did."""
        return self._reported

    def ahead_ms(self) -> float:
        """Audio that was sent at its pace and not played yet, by the clock."""
        self._advance()
        return sum(play.sent_ms - play.paced_ms for play in self._plays)

    def unheard_ms(self, number: int | None = None) -> float:
        """How long it takes until everything that was sent is heard; or that utterance."""
        self._advance()
        return self._unheard_ms(number)

    def end_unix_s(self, number: int) -> float:
        """When the end of what was sent of that utterance is heard, by the clock of the day."""
        self._advance()
        return self._end_unix_s(number)

    def heard_ms(self, number: int, unknown_ms: float = 0.0) -> float:
        """How much of an utterance was heard, as long as it is known; else `unknown_ms`."""
        self._advance()
        play = self._find(number)
        return unknown_ms if play is None else play.heard_ms

    def is_guessed(self, number: int) -> bool:
        """Whether the clock may be wrong about that utterance."""
        play = self._find(number)
        return play is not None and play.guessed

    def playing(self) -> tuple[int, ...]:
        """The utterances that are not heard to their end yet, in order."""
        self._advance()
        return tuple(play.number for play in self._plays if play.heard_since_s is None)

    def known(self) -> tuple[int, ...]:
        """The same, and before them those that were heard to their end just now."""
        self._advance()
        return tuple(play.number for play in self._plays)

    def clear(self) -> None:
        """Nothing is played any more."""
        self._plays = []
        self._reported = None

    def _unheard_ms(self, number: int | None) -> float:
        left_ms = 0.0
        for play in self._plays:
            left_ms += play.sent_ms - play.heard_ms
            if play.number == number:
                break
        return left_ms

    def _end_unix_s(self, number: int) -> float:
        return time.time() + self._unheard_ms(number) / 1000

    def _find(self, number: int) -> _Play | None:
        return next((play for play in self._plays if play.number == number), None)

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
            if play.ended and play.heard_since_s is None and play.heard_ms >= play.sent_ms:
                play.heard_since_s = now_s - heard_ms / 1000
        before_s = now_s - GRACE_S
        self._plays = [
            play
            for play in self._plays
            if play.heard_since_s is None or play.heard_since_s > before_s
        ]
