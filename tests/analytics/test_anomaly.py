"""Limits that are not kept are named, with their share."""

from __future__ import annotations

import pytest

from core.analytics.anomaly import AnomalyWatch
from core.speech import Provenance, SegmentResult, SpeechTrace


def trace(
    *,
    first_audio_ms: float | None = 200.0,
    quality: float | None = 0.95,
    error: str | None = None,
    cached: bool = True,
    origin: str = "live",
) -> SpeechTrace:
    made = SpeechTrace("r", "t", "a", origin=origin)  # type: ignore[arg-type]
    made.first_audio_ms, made.quality_score, made.error_code = first_audio_ms, quality, error
    source = "memory" if cached else "flight"
    made.segments = [SegmentResult(source, Provenance("p", "v", "m", "en"))]  # type: ignore[arg-type]
    return made


def found(good: int, bad: int, **fault: object) -> list[tuple[str, float]]:
    watch = AnomalyWatch()
    for _ in range(good):
        watch.observe(trace(), abandoned=False)
    for _ in range(bad):
        watch.observe(trace(**fault), abandoned=False)  # type: ignore[arg-type]
    return [(one.kind, one.share) for one in watch.found()]


@pytest.mark.parametrize(
    ("kind", "kept", "broken", "fault"),
    [
        ("slow_responses", 10, 11, {"first_audio_ms": 2001.0}),
        ("low_quality", 5, 6, {"quality": 0.79}),
        ("errors", 5, 6, {"error": "speech_failed", "first_audio_ms": None, "quality": None}),
        ("low_cache_hit_rate", 70, 71, {"cached": False}),
    ],
)
def test_each_limit_is_that_of_the_guide(
    kind: str, kept: int, broken: int, fault: dict[str, object]
) -> None:
    assert found(100 - kept, kept, **fault) == []
    ((name, share),) = found(100 - broken, broken, **fault)
    assert name == kind
    assert share == pytest.approx((100 - broken if kind == "low_cache_hit_rate" else broken) / 100)


def test_few_requests_say_nothing_and_old_ones_are_forgotten() -> None:
    assert found(0, 49, first_audio_ms=9000.0) == []
    watch = AnomalyWatch(window=100)
    for _ in range(100):
        watch.observe(trace(first_audio_ms=9000.0), abandoned=False)
    assert [one.kind for one in watch.found()] == ["slow_responses"]
    for _ in range(95):
        watch.observe(trace(), abandoned=False)
    assert watch.found() == []


def test_warm_ups_and_callers_who_left_do_not_count() -> None:
    watch = AnomalyWatch()
    for _ in range(100):
        watch.observe(trace(origin="warmup", cached=False), abandoned=False)
        watch.observe(trace(error="client_gone"), abandoned=True)
    assert watch.found() == []
