"""The time a request has, as fixed instants on the monotonic clock.

Made once per request at the edge and passed down; nothing below makes a timeout of its own, except
the stall limit between two chunks of a running stream, which is a separate setting.
"""

from __future__ import annotations

import time

import msgspec

from core.errors import DeadlineExceeded


class Deadline(msgspec.Struct, frozen=True, gc=False):
    """Two instants of `time.monotonic()`: when the first audio is due, and when all is."""

    first_audio_at_s: float
    end_at_s: float

    @classmethod
    def after(cls, *, first_audio_s: float, whole_s: float) -> Deadline:
        """A deadline that starts now. `whole_s` bounds the complete upstream stream."""
        now = time.monotonic()
        return cls(first_audio_at_s=now + first_audio_s, end_at_s=now + max(whole_s, first_audio_s))

    def first_audio_left_s(self) -> float:
        """Seconds until the first audio is due; never negative."""
        return max(0.0, self.first_audio_at_s - time.monotonic())

    def left_s(self) -> float:
        """Seconds until everything is due; never negative."""
        return max(0.0, self.end_at_s - time.monotonic())

    def require_first_audio_time(self) -> float:
        """Seconds until the first audio is due.

        Raises:
            DeadlineExceeded: none are left.
        """
        left = self.first_audio_at_s - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded()
        return left
