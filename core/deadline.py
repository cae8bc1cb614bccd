"""The time a request has, as fixed instants on the monotonic clock.

Made once per request at the edge and passed down; nothing below makes a timeout of its own, except
the stall limit between two chunks of a running stream, which is a separate setting.
"""

from __future__ import annotations

import time

import msgspec

from core.errors import DeadlineExceeded


class Deadline(msgspec.Struct, frozen=True, gc=False):
    """Instants of `time.monotonic()`."""

    first_audio_at_s: float
    """When the first audio is due: the pace of the race, and who goes first in a queue."""
    end_at_s: float
    """When all of it is due."""
    give_up_at_s: float
    """When first audio is of no use any more: the instant it is due for an utterance's beginning,
    later for what follows, since a pause is better than an end."""

    @classmethod
    def after(cls, *, first_audio_s: float, whole_s: float, patience_s: float = 0.0) -> Deadline:
        """A deadline that starts now. `whole_s` bounds the complete upstream stream; `patience_s`
        is how long after its due time first audio is still of use."""
        now = time.monotonic()
        end_at_s = now + max(whole_s, first_audio_s)
        return cls(
            first_audio_at_s=now + first_audio_s,
            end_at_s=end_at_s,
            give_up_at_s=min(end_at_s, now + first_audio_s + patience_s),
        )

    @property
    def strict(self) -> bool:
        """Whether late first audio is of no use at all."""
        return self.give_up_at_s <= self.first_audio_at_s

    def due_left_s(self) -> float:
        """Seconds until the first audio is due; never negative."""
        return max(0.0, self.first_audio_at_s - time.monotonic())

    def first_audio_left_s(self) -> float:
        """Seconds until first audio is given up; never negative."""
        return max(0.0, self.give_up_at_s - time.monotonic())

    def left_s(self) -> float:
        """Seconds until everything is due; never negative."""
        return max(0.0, self.end_at_s - time.monotonic())

    def require_first_audio_time(self) -> float:
        """Seconds until first audio is given up.

        Raises:
            DeadlineExceeded: none are left.
        """
        left = self.give_up_at_s - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded()
        return left
