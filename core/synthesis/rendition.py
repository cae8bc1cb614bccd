"""A kept reply in pieces, as if it were being spoken."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from core.audio.formats import OutputFormat, bytes_per_ms, resolve
from core.audio.mp3 import frame_ends
from core.audio.plain import WAV_HEADER_BYTES
from core.cache.envelope import RenditionEntry
from core.speech import SpeechPlan
from core.synthesis.voicing import ClauseStart, SpokenPiece

PIECE_MS: Final = 200


def in_pieces(entry: RenditionEntry, plan: SpeechPlan) -> Iterator[SpokenPiece]:
    """The rendition of `plan` in pieces of about 200 ms.

    Where the format has a fixed number of bytes per millisecond, times are exact; an mp3 is cut
    between its frames; any other format in proportion.
    """
    clauses = _clauses(entry, plan)
    starts = [start_ms for start_ms, _ in clauses]
    words = 0
    sent = 0
    offset_ms = 0.0
    for end, end_ms in _cuts(entry, resolve(entry.output_format, 0)):
        first = words
        while words < len(entry.words) and (
            entry.words[words].start_ms < end_ms or end == len(entry.audio)
        ):
            words += 1
        clause = max(0, bisect_right(starts, offset_ms) - 1)
        start_ms, start_char = clauses[clause]
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
            next_clause=ClauseStart(clauses[follows][1], clauses[follows][0]) if ends else None,
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


def _cuts(entry: RenditionEntry, output: OutputFormat) -> Iterator[tuple[int, float]]:
    """Where pieces end, in bytes and in milliseconds of audio; the last is the end of both."""
    size, whole_ms = len(entry.audio), float(entry.duration_ms)
    per_ms = bytes_per_ms(output)
    if per_ms is not None:
        header = WAV_HEADER_BYTES if output.codec == "wav" else 0
        # A whole number of samples: every rate of the table has one in 200 ms.
        step = round(per_ms * PIECE_MS)
        for end in range(header + step, size, step):
            yield end, (end - header) / per_ms
        yield size, max(0, size - header) / per_ms
        return
    if output.codec == "mp3":
        last_ms = 0.0
        for end, end_ms in frame_ends(entry.audio, output):
            if end_ms - last_ms >= PIECE_MS and end_ms < whole_ms:
                yield end, end_ms
                last_ms = end_ms
    else:
        count = max(1, round(whole_ms / PIECE_MS))
        for number in range(1, count):
            yield size * number // count, whole_ms * number / count
    yield size, whole_ms
