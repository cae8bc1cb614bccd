"""The frame of the normaliser: rules that say what is spoken in place of what is written.

A language is an ordered list of rules. One pass goes from left to right; the earliest match wins,
at the same place the first rule of the list. A rule looks at the written text alone, never at what
another rule made of its neighbours; `settled` passes again until nothing changes.

How a rule is written:
- `pattern` has bounded repeats or possessive ones (`[0-9]++`), so that a search is linear. It looks
  around itself (`(?<![0-9])`) instead of consuming what it leaves as it is.
- `spoken` returns the words for a match; "" drops it; `None` leaves it as written, and the next
  rule may have it. After `None` the same rule goes on behind the match.
- Words need no blanks around them: the frame puts one where two letters of a script with blanks
  would touch ("3bd" as "three bed"), none between Han characters, and never two in a row.
- `needs` names characters of which the text must have at least one, or the rule is not tried.
- `at` says where a match can begin (at a figure, at a capital): such places are found once for all
  rules, and the rule is tried there alone, which is much faster than a search of its own.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from core.text.clean import Mapped

DIGITS: Final = frozenset("0123456789")

AT_FIGURE: Final = re.compile(r"[0-9]++|[½¼¾⅓⅔⅛⅜⅝⅞]")
AT_CAPITAL: Final = re.compile(r"\b[A-ZÁÉÍÓÚÑ]")

_MOST_PASSES: Final = 4
"""What one pass writes seldom becomes another rule's match, and then once."""


class Rule(NamedTuple):
    """What to look for and what is said in its place."""

    pattern: re.Pattern[str]
    spoken: Callable[[re.Match[str]], str | None]
    needs: frozenset[str] = frozenset()
    at: re.Pattern[str] | None = None


def at_figure(pattern: str, spoken: Callable[[re.Match[str]], str | None]) -> Rule:
    """A rule whose match begins with the first digit of a run of digits."""
    return Rule(re.compile(pattern), spoken, at=AT_FIGURE)


def at_capital(pattern: str, spoken: Callable[[re.Match[str]], str | None]) -> Rule:
    """A rule whose match begins with a word's first letter, a capital."""
    return Rule(re.compile(pattern), spoken, at=AT_CAPITAL)


def settled(text: str, *stages: Sequence[Rule]) -> Mapped:
    """One pass of each stage in turn, again until nothing changes, so that a spoken text is its own
    spoken form."""
    result = Mapped(text, range(len(text) + 1))
    for _ in range(_MOST_PASSES):
        before = result.text
        for rules in stages:
            passed = rewrite(result.text, rules)
            if passed.text != result.text:
                result = _through(result, passed)
        if result.text == before:
            break
    return result


def _through(first: Mapped, second: Mapped) -> Mapped:
    if isinstance(first.offsets, range):
        return second
    return Mapped(second.text, tuple(first.offsets[at] for at in second.offsets))


def rewrite(text: str, rules: Sequence[Rule]) -> Mapped:
    """One pass. All characters spoken for a match lead back to the match's first character,
    unchanged ones to themselves, the end to the end of `text`."""
    present = set(text)
    tried_at: dict[re.Pattern[str], list[tuple[int, re.Match[str] | None]]] = {}
    ahead: list[tuple[int, int, re.Match[str]]] = []
    for index, rule in enumerate(rules):
        if rule.needs and present.isdisjoint(rule.needs):
            continue
        if rule.at:
            tried_at.setdefault(rule.at, []).append((index, None))
        elif match := rule.pattern.search(text):
            ahead.append((match.start(), index, match))
    places = sorted(
        [(match.start(), tried) for at, tried in tried_at.items() for match in at.finditer(text)],
        key=itemgetter(0),
    )
    if not ahead and not places:
        return Mapped(text, range(len(text) + 1))
    heapq.heapify(ahead)
    out = _Output(text)
    next_place = 0
    while ahead or next_place < len(places):
        start = ahead[0][0] if ahead else len(text)
        candidates: Sequence[tuple[int, re.Match[str] | None]] = ()
        if next_place < len(places) and places[next_place][0] <= start:
            start, candidates = places[next_place]
            next_place += 1
            if start < out.position:
                continue
        searched: list[tuple[int, re.Match[str]]] = []
        while ahead and ahead[0][0] == start:
            _, index, match = heapq.heappop(ahead)
            searched.append((index, match))
        if start >= out.position:
            if searched:
                candidates = sorted([*candidates, *searched], key=itemgetter(0))
            for index, found in candidates:
                match_here = found or rules[index].pattern.match(text, start)
                if match_here is None or match_here.end() == start:
                    continue
                words = rules[index].spoken(match_here)
                if words is not None:
                    out.replace(match_here, words)
                    break
        for index, match in searched:
            behind = max(out.position, start + 1)
            if out.position <= start:
                behind = max(behind, match.end())
            if following := rules[index].pattern.search(text, behind):
                heapq.heappush(ahead, (following.start(), index, following))
    return out.finish() if out.position else Mapped(text, range(len(text) + 1))


class _Output:
    """What is spoken so far."""

    def __init__(self, text: str) -> None:
        self.position = 0
        """In `text`: where what is not yet spoken begins."""
        self._text = text
        self._pieces: list[str] = []
        self._offsets: list[int] = []
        self._last = " "

    def replace(self, match: re.Match[str], words: str) -> None:
        start, end = match.span()
        self._keep(start)
        if self._last == " ":
            words = words.lstrip(" ")
        if words:
            if _touch(self._last, words[0]):
                words = " " + words
            self._pieces.append(words)
            self._offsets.extend([start] * len(words))
            self._last = words[-1]
        self.position = end

    def finish(self) -> Mapped:
        end = len(self._text)
        dropped_at_end = self.position == end
        self._keep(end)
        spoken = "".join(self._pieces)
        if dropped_at_end and spoken.endswith(" "):
            spoken = spoken.rstrip(" ")
            del self._offsets[len(spoken) :]
        self._offsets.append(end)
        return Mapped(spoken, tuple(self._offsets))

    def _keep(self, until: int) -> None:
        start = self.position
        if start and self._last == " ":
            while start < until and self._text[start] == " ":
                start += 1
        if start == until:
            return
        if _touch(self._last, self._text[start]):
            self._pieces.append(" ")
            self._offsets.append(start)
        self._pieces.append(self._text[start:until])
        self._offsets.extend(range(start, until))
        self._last = self._text[until - 1]


def _touch(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum() and not (_is_han(left) or _is_han(right))


def _is_han(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff" or character == "〇"
