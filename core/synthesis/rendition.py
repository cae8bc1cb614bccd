"""A kept reply in pieces, as if it were being spoken."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from core.audio.formats import OutputFormat, bytes_per_ms, resolve
from core.audio.mp3 import frame_ends
from core.audio.plain import WAV_HEADER_BYTES
from core.cache.envelope import RenditionEntry
from core.speech import SpeechPlan
from core.synthesis.voicing import ClauseStart, SpokenPiece

PIECE_MS: Final = 400

_EXACT_MS: Final = 0.001
"""Less than a sample: a place may have been rounded twice."""


def in_pieces(entry: RenditionEntry, plan: SpeechPlan) -> Iterator[SpokenPiece]:
    """The rendition of `plan` in pieces of at most some 400 ms, none of which is of two clauses.

    Where the format has a fixed number of bytes per millisecond, times are exact; an mp3 is cut
    between its frames; any other format in proportion. A clause begins at the cut before its first
    word.
    """
    clauses = _clauses(entry, plan)
    cuts = list(
        _cuts(entry, resolve(entry.output_format, 0), [start_ms for start_ms, _ in clauses])
    )
    edges = [0.0, *(end_ms for _, end_ms in cuts)]
    starts = [edges[bisect_right(edges, start_ms + _EXACT_MS) - 1] for start_ms, _ in clauses]
    words = 0
    sent = 0
    offset_ms = 0.0
    for end, end_ms in cuts:
        first = words
        while words < len(entry.words) and (
            entry.words[words].start_ms < end_ms or end == len(entry.audio)
        ):
            words += 1
        clause = max(0, bisect_right(starts, offset_ms) - 1)
        start_ms, start_char = starts[clause], clauses[clause][1]
        follows = max(0, bisect_right(starts, end_ms) - 1)
        ends = follows != clause and end < len(entry.audio)
        yield SpokenPiece(
            data=entry.audio[sent:end],
            offset_ms=offset_ms,
            duration_ms=end_ms - offset_ms,
            words=entry.words[first:words],
            clause=clause,
            clause_start_char=start_char,
            clause_offset_ms=start_ms,
            next_clause=ClauseStart(clauses[follows][1], starts[follows]) if ends else None,
        )
        sent, offset_ms = end, end_ms


def _clauses(entry: RenditionEntry, plan: SpeechPlan) -> list[tuple[float, int]]:
    """For each segment when it begins, by its first word, and where in the text. Without timings
    time passes as the text does."""
    found: list[tuple[float, int]] = []
    at = 0
    written = max(1, plan.characters)
    for segment in plan.segments:
        while at < len(entry.words) and entry.words[at].char_start < segment.source_start:
            at += 1
        if not found:
            start_ms = 0.0
        elif at < len(entry.words):
            start_ms = float(entry.words[at].start_ms)
        else:
            start_ms = max(found[-1][0], entry.duration_ms * segment.source_start / written)
        found.append((start_ms, segment.source_start))
    return found


def _cuts(
    entry: RenditionEntry, output: OutputFormat, starts: Sequence[float]
) -> Iterator[tuple[int, float]]:
    """Where pieces end, in bytes and in milliseconds of audio; the last is the end of both. There
    is one at each of `starts`, or as little before it as the format allows."""
    size, whole_ms = len(entry.audio), float(entry.duration_ms)
    per_ms = bytes_per_ms(output)
    if output.codec == "mp3":
        yield from _frame_cuts(entry, output, starts)
    elif per_ms is None:
        per_ms = size / max(1.0, whole_ms)
        for place in _places(starts, whole_ms):
            yield int(place * per_ms), place
    else:
        header = WAV_HEADER_BYTES if output.codec == "wav" else 0
        width = round(per_ms * 1000) // output.rate_hz
        whole_ms = max(0, size - header) / per_ms
        for place in _places(starts, whole_ms):
            samples = int((place + _EXACT_MS) * per_ms / width)
            yield header + samples * width, samples * width / per_ms
    yield size, whole_ms


def _places(starts: Sequence[float], whole_ms: float) -> Iterator[float]:
    """Every start, and between two of them every 400 ms."""
    for begin, end in itertools.pairwise([*sorted(set(starts)), whole_ms]):
        if 0 < begin < whole_ms:
            yield begin
        place = begin + PIECE_MS
        while place < min(end, whole_ms):
            yield place
            place += PIECE_MS


def _frame_cuts(
    entry: RenditionEntry, output: OutputFormat, starts: Sequence[float]
) -> Iterator[tuple[int, float]]:
    """At the first frame's end that is 400 ms after the cut before, and at the last one that is
    not behind a start: the next frame holds it."""
    waiting = deque(start_ms for start_ms in starts if start_ms > 0)
    last_ms = 0.0
    before: tuple[int, float] = (0, 0.0)
    for end, end_ms in frame_ends(entry.audio, output):
        begins = False
        while waiting and waiting[0] + _EXACT_MS < end_ms:
            waiting.popleft()
            begins = True
        if begins and before[1] > last_ms:
            yield before
            last_ms = before[1]
        if end_ms - last_ms >= PIECE_MS and end_ms < entry.duration_ms:
            yield end, end_ms
            last_ms = end_ms
        before = end, end_ms
