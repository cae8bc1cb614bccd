"""What the analysis advises, and that it follows from what was measured."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.analytics.quality_advice import FACTORS, Heard, recommend, special_share
from core.audio.quality import QualityReport, quality_score
from core.speech import VoiceSettings
from tests.fakes import silence, tone

GOOD = QualityReport(1.0, *(1.0,) * 8, active_dbfs=-20.0, longest_pause_ms=100)
TEXT = "The flat has two large rooms and a balcony."


def heard(report: QualityReport, text: str = TEXT, **fields: Any) -> Heard:
    known: dict[str, Any] = {
        "language": "en",
        "duration_ms": 2600,
        "settings": VoiceSettings(stability=0.8),
        "meets_threshold": True,
    }
    return Heard(report=report, text=text, spoken=text, **known | fields)


def factors(**fields: Any) -> list[str]:
    return [one.factor for one in recommend(heard(**fields))]


def test_good_speech_of_a_plain_text_needs_no_advice() -> None:
    assert recommend(heard(GOOD)) == []


@pytest.mark.parametrize("factor", FACTORS)
def test_every_factor_that_costs_score_has_advice(factor: str) -> None:
    report = msgspec.structs.replace(GOOD, **{factor: 0.5})
    (one,) = recommend(heard(report))
    assert (one.factor, one.measured) == (factor, 0.5)
    assert len(one.advice) > 20
    assert recommend(heard(msgspec.structs.replace(GOOD, **{factor: 0.96}))) == []


def test_the_costliest_comes_first() -> None:
    report = msgspec.structs.replace(GOOD, noise=0.6, pace=0.2, level=0.9)
    assert factors(report=report) == ["pace", "noise", "level"]


def test_advice_names_the_direction() -> None:
    slow, fast = (
        recommend(heard(msgspec.structs.replace(GOOD, pace=0.5), duration_ms=ms))[0].advice
        for ms in (9000, 700)
    )
    assert ("raise `speed`" in slow, "lower `speed`" in fast) == (True, True)
    quiet, loud = (
        recommend(heard(msgspec.structs.replace(GOOD, level=0.5, active_dbfs=dbfs)))[0].advice
        for dbfs in (-40.0, -5.0)
    )
    assert ("quiet" in quiet, "loud" in loud) == (True, True)


def test_silence_has_one_advice_and_not_eight() -> None:
    report = quality_score(silence(1000), TEXT, "en")
    assert factors(report=report, meets_threshold=False) == ["level"]


def test_it_follows_from_real_measurements() -> None:
    long_pause = quality_score(tone(900) + silence(2500) + tone(900), TEXT, "en")
    assert "silence" in factors(report=long_pause)
    quiet = quality_score(tone(2600, level=0.005), TEXT, "en")
    assert "level" in factors(report=quiet)


def test_the_text_itself_is_looked_at() -> None:
    hurried = msgspec.structs.replace(GOOD, pace=0.5)
    assert factors(report=GOOD, text="Hi!") == ["short_text"]
    assert factors(report=GOOD, text="Yes, of course.") == []
    assert factors(report=hurried, text="Yes, of course.") == ["short_text"], "pace tells nothing"
    assert factors(report=GOOD, text="**Great** flat 🏠 → see #1 <b>now</b>") == [
        "special_characters"
    ]
    assert special_share("¿Cuánto cuesta? Son 1.200 € al mes.") == 0
    assert special_share("您好，请问有什么可以帮您？") == 0
    assert special_share("He said: “it’s 5% – or $20”, didn't he?") == 0


def test_a_restless_voice_is_named_only_where_the_score_misses() -> None:
    restless = VoiceSettings(stability=0.2)
    assert factors(report=GOOD, settings=restless) == []
    assert factors(report=GOOD, settings=restless, meets_threshold=False) == ["stability"]
    assert factors(report=GOOD, settings=None, meets_threshold=False) == []
