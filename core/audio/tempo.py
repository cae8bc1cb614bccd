"""Makes speech faster or slower at the same pitch."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import av
import av.filter
import numpy as np
import numpy.typing as npt

from core.audio.pcm import RATE_HZ

Samples = npt.NDArray[np.float32]

_TIME_BASE: Final = Fraction(1, RATE_HZ)
_FRAME: Final = RATE_HZ // 25
"""Of 40 ms. The filter holds back as much as a frame, however long that is."""
_STEP: Final = 2.0
"""Above it, and below its inverse, FFmpeg's filter would skip samples: then it is used twice."""


class Tempo:
    """A stream of samples at `RATE_HZ`, made `factor` times as fast, 2 being twice.

    By overlapping pieces where the waves fit (FFmpeg's `atempo`): a sound is within some 15 ms of
    where the factor puts it, and comes out within 0.1 s of audio after it went in. 1 ms per
    second of audio.
    """

    def __init__(self, factor: float) -> None:
        graph = av.filter.Graph()
        graph.threads = 1  # by default it starts and ends a thread for each core: up to 8 ms
        source = graph.add_abuffer(
            sample_rate=RATE_HZ, format="flt", layout="mono", time_base=_TIME_BASE
        )
        last = source
        for part in _parts(factor):
            node = graph.add("atempo", f"{part:.9f}")
            last.link_to(node)
            last = node
        self._sink = graph.add("abuffersink")
        last.link_to(self._sink)
        graph.configure()
        self._graph = graph
        self._source = source
        self._fed = 0

    def feed(self, samples: Samples, *, last: bool = False) -> Samples:
        """What is ready; with `last` all that is left. Nothing can be fed after that."""
        for at in range(0, len(samples), _FRAME):
            piece = samples[np.newaxis, at : at + _FRAME]
            frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._fed, _TIME_BASE
            self._fed += piece.shape[1]
            self._source.push(frame)
        if last:
            self._source.push(None)
        out = list(self._ready()) if self._fed else []
        return np.concatenate(out) if out else np.zeros(0, np.float32)

    def _ready(self) -> Iterator[Samples]:
        while True:
            try:
                piece = self._sink.pull()
            except (av.error.EOFError, av.error.BlockingIOError):
                return
            if isinstance(piece, av.AudioFrame):  # of a graph of audio filters always
                yield piece.to_ndarray()[0]


def _parts(factor: float) -> list[float]:
    """Factors within a step that make up the whole one."""
    parts = []
    while not 1 / _STEP <= factor <= _STEP:
        part = _STEP if factor > 1 else 1 / _STEP
        parts.append(part)
        factor /= part
    return [*parts, factor]
