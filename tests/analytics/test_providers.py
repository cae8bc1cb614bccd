"""When a provider last spoke and last failed."""

from __future__ import annotations

import time

from core.analytics.providers import ProviderWatch
from core.speech import Attempt, Outcome, SegmentResult, SegmentTrace, Source, SpeechTrace


def watched(
    watch: ProviderWatch, outcome: Outcome, code: str | None = None, source: Source = "flight"
) -> None:
    segment = SegmentTrace()
    record = segment.begin(Attempt("elevenlabs", "acc", "v", "m", "en", None, "k"))
    record.outcome, record.error_code = outcome, code
    trace = SpeechTrace("r", "t", "a")
    trace.segments.append(SegmentResult(source, trace=segment))
    watch.observe(trace)


def test_successes_and_failures_are_told_apart() -> None:
    watch = ProviderWatch()
    assert watch["elevenlabs"].last_success_unix_s is None
    watched(watch, "failed", "provider_busy")
    watched(watch, "lost")
    seen = watch["elevenlabs"]
    assert (seen.failures_in_a_row, seen.last_failure_code) == (2, "too_slow")
    assert seen.last_success_unix_s is None
    watched(watch, "won")
    assert seen.failures_in_a_row == 0
    assert seen.last_success_unix_s is not None
    assert abs(seen.last_success_unix_s - time.time()) < 5


def test_what_another_request_had_begun_is_not_counted_twice() -> None:
    watch = ProviderWatch()
    watched(watch, "failed", "provider_busy", source="joined")
    assert watch["elevenlabs"].failures_in_a_row == 0
    assert watch["local"].failures_in_a_row == 0
