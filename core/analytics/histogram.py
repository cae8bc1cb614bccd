"""A histogram of positive numbers with fixed memory and a bounded relative error."""

from __future__ import annotations

import math
from array import array
from typing import Final

from core.analytics.figures import HistogramFigures

_ERROR: Final = 0.01
_GAMMA: Final = (1 + _ERROR) / (1 - _ERROR)
_LOG_GAMMA: Final = math.log(_GAMMA)
_LOWEST: Final = 0.001
_HIGHEST: Final = 1e7
_OFFSET: Final = math.floor(math.log(_LOWEST) / _LOG_GAMMA)
_BUCKETS: Final = math.ceil(math.log(_HIGHEST) / _LOG_GAMMA) - _OFFSET + 1


class Histogram:
    """Counts values in buckets whose bounds grow by 2 % (the scheme of DDSketch).

    Quantiles are within 1 % of a recorded value for values between 0.001 and 10,000,000, whatever
    the unit; outside they count as the nearest bound. Two histograms merge without further loss.
    It holds about 1,150 buckets of 8 bytes.
    """

    __slots__ = ("_buckets", "count", "highest", "lowest", "total")

    def __init__(self) -> None:
        self._buckets = array("Q", bytes(8 * _BUCKETS))
        self.count = 0
        self.total = 0.0
        self.lowest = math.inf
        self.highest = -math.inf

    def add(self, value: float) -> None:
        """Count one value; anything that is not a finite number is left out."""
        if not math.isfinite(value):
            return
        self._buckets[_bucket(value)] += 1
        self.count += 1
        self.total += value
        if value < self.lowest:
            self.lowest = value
        if value > self.highest:
            self.highest = value

    def merge(self, other: Histogram) -> None:
        """Add everything the other one counted."""
        for index, count in other._held():
            self._buckets[index] += count
        self.count += other.count
        self.total += other.total
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)

    def export(self) -> HistogramFigures:
        """Everything it counted, for `add_figures` of another."""
        return (self.count, self.total, self.lowest, self.highest, tuple(self._held()))

    def _held(self) -> list[tuple[int, int]]:
        """The buckets that hold something; between the extremes, which is a few of them."""
        if not self.count:
            return []
        first, last = _bucket(self.lowest), _bucket(self.highest)
        counts = self._buckets[first : last + 1]
        return [(index, count) for index, count in enumerate(counts, first) if count]

    def add_figures(self, figures: HistogramFigures) -> None:
        """Add what another one exported; a bucket that does not exist here is left out."""
        count, total, lowest, highest, held = figures
        for index, number in held:
            if 0 <= index < _BUCKETS:
                self._buckets[index] += number
        self.count += count
        self.total += total
        self.lowest = min(self.lowest, lowest)
        self.highest = max(self.highest, highest)

    def quantile(self, fraction: float) -> float | None:
        """The value that `fraction` (0 to 1) of all do not exceed (nearest rank); None if empty."""
        if not self.count:
            return None
        rank = max(1, math.ceil(fraction * self.count))
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if seen >= rank:
                middle = 2 * _GAMMA ** (index + _OFFSET) / (_GAMMA + 1)
                return min(max(middle, self.lowest), self.highest)
        raise AssertionError("The buckets hold fewer values than were counted.")

    def summary(self) -> dict[str, float | int | None]:
        """Count, mean, quantiles and extremes, rounded to three decimals."""
        return {
            "count": self.count,
            "mean": round(self.total / self.count, 3) if self.count else None,
            "p50": _rounded(self.quantile(0.50)),
            "p95": _rounded(self.quantile(0.95)),
            "p99": _rounded(self.quantile(0.99)),
            "min": _rounded(self.lowest) if self.count else None,
            "max": _rounded(self.highest) if self.count else None,
        }


def _bucket(value: float) -> int:
    held = min(max(value, _LOWEST), _HIGHEST)
    return math.ceil(math.log(held) / _LOG_GAMMA) - _OFFSET


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
