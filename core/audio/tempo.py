"""Makes speech faster or slower at the same pitch."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av
import av.filter
import numpy as np
import numpy.typing as npt

from core.audio.pcm import RATE_HZ

Samples = npt.NDArray[np.float32]

_STEP: Final = 2.0
"""Above it, and below its inverse, FFmpeg's filter would skip samples: then it is used twice."""


def at_tempo(samples: Samples, factor: float) -> Samples:
    """`round(len(samples) / factor)` samples at `RATE_HZ`; `factor` 2 is twice as fast.

    By overlapping pieces where the waves fit (FFmpeg's `atempo`): a sound is within some 15 ms of
    where the factor puts it. 1 ms per second of audio.
    """
    if not samples.size:
        return samples
    graph = av.filter.Graph()
    graph.threads = 1  # by default it starts and ends a thread for each core: up to 8 ms
    time_base = Fraction(1, RATE_HZ)
    source = graph.add_abuffer(
        sample_rate=RATE_HZ, format="flt", layout="mono", time_base=time_base
    )
    last = source
    for part in _parts(factor):
        node = graph.add("atempo", f"{part:.9f}")
        last.link_to(node)
        last = node
    sink = graph.add("abuffersink")
    last.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, time_base
    source.push(frame)
    source.push(None)
    out: Samples = np.zeros(round(len(samples) / factor), np.float32)
    at = 0
    while at < len(out):
        try:
            piece = sink.pull()
        except (av.error.EOFError, av.error.BlockingIOError):
            break
        if isinstance(piece, av.AudioFrame):  # of a graph of audio filters always
            stretch = piece.to_ndarray()[0][: len(out) - at]
            out[at : at + len(stretch)] = stretch
            at += len(stretch)
    return out


def _parts(factor: float) -> list[float]:
    """Factors within a step that make up the whole one."""
    parts = []
    while not 1 / _STEP <= factor <= _STEP:
        part = _STEP if factor > 1 else 1 / _STEP
        parts.append(part)
        factor /= part
    return [*parts, factor]
