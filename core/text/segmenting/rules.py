"""What segmentation has to know of a language."""

from __future__ import annotations

import msgspec


class SegmentRules(msgspec.Struct, frozen=True):
    """One language's limits and words. Words are in lower case, abbreviations without their last
    full stop."""

    short_chars: int
    """A sentence shorter than this is spoken with the next: one word alone sounds cut off."""
    long_first_chars: int
    """A first sentence longer than this is cut at a clause, so that speech starts early."""
    density: int
    """How many times as long as in English a character takes to say; a segment has that many times
    fewer characters at most."""
    never_end: frozenset[str]
    """Abbreviations that something always follows: `Mr.`, `e.g.`"""
    before_figure: frozenset[str]
    """Words that are an abbreviation when a figure follows: `No. 5`."""
    after_figure: frozenset[str]
    """Words that are a unit after a figure and then may end a sentence: `6 in.`"""
    may_end: frozenset[str]
    """Abbreviations that end a sentence where a capital letter follows: `etc.`"""
    may_name: frozenset[str]
    """Abbreviations that a name may follow (`Main St. Apts`): they end a sentence only before one
    of `starters`. Initials and acronyms (`U.S.`) are of this kind as well."""
    after_time: frozenset[str]
    """Capitalised words that go on after `a.m.` and `p.m.`: `5 p.m. Friday`."""
    starters: frozenset[str]
    """Words that begin sentences and no names."""
    linkers: frozenset[str]
    """Words that begin a clause: a long sentence without a comma is cut before one of them."""
