"""Rules without a server: how faults are drawn and read, and the recorded times."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.emulator.faults import FaultBook, FaultRule, read_rules
from benchmarks.emulator.formats import FORMATS, find_format
from benchmarks.emulator.latency import timing_of


@settings(max_examples=50, deadline=None)
@given(rate=st.floats(0, 1), seed=st.integers(0, 1_000))
def test_draws_follow_rate_and_seed(rate: float, seed: int) -> None:
    def draws() -> list[bool]:
        book = FaultBook([FaultRule("slow", rate=rate)], seed)
        return [book.draw("stream") is not None for _ in range(400)]

    first = draws()
    assert first == draws()
    assert abs(sum(first) / 400 - rate) < 0.13


def test_rules_are_read_from_one_object_or_a_list() -> None:
    assert [rule.kind for rule in read_rules('{"kind": "slow"}')] == ["slow"]
    assert [rule.kind for rule in read_rules('[{"kind": "slow"}, {"kind": "zero"}]')] == [
        "slow",
        "zero",
    ]
    with pytest.raises(ValueError, match="unknown field"):
        read_rules('{"kind": "slow", "sometimes": true}')


@pytest.mark.parametrize(
    ("family", "chars", "first_s", "total_s"),
    [
        ("flash", 40, 0.208, 0.32),
        ("flash", 170, 0.208, 0.58),
        ("flash", 600, 0.208, 1.24),
        ("multilingual", 40, None, 1.09),
        ("multilingual", 170, None, 1.68),
        ("multilingual", 600, None, 5.62),
    ],
)
def test_recorded_times(family: str, chars: int, first_s: float | None, total_s: float) -> None:
    found = timing_of("recorded", family, chars, random.Random(1))  # type: ignore[arg-type]
    assert found.total_s == pytest.approx(total_s, rel=0.08)
    assert first_s is None or found.first_byte_s == pytest.approx(first_s, rel=0.03)
    assert found.first_byte_s <= found.total_s


def test_the_formats_are_the_vendors() -> None:
    assert len(FORMATS) == 28
    streamed = [name for name in FORMATS if find_format(name, streamed=True)]
    assert len(streamed) == 21
    assert not any(name.startswith("wav") for name in streamed)
