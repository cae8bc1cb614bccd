"""How long a lane's work takes: start values, and what the work itself then teaches."""

from __future__ import annotations

from typing import Final

import msgspec

from core.voices.protocol import Job
from core.voices.registry import Lane

_NEWEST: Final = 0.2
"""Weight of the newest observation in a running mean."""
_NEWEST_WORSE: Final = 0.5
"""The same where first audio took longer than expected: the next may not be promised too much."""
_FORGET_S: Final = 10.0
"""What nothing has confirmed for so long counts no more: a bad minute of the machine would have
everything refused, and nothing would be spoken that could correct it."""
_LARGEST: Final = 4.0
"""One observation counts as so many times the expected at the most: a machine that slept."""


class StartValues(msgspec.Struct, frozen=True):
    """What is expected before anything was seen, in seconds."""

    first_s: float
    """From the beginning of a job to its first audio."""
    job_s: float
    """What a job takes whatever its length,"""
    per_char_s: float
    """and what it takes more for each character, at the voice's own speed."""
    load_s: float
    """From the start of a child until it is ready."""


START_VALUES: Final[dict[Lane, StartValues]] = {
    "quick": StartValues(first_s=0.05, job_s=0.02, per_char_s=0.0007, load_s=1.5),
    "slow": StartValues(first_s=0.5, job_s=0.3, per_char_s=0.12, load_s=6.0),
}
"""Measured with both cores at work: hibari with 55 characters 25-30 ms; Kokoro with 13 to 51 Han
characters 0.3-0.6 s to its first audio, 1.8-9.5 s in all."""


class Pace:
    """Running means of one lane. Times are seconds of any one monotonic clock."""

    def __init__(self, start: StartValues) -> None:
        self._start = start
        self._first_s = start.first_s
        self._first_seen_s = float("-inf")
        self._scale = 1.0
        self.load_s = start.load_s
        """From the start of a child until it is ready."""

    @property
    def usual_first_s(self) -> float:
        """The same on a machine that is not overloaded."""
        return self._start.first_s

    def first_s(self, now_s: float) -> float:
        """From the beginning of a job to its first audio."""
        fresh = now_s - self._first_seen_s < _FORGET_S
        return self._first_s if fresh else min(self._first_s, self._start.first_s)

    def job_s(self, job: Job) -> float:
        """From the beginning of a job to its end."""
        return self._expected_s(job) * self._scale

    def saw_first(self, took_s: float, now_s: float) -> None:
        """A job's first audio has come."""
        before_s = self.first_s(now_s)
        weight = _NEWEST_WORSE if took_s > before_s else _NEWEST
        self._first_s = before_s + weight * (min(took_s, _LARGEST * before_s) - before_s)
        self._first_seen_s = now_s

    def saw_job(self, job: Job, took_s: float) -> None:
        """A job was spoken to its end."""
        ratio = min(took_s / self._expected_s(job), _LARGEST * self._scale)
        self._scale += _NEWEST * (ratio - self._scale)

    def saw_load(self, took_s: float) -> None:
        """A child has become ready."""
        self.load_s += _NEWEST * (took_s - self.load_s)

    def _expected_s(self, job: Job) -> float:
        return self._start.job_s + self._start.per_char_s * len(job.text) / job.speed
