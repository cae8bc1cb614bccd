"""When each provider last spoke and last failed, as this process knows it."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from core.speech import SpeechTrace

_MOST: Final = 8


class ProviderSeen(msgspec.Struct):
    """One provider. Times are Unix seconds; None: not yet."""

    last_success_unix_s: float | None = None
    last_failure_unix_s: float | None = None
    last_failure_code: str | None = None
    failures_in_a_row: int = 0


class ProviderWatch:
    """Reads the attempts of finished requests; calls nobody."""

    def __init__(self) -> None:
        self._seen: dict[str, ProviderSeen] = {}

    def __getitem__(self, provider: str) -> ProviderSeen:
        return self._seen.get(provider) or ProviderSeen()

    def observe(self, trace: SpeechTrace) -> None:
        """Note how the attempts of a finished request went."""
        now = round(time.time(), 3)
        for segment in trace.segments:
            # What another request's call brought is noted by that request.
            if segment.trace is None or segment.source != "flight":
                continue
            for attempt in segment.trace.attempts:
                seen = self._seen.get(attempt.provider)
                if seen is None:
                    if len(self._seen) >= _MOST:
                        continue
                    seen = self._seen[attempt.provider] = ProviderSeen()
                if attempt.outcome == "won":
                    seen.last_success_unix_s = now
                    seen.failures_in_a_row = 0
                elif attempt.outcome in ("failed", "lost"):
                    # Losing means that its time was over before it spoke.
                    seen.last_failure_unix_s = now
                    seen.last_failure_code = attempt.error_code or "too_slow"
                    seen.failures_in_a_row += 1
