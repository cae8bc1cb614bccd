"""What the recorder counts and what it writes."""

from __future__ import annotations

import io
import json

import msgspec
import orjson
import pytest
import structlog

from core.analytics.figures import Figures
from core.analytics.recorder import CLIENT_GONE, Recorder
from core.log import configure_logging
from core.speech import SegmentResult, SpeechTrace


def trace(**fields: object) -> SpeechTrace:
    made = SpeechTrace("req_1", "default", "agent_123", language="en", provider="elevenlabs")
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_counts_by_source_provider_language_and_error() -> None:
    recorder = Recorder()
    recorder.record(trace(rendition_source="memory", first_audio_ms=1.0, processing_ms=2.0))
    recorder.record(trace(segments=[SegmentResult("flight")], first_audio_ms=400.0))
    recorder.record(
        trace(
            segments=[SegmentResult("memory"), SegmentResult("redis")],
            provider="local",
            fallback=True,
            language="es",
        )
    )
    recorder.record(trace(error_code="deadline_exceeded", provider=None))
    recorder.record(trace(error_code=CLIENT_GONE))
    recorder.refuse("key_required")
    found = recorder.snapshot()
    assert found["requests"] == 5
    assert found["served"] == 3
    assert found["abandoned"] == 1
    assert found["refused"] == {"key_required": 1}
    assert found["errors"] == {"deadline_exceeded": 1}
    assert found["error_rate"] == 0.2
    assert found["cached"] == 2
    assert found["cache_hit_rate"] == pytest.approx(0.6667)
    assert found["fallbacks"] == 1
    assert found["providers"] == {"elevenlabs": 2, "local": 1}
    assert found["sources"] == {"memory": 1, "flight": 1, "redis": 1}
    assert found["first_audio_ms"]["count"] == 2
    assert found["first_audio_uncached_ms"]["p50"] == pytest.approx(400, rel=0.01)
    assert found["languages"]["en"] == {
        "requests": 4,
        "errors": 1,
        "first_audio_ms": found["first_audio_ms"],
    }
    json.dumps(found)


def test_warmups_are_not_demand() -> None:
    recorder = Recorder()
    recorder.record(trace(origin="warmup", first_audio_ms=5.0))
    found = recorder.snapshot()
    assert (found["requests"], found["warmups"], found["first_audio_ms"]["count"]) == (0, 1, 0)
    assert found["cache_hit_rate"] is None


def test_each_agent_has_its_own_figures_and_each_tenant_its_own_agents() -> None:
    one, two = Recorder(), Recorder()
    for recorder in (one, two):
        recorder.record(trace(rendition_source="memory", first_audio_ms=2.0))
        recorder.record(trace(segments=[SegmentResult("flight")], first_audio_ms=400.0))
        recorder.record(trace(error_code="deadline_exceeded"))
        recorder.record(trace(error_code=CLIENT_GONE))
        recorder.record(trace(origin="warmup", rendition_source="memory"))
        recorder.record(trace(tenant="other", agent_id="theirs"))
        recorder.record(trace(agent_id="", error_code="agent_not_found"))
    together = Recorder()
    for recorder in (one, two):
        together.merge(
            msgspec.msgpack.decode(msgspec.msgpack.encode(recorder.export()), type=Figures)
        )
    found = together.agents.of("default")
    assert list(found) == ["agent_123"]
    mine = found["agent_123"]
    assert (mine.requests, mine.errors, mine.cached, mine.served) == (8, 2, 2, 4)
    assert mine.first_audio.quantile(0.95) == pytest.approx(400, rel=0.01)
    assert together.agents.of("other")["theirs"].requests == 2
    assert "theirs" not in json.dumps(together.snapshot())


def test_a_report_without_agents_is_read() -> None:
    old = msgspec.to_builtins(Recorder().export())[:-1]
    assert msgspec.convert(old, Figures).agents == ()


def test_agents_are_bounded() -> None:
    recorder = Recorder()
    for number in range(500):
        recorder.record(trace(agent_id=f"a{number}"))
    found = recorder.agents.of("default")
    assert (len(found), found["other"].requests) == (256, 500 - 255)
    assert "a499" in found, "who was asked last stays"
    assert "a0" not in found
    told = recorder.export().agents
    assert (len(told), sum(one.requests for one in told)) == (64, 500)


def test_a_busy_tenant_takes_no_other_tenants_places() -> None:
    recorder = Recorder()
    for number in range(90):
        for _ in range(3):
            recorder.record(trace(agent_id=f"a{number}", tenant="busy", first_audio_ms=9.0))
    for agent_id in ("one", "two", "two"):
        recorder.record(trace(agent_id=agent_id, tenant="quiet", first_audio_ms=50.0))
    together = Recorder()
    together.merge(recorder.export())
    quiet = together.agents.of("quiet")
    assert {name: one.requests for name, one in quiet.items()} == {"two": 2, "one": 1}
    busy = together.agents.of("busy")
    assert 60 < len(busy) + len(quiet) <= 64
    assert sum(one.requests for one in busy.values()) == 270
    assert busy["other"].requests == 3 * (90 - (len(busy) - 1))
    assert busy["other"].first_audio.count == busy["other"].served


def test_every_tenant_is_told_of_however_many_there_are() -> None:
    recorder = Recorder()
    for number in range(100):
        for agent_id in ("one", "two"):
            recorder.record(trace(agent_id=agent_id, tenant=f"t{number}"))
    together = Recorder()
    together.merge(recorder.export())
    for number in range(100):
        assert sum(one.requests for one in together.agents.of(f"t{number}").values()) == 2


def test_names_are_bounded() -> None:
    recorder = Recorder()
    for number in range(500):
        recorder.record(trace(language=f"x{number}" * 50, error_code=f"e{number}"))
    found = recorder.snapshot()
    assert len(found["languages"]) <= 65
    assert len(found["errors"]) <= 65
    assert found["errors"]["other"] == 500 - 64
    assert all(len(name) <= 64 for name in found["languages"])


def test_it_never_raises() -> None:
    recorder = Recorder()
    recorder.record(trace(first_audio_ms="not a number"))
    assert recorder.snapshot()["record_failures"] == 1


def test_one_line_for_each_request() -> None:
    out = io.BytesIO()
    try:
        configure_logging("info", orjson.dumps, stream=out)
        recorder = Recorder()
        recorder.record(trace(first_audio_ms=1.23456, segments=[SegmentResult("joined")]))
        recorder.record(trace(origin="warmup"))
    finally:
        structlog.reset_defaults()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(lines) == 2
    assert lines[0]["event"] == "speech"
    assert lines[0]["request_id"] == "req_1"
    assert lines[0]["first_audio_ms"] == 1.235
    assert lines[0]["source"] == "joined"
    assert lines[1]["origin"] == "warmup"
