"""Cuts a written text into segments: sentences, with clauses for what is too long.

A segment is the unit of planning, caching and failover, so equal sentences in different texts
should come out as equal segments: a cut depends on the sentence, not on what stands around it.
"""

from __future__ import annotations

from typing import Final

from core.text.clean import speakable
from core.text.languages import Language
from core.text.segmenting.cut import cut_long
from core.text.segmenting.en import RULES as ENGLISH
from core.text.segmenting.es import RULES as SPANISH
from core.text.segmenting.rules import SegmentRules
from core.text.segmenting.sentences import sentences
from core.text.segmenting.zh import RULES as MANDARIN

RULES: Final[dict[Language, SegmentRules]] = {"en": ENGLISH, "es": SPANISH, "zh": MANDARIN}


def limit_of(language: Language, max_chars: int) -> int:
    """Characters that a segment may have in that language where an English one has `max_chars`."""
    return max(1, max_chars // RULES[language].density)


def segment(text: str, language: Language, *, max_chars: int) -> list[tuple[int, int]]:
    """Spans of `text` (clean) that are spoken one after another.

    They are in order, do not overlap, and each is at most `limit_of(language, max_chars)` long and
    can be spoken: a run of mere punctuation or symbols goes with its neighbour, or is left out
    where it is too long. Every letter and digit is in a span.
    """
    rules, limit = RULES[language], limit_of(language, max_chars)
    spans: list[tuple[int, int]] = []
    for start, end in _merge_short(text, sentences(text, rules), limit, rules.short_chars):
        spans += cut_long(text, start, end, limit=limit, first=not spans, rules=rules)
    return [(start, end) for start, end in spans if speakable(text[start:end])]


def _merge_short(
    text: str, found: list[tuple[int, int]], limit: int, short_chars: int
) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in found:
        if merged:
            before_start, before_end = merged[-1]
            short = (
                before_end - before_start < short_chars
                or not speakable(text[before_start:before_end])
                or not speakable(text[start:end])
            )
            if short and end - before_start <= limit:
                merged[-1] = (before_start, end)
                continue
        merged.append((start, end))
    return merged
