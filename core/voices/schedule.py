"""Who of the waiting speaks next, and who cannot be in time.

Live goes before bulk; within live whoever is due earliest, then who came first. A request whose
late audio would be of no use is refused when it comes, if the work that is known leaves it no time,
and later at the moment from which on it would be late. Pure: times are given, nothing is waited
for.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import Final

import msgspec

from core.voices.pace import Pace
from core.voices.protocol import Job, WorkClass
from core.voices.worker import Listener, Worker

ADMISSION_SLACK: Final = 1.3
"""A request is accepted if it is in time even when everything until its first audio takes so many
times as long as expected: whoever was accepted should not be refused after all."""
START_SLACK: Final = 1.1
"""The same when it begins to be spoken."""
_LEAST_HINT_S: Final = 0.1


class Request(msgspec.Struct, eq=False):
    """One thing to be spoken and who asked for it."""

    job: Job
    work_class: WorkClass
    listener: Listener
    due_s: float = math.inf
    """When the first audio is due, on the loop's clock."""
    refuse_late: bool = False
    """Whether late first audio is of no use."""
    number: int = msgspec.field(default_factory=itertools.count().__next__)
    """In order of arrival."""
    worker: Worker | None = None
    """Who speaks it, from when somebody does."""
    began_s: float = 0.0
    end_s: float = 0.0
    """When it will be spoken, as expected."""
    heard: bool = False
    """Whether its first audio has come."""
    cancelled: bool = False

    @property
    def order(self) -> tuple[bool, float, int]:
        """Smaller goes first."""
        bulk = self.work_class == "bulk"
        return bulk, math.inf if bulk else self.due_s, self.number


class Schedule:
    """The waiting requests of one lane."""

    def __init__(self, pace: Pace, *, spares_one: bool) -> None:
        """With `spares_one` the last free child is left to beginnings of utterances, whose late
        audio would be of no use: bulk work never takes it, what follows a beginning only when it
        would be late otherwise. So one caller's long text does not keep out all others."""
        self.waiting: list[Request] = []
        """In order."""
        self._pace = pace
        self._spares_one = spares_one

    def check(self, request: Request, free_at_s: Sequence[float], now_s: float) -> float | None:
        """Whether a new request can be accepted: `None`, or in how many seconds a child will be
        free for it.

        It cannot if late audio is of no use and it would be late, or if another's, accepted before,
        would be late because of it. `free_at_s` says when each child is free.
        """
        if not request.refuse_late:
            return None
        place = bisect.bisect_right(self.waiting, request.order, key=_order)
        after = [*self.waiting[:place], request, *self.waiting[place:]]
        begins, _ = self._play(after, free_at_s, now_s)
        first_in_s = begins[place] - now_s + self._pace.first_s(now_s)
        left_s = request.due_s - now_s
        if begins[place] <= now_s and START_SLACK * self._pace.usual_first_s <= left_s:
            # A child has nothing to do: a machine that was slow a moment ago is tried again.
            return None
        if ADMISSION_SLACK * first_in_s <= left_s:
            before, _ = self._play(self.waiting, free_at_s, now_s)
            if self._late(after, begins, now_s) <= self._late(self.waiting, before, now_s):
                return None
        return self.free_in_s(free_at_s, now_s)

    def add(self, request: Request) -> None:
        """Let it wait."""
        bisect.insort(self.waiting, request, key=_order)

    def next(self, idle: int, now_s: float) -> Request | None:
        """Take out who is next, if one of that many idle children may speak anybody."""
        for place, request in enumerate(self.waiting if idle else ()):
            if idle >= self._needed(request, now_s):
                return self.waiting.pop(place)
        return None

    def newest_of_least(self) -> Request:
        """Take out who came last, among bulk work as long as there is any."""
        bulk = [request for request in self.waiting if request.work_class == "bulk"]
        newest = max(bulk or self.waiting, key=lambda request: request.number)
        self.waiting.remove(newest)
        return newest

    def hopeless(self, now_s: float) -> list[Request]:
        """Take out all that would be late even if they began now."""
        late = [
            request
            for request in self.waiting
            if request.refuse_late and self._latest_s(request, now_s) < now_s
        ]
        for request in late:
            self.waiting.remove(request)
        return late

    def next_check_s(self, now_s: float) -> float | None:
        """When somebody will be hopeless, or may take the last free child, that is not now."""
        return min(
            (
                latest_s
                for request in self.waiting
                if now_s <= (latest_s := self._latest_s(request, now_s)) < math.inf
            ),
            default=None,
        )

    def free_in_s(self, free_at_s: Sequence[float], now_s: float) -> float:
        """In how many seconds a child will have nothing to do, bulk work left out."""
        live = [request for request in self.waiting if request.work_class == "live"]
        _, free_s = self._play(live, free_at_s, now_s)
        return max(_LEAST_HINT_S, min(free_s) - now_s)

    def _play(
        self, requests: Sequence[Request], free_at_s: Sequence[float], now_s: float
    ) -> tuple[list[float], list[float]]:
        """When each of the requests begins, and when each child is free after them."""
        free_s, begins = list(free_at_s), [math.inf] * len(requests)
        waiting = list(range(len(requests)))
        at_s = now_s
        while waiting:
            idle = [child for child, time_s in enumerate(free_s) if time_s <= at_s]
            for number in waiting if idle else ():
                needed = min(len(free_s), self._needed(requests[number], at_s))
                if len(idle) >= needed:
                    begins[number] = at_s
                    free_s[idle[0]] = at_s + self._pace.job_s(requests[number].job)
                    waiting.remove(number)
                    break
            else:
                latest = (self._latest_s(requests[number], now_s) for number in waiting)
                at_s = min(time_s for time_s in (*free_s, *latest) if time_s > at_s)
        return begins, free_s

    def _late(self, requests: Sequence[Request], begins: Sequence[float], now_s: float) -> int:
        return sum(
            request.refuse_late and begin_s > self._latest_s(request, now_s)
            for request, begin_s in zip(requests, begins, strict=True)
        )

    def _latest_s(self, request: Request, now_s: float) -> float:
        """When it has to begin to be in time."""
        if request.work_class == "bulk" and not request.refuse_late:
            return math.inf
        return request.due_s - START_SLACK * self._pace.first_s(now_s)

    def _needed(self, request: Request, now_s: float) -> int:
        """How many children have to be idle for it."""
        if not self._spares_one:
            return 1
        if request.work_class == "bulk":
            return 2
        return 1 if request.refuse_late or self._latest_s(request, now_s) <= now_s else 2


def _order(request: Request) -> tuple[bool, float, int]:
    return request.order
