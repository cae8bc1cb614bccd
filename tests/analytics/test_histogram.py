"""The histogram against exact answers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.analytics.histogram import Histogram

values = st.lists(st.floats(min_value=0.001, max_value=1e7), min_size=1, max_size=300)


def exact(numbers: list[float], fraction: float) -> float:
    return sorted(numbers)[max(1, math.ceil(fraction * len(numbers))) - 1]


def of(numbers: list[float]) -> Histogram:
    histogram = Histogram()
    for number in numbers:
        histogram.add(number)
    return histogram


@given(values, st.floats(min_value=0, max_value=1))
def test_quantiles_are_within_one_percent(numbers: list[float], fraction: float) -> None:
    found = of(numbers).quantile(fraction)
    assert found == pytest.approx(exact(numbers, fraction), rel=0.0101)


@given(values, values)
def test_merging_is_counting_both(left: list[float], right: list[float]) -> None:
    merged = of(left)
    merged.merge(of(right))
    both = of(left + right)
    assert merged.count == both.count
    assert merged.total == pytest.approx(both.total)
    for fraction in (0.0, 0.5, 0.95, 0.99, 1.0):
        assert merged.quantile(fraction) == both.quantile(fraction)


def test_an_empty_one_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().summary()["p99"] is None


def test_odd_values_do_no_harm() -> None:
    histogram = of([0.0, -5.0, 1e12, math.nan, math.inf])
    assert histogram.count == 3
    assert histogram.quantile(0.0) == pytest.approx(0.001, rel=0.02)
    assert histogram.quantile(1.0) == pytest.approx(1e7, rel=0.02)


def test_memory_is_fixed() -> None:
    histogram = Histogram()
    before = len(histogram._buckets)
    for number in range(1, 20_000):
        histogram.add(number * 0.37)
    assert len(histogram._buckets) == before < 1200
