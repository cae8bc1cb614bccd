"""Cuts a text that is still being written into what can be spoken already.

The first clause may be short, so that speech starts early; what follows are sentences as
`core.text.segment` cuts them, so that a sentence is the same segment in a text that is written and
in one that is whole. A cut depends on the text alone, not on the pieces in which it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from core.text.clean import clean, speakable
from core.text.languages import Language
from core.text.segment import RULES, limit_of
from core.text.segmenting.cut import clause_ends, cut_long
from core.text.segmenting.lists import HAN
from core.text.segmenting.rules import SegmentRules
from core.text.segmenting.sentences import certain, sentences
from core.text.words import han_count, words_of

MAX_WAIT_S: Final = 0.4
"""No clause that is worth speaking waits longer for more text while nothing is heard: by then
whoever feeds calls `release()`. A pause of this length between two sentences is a usual one."""

FIRST_WORDS: Final = 3
"""Words that a clause cut at a comma has at the least: one or two alone sound cut off."""
FIRST_HAN: Final = 4
"""The same in Mandarin, where a word is a character."""
SENTENCE_WORDS: Final = 2
"""Words that a first sentence has at the least."""

_LOOK_CHARS: Final = 30
"""So many characters after a mark can still decide what the mark means; see `sentences.certain`."""
_RAW_SHARE: Final = 3
"""A clause is at most so many times as long as what may be spoken at once: there may be blanks in
it, and what no voice can say."""

_HAN: Final = re.compile(f"[{HAN}]")
_SPANISH: Final = re.compile("[¿¡áéíóúñüÁÉÍÓÚÑÜ]")
_OPENING: Final = frozenset("$€£¥￥#№¿¡([{（【《“‘«「『@/&+-")
"""Marks that belong to what follows them."""
_QUOTES: Final = frozenset("“「『«")
_ENDS: Final = frozenset(".!?…。！？｡．")
_ITEM_NUMBER: Final = re.compile(r"(?:^|[:.;!?…] |[：。！？；] ?)\d{1,2}\.$")
"""What stands before an item of a list and is no sentence."""
_ITEM_CHARS: Final = 5
_LINE: Final = re.compile(
    r"[^\S\n]*\n(?=\s*?\n|\s*(?:[-–*•·▪‣]\s|[（(]?(?:\d{1,2}|[a-h])[.)）、．][^\d]|[①-⑳]))"
)
"""The end of a line before an empty one or an item; other line breaks are blanks."""


class ClauseCutter:
    """One utterance's text, from its first character on."""

    def __init__(
        self, language: Language | None, *, max_chars: int, first_chars: int | None = None
    ) -> None:
        """Cut by the rules of `language`; `None`: by what the text looks like, until it is set.

        A clause has about `max_chars` characters at the most in English, and as much speech in the
        others; the first one `first_chars`, which is the language's own limit unless it is given.
        """
        self.language = language
        self.pending = ""
        """What was written and is in no clause yet."""
        self._max_chars = max_chars
        self._first_chars = first_chars
        self._first = True
        self._looking = 0
        """So many more characters can complete a clause."""
        self._speakable = False
        """Whether anything that is pending can be said."""

    def feed(self, text: str) -> list[str]:
        """Take more text; the clauses that are complete with it.

        Joined with what comes later, clauses are the text. Costs some 0.02 ms a character: whoever
        shares an event loop feeds a long text in parts.
        """
        cut: list[str] = []
        for character in text:
            self.pending += character
            if character.isalnum():
                self._speakable = True
                self._looking -= self._looking > 0
            elif not character.isspace() and character.isprintable():
                self._looking = _LOOK_CHARS
            elif self._looking:
                self._looking -= 1
            while self._looking or self._is_long():
                at = self._cut()
                if at is None:
                    break
                cut.append(self._take(at))
        return cut

    def flush(self) -> list[str]:
        """All that is pending: the text has ended, or is to be heard now."""
        return [self._take(len(self.pending))] if self.pending else []

    def release(self) -> list[str]:
        """What is pending and worth speaking, up to a written pause, or else to a blank. A word
        that may not be whole yet stays."""
        at = self._releasable()
        return [self._take(at)] if at else []

    @property
    def releasable(self) -> bool:
        """Whether `release()` would give anything."""
        return self._releasable() > 0

    def _take(self, at: int) -> str:
        taken, self.pending = self.pending[:at], self.pending[at:]
        self._first = self._first and not speakable(taken)
        self._looking = _LOOK_CHARS
        self._speakable = speakable(self.pending)
        return taken

    def _releasable(self) -> int:
        rules = RULES[self._language()]
        whole = _whole_words(self.pending, rules)
        cleaned = clean(self.pending[:whole])
        text = cleaned.text
        if not speakable(text):
            return 0
        if text[-1] in _ENDS:
            return whole
        for at in sorted(_pauses(text), reverse=True):
            if _is_worth(text[:at]):
                return cleaned.offsets[at]
        return whole if _is_worth(text) else 0

    def _cut(self) -> int | None:
        """Where the first clause of what is pending ends, if that is certain."""
        if self._speakable:
            language = self._language()
            rules = RULES[language]
            cleaned = clean(self.pending)
            text = cleaned.text + " " * self.pending[-1].isspace()
            ends = self._sentence_end(text, rules)
            if self._first:
                ends += [at for at in _pauses(text) if _is_worth(text[:at])][:1]
            limit = self._limit(language)
            if not ends and len(text) > limit + rules.short_chars:
                spans = cut_long(text, 0, len(text), limit=limit, first=False, rules=rules)
                ends.append(spans[0][1])
            places = [cleaned.offsets[at] for at in ends] + self._line_end(rules)
            if places:
                return min(places)
        return len(self.pending) if len(self.pending) > _RAW_SHARE * self._max_chars else None

    def _sentence_end(self, text: str, rules: SegmentRules) -> list[int]:
        """Where a sentence ends that is worth a clause, if that is known: one or none."""
        for _, end in sentences(text, rules):
            if not certain(text, end, rules):
                return []
            numbers = _ITEM_NUMBER.search(text, max(0, end - _ITEM_CHARS), end)
            if numbers is None and self._is_sentence(text[:end], rules):
                return [end]
        return []

    def _line_end(self, rules: SegmentRules) -> list[int]:
        """Where a paragraph ends, or a line before the item of a list: one or none."""
        if "\n" in self.pending:
            for match in _LINE.finditer(self.pending):
                if self._is_sentence(self.pending[: match.start()], rules):
                    return [match.start()]
        return []

    def _is_sentence(self, text: str, rules: SegmentRules) -> bool:
        """Whether a sentence is long enough to be spoken alone."""
        if self._first:
            return _is_worth(text, SENTENCE_WORDS)
        return len(text) >= rules.short_chars and speakable(text)

    def _language(self) -> Language:
        if self.language is not None:
            return self.language
        if _HAN.search(self.pending):
            return "zh"
        return "es" if _SPANISH.search(self.pending) else "en"

    def _limit(self, language: Language) -> int:
        limit = limit_of(language, self._max_chars)
        if not self._first:
            return limit
        return min(limit, self._first_chars or RULES[language].long_first_chars)

    def _is_long(self) -> bool:
        return len(self.pending) > self._limit(self._language())


def _pauses(text: str) -> Iterator[int]:
    """Where a pause is written and what follows cannot make it another thing."""
    for at in clause_ends(text):
        if at == len(text):
            if not _QUOTES.isdisjoint(text):
                continue
        elif _before_figure(text, at) or (text[at] == " " and not text[at:].lstrip(" —–")):
            continue
        yield at


def _before_figure(text: str, at: int) -> bool:
    """Whether a figure follows a comma: `March 5, 2026`, `Calle Mayor, 5`."""
    return text[at - 1] == "," and text[at:].lstrip()[:1].isdigit()


def _is_worth(text: str, least_words: int = FIRST_WORDS) -> bool:
    """Whether there is enough of it to be spoken alone."""
    if han_count(text) >= min(FIRST_HAN, 2 * least_words - 2):
        return True
    return sum(speakable(word.text) for word in words_of(text)) >= least_words


def _whole_words(text: str, rules: SegmentRules) -> int:
    """Up to where the words of `text` are whole and belong to no word that is still to come."""
    at = len(text)
    last = text[-1:]
    if last.isalnum() and not _HAN.match(last):
        at = _last_blank(text, at)
    while at:
        word = text[:at].rstrip().rpartition(" ")[2]
        bound = word[-1:] in _OPENING or word[:-1].lower() in rules.never_end
        if not bound:
            return at
        at = _last_blank(text, len(text[:at].rstrip()) - len(word))
    return 0


def _last_blank(text: str, before: int) -> int:
    """The last place before a blank, or after a Han character; 0 where there is none."""
    for at in range(before, 0, -1):
        if text[at - 1].isspace() or _HAN.match(text[at - 1]):
            return len(text[:at].rstrip())
    return 0
