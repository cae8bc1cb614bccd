"""Where a sentence that is too long to be spoken in one go is cut."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from core.text.segmenting.lists import HAN
from core.text.segmenting.rules import SegmentRules
from core.text.segmenting.sentences import CLOSERS

_CLAUSE = re.compile(
    rf"[,;:—–][{CLOSERS}]*+(?=\s)|(?<=[^\s])(?=\s[—–]\S)|[，；：][{CLOSERS}]*+|——"
    rf"|(?<=[{HAN}])[,;:](?=[^\d\s])|[,;:](?=[{HAN}])"
)
_LISTED = re.compile(rf"、|(?<=[{HAN}]) (?=[{HAN}])|[)）](?= )|(?= [(（])|(?<=[{HAN}])(?=（)")
_PAUSE = re.compile(rf"{_CLAUSE.pattern}|、")
_LINKED = re.compile(r"(?<=\w) (?=([^\W\d_]+) )")
_HAN = re.compile(f"[{HAN}]")
_NUMERALS: Final = frozenset("零〇一二两兩三四五六七八九十百千万萬亿億点點第")
_BEFORE_FIGURES: Final = frozenset("$€£¥￥#№")


def cut_long(
    text: str, start: int, end: int, *, limit: int, first: bool, rules: SegmentRules
) -> list[tuple[int, int]]:
    """Spans of at most `limit` characters that cover `text[start:end]` but for blanks between them.

    With `first` a sentence that is not over the limit is cut as well where it is longer than
    `long_first_chars`, if there is a clause to cut at.
    """
    spans: list[tuple[int, int]] = []
    early = min(rules.long_first_chars, limit)
    if first and end - start > early:
        cut = _early_cut(text, start, end, early, limit, rules)
        if cut:
            spans.append((start, cut))
            start = cut + (text[cut : cut + 1] == " ")
    while end - start > limit:
        cut = _cut(text, start, end, limit, rules)
        # Between two figures the only place may be behind the blank.
        spans.append((start, cut - (text[cut - 1] == " ")))
        start = cut + (text[cut : cut + 1] == " ")
    if start < end:
        spans.append((start, end))
    return spans


def _early_cut(
    text: str, start: int, end: int, early: int, limit: int, rules: SegmentRules
) -> int | None:
    """After the last clause that is short enough to start with, else after the first one."""
    least = start + rules.short_chars
    latest = end - rules.short_chars
    for places in (_clauses, _listed, _linked):
        found = [at for at in places(text, start, min(start + early, latest), rules) if at >= least]
        if found:
            return found[-1]
    later = [at for at in _clauses(text, start, min(start + limit, latest), rules) if at >= least]
    return later[0] if later else None


def _cut(text: str, start: int, end: int, limit: int, rules: SegmentRules) -> int:
    """The last good place within the limit, by how good a place is; else the limit itself."""
    short = min(rules.short_chars, limit // 3)
    # What is left over is no shorter than a sentence may be.
    latest = min(start + limit, end - short)
    least = start + max(1, short)
    for places in (_clauses, _listed, _linked):
        found = [at for at in places(text, start, latest, rules) if at >= least]
        if found:
            return found[-1]
    for fits in (_between_phrases, _between_words, _outside_figures, _before_a_mark):
        for at in range(latest, least - 1, -1):
            if fits(text, at):
                return at
    return latest


def clause_ends(text: str) -> Iterable[int]:
    """Where a pause is written within a sentence, in order; commas between list items included."""
    return (match.end() for match in _PAUSE.finditer(text))


def _clauses(text: str, start: int, latest: int, rules: SegmentRules) -> Iterable[int]:
    del rules
    return (m.end() for m in _CLAUSE.finditer(text, start, latest + 1) if m.end() <= latest)


def _listed(text: str, start: int, latest: int, rules: SegmentRules) -> Iterable[int]:
    del rules
    for match in _LISTED.finditer(text, start, latest + 1):
        at = match.start() if match.group() == " " else match.end()
        if at <= latest:
            yield at


def _linked(text: str, start: int, latest: int, rules: SegmentRules) -> Iterable[int]:
    """Before the words that begin a clause."""
    pattern = _han_linkers(rules.linkers)
    if pattern is not None:
        return (m.start() for m in pattern.finditer(text, start, latest + 1))
    return (
        m.start()
        for m in _LINKED.finditer(text, start, latest + 16)
        if m.start() <= latest and m.group(1).lower() in rules.linkers
    )


@lru_cache(maxsize=8)
def _han_linkers(linkers: frozenset[str]) -> re.Pattern[str] | None:
    if any(word.isascii() for word in linkers):
        return None
    words = "|".join(sorted(linkers, key=len, reverse=True))
    return re.compile(rf"(?<=[{HAN}])(?={words})")


_Fits = Callable[[str, int], bool]


def _between_phrases(text: str, at: int) -> bool:
    """A blank that does not belong to a figure or an abbreviation."""
    if text[at] != " ":
        return False
    before, after = text[at - 1], text[at + 1 : at + 2]
    belongs = before.isdigit() or before == "." or before in _BEFORE_FIGURES
    return not belongs and not (after.isdigit() and before.isdigit())


def _between_words(text: str, at: int) -> bool:
    """A blank, or a place between Han characters that is not within a numeral."""
    before, after = text[at - 1], text[at]
    if after == " ":
        return not (before.isdigit() and text[at + 1 : at + 2].isdigit())
    if _is_mark(after) or unicodedata.category(before) in ("Ps", "Pi"):
        return False
    if before in _NUMERALS and after in _NUMERALS:
        return False
    if _is_han(before):
        return not (after.isdigit() and before in _NUMERALS)
    return _is_han(after) and not (before.isdigit() or before in _BEFORE_FIGURES)


def _outside_figures(text: str, at: int) -> bool:
    """Not within a run of letters and digits, nor at a mark within a figure."""
    before, after = text[at - 1], text[at]
    if before in _BEFORE_FIGURES or _is_mark(after):
        return False
    if after.isdigit() and at > 1 and text[at - 2].isdigit():
        return before == " "
    return not (before.isalnum() and after.isalnum())


def _before_a_mark(text: str, at: int) -> bool:
    """Anywhere but within a group of digits."""
    return not (text[at - 1].isdigit() and text[at].isdigit()) and not _is_mark(text[at])


def _is_han(character: str) -> bool:
    return _HAN.match(character) is not None


def _is_mark(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "M" or (category[0] == "P" and category not in ("Ps", "Pi"))
