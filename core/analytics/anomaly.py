"""What is not as it should be, by the limits of the guide. Pure.

| anomaly | when |
|---|---|
| `slow_responses` | first audio over 2 s in more than 10 % of the replies |
| `low_quality` | quality score under 0.8 in more than 5 % of the replies |
| `errors` | more than 5 % of the requests failed |
| `low_cache_hit_rate` | under 30 % of the replies came from the cache |
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import msgspec

from core.speech import SpeechTrace

SLOW_MS: Final = 2000.0
LOW_QUALITY: Final = 0.8
MOST_SLOW: Final = 0.10
MOST_LOW_QUALITY: Final = 0.05
MOST_ERRORS: Final = 0.05
LEAST_CACHED: Final = 0.30

_WINDOW: Final = 1000
"""Requests that are looked at, the newest."""
_LEAST: Final = 50
"""Of fewer a share says nothing."""

AnomalyKind = Literal["slow_responses", "low_quality", "errors", "low_cache_hit_rate"]


class Anomaly(msgspec.Struct, frozen=True):
    """One limit that is not kept at the moment."""

    kind: AnomalyKind
    share: float
    """Of the last requests, 0 to 1."""
    limit: float
    requests: int
    """How many were looked at."""


class _Seen(msgspec.Struct, frozen=True, gc=False):
    failed: bool
    slow: bool
    low_quality: bool
    cached: bool


class AnomalyWatch:
    """Looks at the newest requests. Warm-ups, and callers who left, are not among them."""

    def __init__(self, window: int = _WINDOW) -> None:
        self._seen: deque[_Seen] = deque(maxlen=window)

    def observe(self, trace: SpeechTrace, *, abandoned: bool) -> None:
        """Take a finished request into account."""
        if trace.origin == "warmup" or abandoned:
            return
        self._seen.append(
            _Seen(
                failed=trace.error_code is not None,
                slow=trace.origin == "live"
                and trace.first_audio_ms is not None
                and trace.first_audio_ms > SLOW_MS,
                low_quality=trace.quality_score is not None and trace.quality_score < LOW_QUALITY,
                cached=trace.cached,
            )
        )

    def found(self) -> list[Anomaly]:
        """The limits that are not kept; none while there is too little to tell."""
        requests = len(self._seen)
        served = [one for one in self._seen if not one.failed]
        found: list[Anomaly] = []

        def judge(kind: AnomalyKind, count: int, of: int, limit: float, *, least: bool) -> None:
            if of < _LEAST:
                return
            share = count / of
            if share < limit if least else share > limit:
                found.append(Anomaly(kind, round(share, 4), limit, of))

        judge("slow_responses", sum(s.slow for s in served), len(served), MOST_SLOW, least=False)
        low = sum(one.low_quality for one in served)
        judge("low_quality", low, len(served), MOST_LOW_QUALITY, least=False)
        judge("errors", requests - len(served), requests, MOST_ERRORS, least=False)
        cached = sum(one.cached for one in served)
        judge("low_cache_hit_rate", cached, len(served), LEAST_CACHED, least=True)
        return found
