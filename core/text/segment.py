"""Cuts a spoken text into segments: sentences, with clauses for what is too long.

A segment is the unit of planning, caching and failover, so equal sentences in different texts
should come out as equal segments: a cut depends on the sentence, not on what stands around it.
"""

from __future__ import annotations

import re
from typing import Final

from core.text.normalise import speakable

ABBREVIATIONS: Final = frozenset(
    {
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "ave",
        "blvd",
        "rd",
        "apt",
        "vs",
        "etc",
        "approx",
        "sq",
        "ft",
        "jr",
        "sr",
        "inc",
        "ltd",
        "corp",
        "dept",
        "est",
        "jan",
        "feb",
        "apr",
        "aug",
        "sept",
        "oct",
        "nov",
        "e.g",
        "i.e",
        "a.m",
        "p.m",
        "u.s",
    }
)
"""English words that end in a full stop without ending a sentence."""

SHORT_CHARS: Final = 16
"""A sentence shorter than this is spoken together with the next: one word alone sounds cut off."""

LONG_FIRST_CHARS: Final = 120
"""A first sentence longer than this is cut at a clause, so that speech starts early."""

# Possessive, and begun only where a run begins: a long run of dots costs one pass over it.
_SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s)")
_CLAUSE_END = re.compile(r"[,;:—–][\"'”’)\]]*(?=\s)")


def segment(text: str, *, max_chars: int) -> list[tuple[int, int]]:
    """Spans of `text` (normalised) that are spoken one after another.

    They are in order, do not overlap, and each is at most `max_chars` long and can be spoken: a run
    of mere punctuation or symbols goes with its neighbour, or is left out where it is too long.
    """
    spans: list[tuple[int, int]] = []
    for start, end in _merge_short(text, _sentences(text), max_chars):
        limit = max_chars
        if not spans and end - start > LONG_FIRST_CHARS:
            limit = LONG_FIRST_CHARS
        while end - start > limit:
            # What is left over is no shorter than a sentence may be.
            cut = _cut(text, start, min(start + limit, end - SHORT_CHARS))
            spans.append((start, cut))
            start = cut + (text[cut : cut + 1] == " ")
            limit = max_chars
        if start < end:
            spans.append((start, end))
    return [(start, end) for start, end in spans if speakable(text[start:end])]


def _sentences(text: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if _is_abbreviation(text, start, match):
            continue
        spans.append((start, match.end()))
        start = match.end() + 1
    if start < len(text):
        spans.append((start, len(text)))
    return spans


def _is_abbreviation(text: str, start: int, match: re.Match[str]) -> bool:
    if match.group()[0] != "." or match.group().startswith(".."):
        return False
    after = text[match.end() + 1 : match.end() + 2]
    if after.islower():
        return True
    word = text[text.rfind(" ", start, match.start()) + 1 : match.start()]
    word = word.lstrip("\"'“‘([")
    if len(word) == 1 and word.isupper() and word != "I":
        return True
    return word.lower() in ABBREVIATIONS


def _merge_short(
    text: str, sentences: list[tuple[int, int]], max_chars: int
) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sentences:
        if merged:
            before_start, before_end = merged[-1]
            short = (
                before_end - before_start < SHORT_CHARS
                or not speakable(text[before_start:before_end])
                or not speakable(text[start:end])
            )
            if short and end - before_start <= max_chars:
                merged[-1] = (before_start, end)
                continue
        merged.append((start, end))
    return merged


def _cut(text: str, start: int, limit: int) -> int:
    """Where to cut text[start:limit]: after a clause, else before a word, else anywhere."""
    earliest = start + SHORT_CHARS
    clause = 0
    for match in _CLAUSE_END.finditer(text, start, limit + 1):
        if earliest <= match.end() <= limit:
            clause = match.end()
    if clause:
        return clause
    space = text.rfind(" ", start + 1, limit + 1)
    return space if space > start else limit
