"""How long, and at which pace, a text that fails for now is tried again."""

from __future__ import annotations

import msgspec


class Patience(msgspec.Struct, frozen=True):
    """In seconds. A voice server that restarts, or a provider that is away, costs no text."""

    whole_s: float = 600.0
    """A text that has only failed for so long, or whose job has, is tried one last time."""
    first_s: float = 0.5
    longest_s: float = 20.0

    def of_text(self, failing_s: float) -> float:
        """How long a text rests: half of the time that it has been failing."""
        return min(self.longest_s, max(self.first_s, failing_s / 2))


class Rest:
    """A run's own pause: while texts fail, it takes fewer of them, and none is paid for in vain."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._until_s = 0.0
        self._pause_s = 0.0

    def failed(self, now_s: float) -> None:
        """A text failed for now. Failures within a pause are of the same time, and count once."""
        if now_s < self._until_s:
            return
        longer_s = max(self._patience.first_s, self._pause_s * 2)
        self._pause_s = min(self._patience.longest_s, longer_s)
        self._until_s = now_s + self._pause_s

    def spoke(self) -> None:
        """A text was spoken: what was away is there."""
        self._until_s = self._pause_s = 0.0

    def left_s(self, now_s: float) -> float:
        """How long no text shall be taken."""
        return max(0.0, self._until_s - now_s)
