"""Where the sentences of a written text end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from core.text.segmenting.lists import HAN, items_of
from core.text.segmenting.rules import SegmentRules

CLOSERS: Final = "\"'”’»」』）)\\]】》〉"
_QUOTES: Final = '"“「『«'
_OPENERS: Final = " \"'“‘«「『（([{¿¡—–-•*"
_FULL_WIDTH: Final = "。！？；．｡"

# Possessive, and begun only where a run begins: a long run of dots costs one pass over it.
_END = re.compile(rf"(?<![.!?…{_FULL_WIDTH}])([.!?…{_FULL_WIDTH}]++)([{CLOSERS}]*+)")
_HAN = re.compile(f"[{HAN}]")
_HAN_BEFORE = re.compile(f".*[{HAN}]")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_ACRONYM = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_FIGURE = re.compile(r"[$€£¥]?\d[\d.,:]*+")
_TIME = re.compile(r"[ap]\.?m|m")
_GLUED = re.compile(r"[A-ZÁÉÍÓÚÑ¿¡]")
_ADDRESS = re.compile(r"[/@=]|www\.", re.IGNORECASE)
_SAID = re.compile(r"[^，。！？；：,.!?“”\"]{0,8}?(?:[说説說問问答喊]|表示|回复|回復)")
"""Who said it, after a quotation with which the sentence began."""
_QUOTED_ON = re.compile("是(?![的，。！])|的|[这這][个個句种種话話]|之类|等")
"""What follows the quotation of a sentence within a longer sentence."""

_WORD_CHARS: Final = 24
"""No abbreviation is longer: as much is looked at before and after a mark."""

_BRACKETS: Final = "）)]】"
_PAIRS: Final = ("“”", "「」", "『』", "（）", "«»", "()")
_SAID_CHARS: Final = 12
"""What is looked at after a quotation."""

_LETTER = re.compile(r"[A-Z](?![^\W_])")
"""What names a flat or a staircase."""
_ITEM_NUMBER = re.compile(r"(?:^|[ ：:；;。！？，,])\d{1,2}$")


def sentences(text: str, rules: SegmentRules) -> list[tuple[int, int]]:
    """Spans of the sentences of `text`, in order; only blanks are between them."""
    spans: list[tuple[int, int]] = []
    start = 0
    for end in _ends(text, rules):
        if end <= start:
            continue
        spans.append((start, end))
        start = end + (text[end : end + 1] == " ")
    if start < len(text):
        spans.append((start, len(text)))
    return spans


def certain(text: str, end: int, rules: SegmentRules) -> bool:
    """Whether the sentence that ends at `end`, one of the ends of `sentences(text, rules)`, ends
    there whatever may be written after `text`."""
    mark = _END.search(text, max(0, end - _WORD_CHARS))
    while mark is not None and mark.end() < end:
        mark = _END.search(text, mark.end())
    if mark is None or mark.end() != end:
        # Before the item of a list, or before a quotation mark that opens the next sentence.
        return len(text) - end > _WORD_CHARS
    return _Mark(text, 0, mark, rules).certain()


def _ends(text: str, rules: SegmentRules) -> Iterator[int]:
    items = items_of(text)
    items.reverse()
    start = 0
    for match in _END.finditer(text):
        while items and items[-1] <= match.start():
            start = items.pop()
            yield start - (text[start - 1] == " ")
        end = _Mark(text, start, match, rules).sentence_end()
        if end is not None:
            yield end
            start = end
    yield from (item - (text[item - 1] == " ") for item in reversed(items))


class _Mark:
    """A run of end marks, and whether a sentence ends there."""

    def __init__(self, text: str, start: int, match: re.Match[str], rules: SegmentRules) -> None:
        self.text = text
        self.start = start
        """Where the sentence began, perhaps with a blank."""
        self.at = match.start()
        self.end = match.end()
        self.marks = match.group(1)
        self.closers = match.group(2)
        self.rules = rules

    def sentence_end(self) -> int | None:
        """Where the sentence ends if it does: after the marks and what they close."""
        if self.end == len(self.text):
            return self.end
        if any(mark in _FULL_WIDTH for mark in self.marks):
            return self._chinese_end()
        if self.text[self.end] == " ":
            return self.end if self._ends_before_blank() else None
        before, after = self.text[self.at - 1 : self.at], self.text[self.end]
        if _HAN.match(before) or (_HAN.match(after) and not self._after_item_number()):
            return self._chinese_end() if self._chinese_mark(before, after) else None
        return self.end if self._ends_glued(before) else None

    def certain(self) -> bool:
        """Whether what follows is known as far as it matters."""
        if any(mark in _FULL_WIDTH for mark in self.marks):
            if self.closers and self.closers[-1] not in _BRACKETS:
                return len(self.text) - self.end >= _SAID_CHARS
            return self.end < len(self.text) or not (self.closers or self._quoting())
        if self.end == len(self.text):
            return False
        follows = self.text[self.end :].lstrip(_OPENERS)
        if not follows:
            return False
        if self.marks != "." or self.text[self.end] != " " or self._plain():
            return True
        return len(follows) > len(_word(follows)) or len(follows) >= _WORD_CHARS

    def _quoting(self) -> bool:
        """Whether a quotation mark or a bracket is open that could be closed next."""
        written = self.text[self.start : self.at]
        odd = written.count('"') % 2 == 1
        return odd or any(written.count(a) > written.count(b) for a, b in _PAIRS)

    def _plain(self) -> bool:
        """Whether a word stands before the mark that is no abbreviation in any place."""
        written = self.text[max(0, self.at - _WORD_CHARS) : self.at].rpartition(" ")[2]
        word = written.lstrip(_OPENERS)
        key, rules = word.lower(), self.rules
        known = (
            rules.never_end,
            rules.before_figure,
            rules.after_figure,
            rules.may_end,
            rules.may_name,
        )
        return len(word) > 2 and word.isalpha() and not any(key in words for words in known)

    def _chinese_mark(self, before: str, after: str) -> bool:
        return self.marks != "." or not (before.isdigit() and after.isdigit())

    def _chinese_end(self) -> int | None:
        """After a mark that needs no blank. A straight quotation mark that would open one there
        belongs to the next sentence."""
        if self.closers[:1] == '"':
            seen = self.text.count('"', max(self.start, self.at - 400), self.at)
            if seen % 2 == 0:
                return self.end - len(self.closers)
        follows = self.text[self.end : self.end + _SAID_CHARS].lstrip()
        if self.closers and self.closers[-1] not in _BRACKETS:
            began = self.text[self.start : self.start + 2].lstrip()[:1]
            if _QUOTED_ON.match(follows) or (began in _QUOTES and _SAID.match(follows)):
                return None
        return self.end

    def _ends_glued(self, before: str) -> bool:
        """Whether the writer forgot the blank: `It is sold.Call us`, but not `www.Example.com`."""
        after = self.text[self.end : self.end + 2]
        if not (before.isalpha() and before.islower() and _GLUED.match(after)):
            return False
        if after[0] not in "¿¡" and not after[1:].islower():
            return False
        written = self.text[max(self.start, self.at - 64) : self.at].rpartition(" ")[2]
        return len(written) > 2 and not _ADDRESS.search(written)

    def _ends_before_blank(self) -> bool:
        follows = self.text[self.end : self.end + _WORD_CHARS].lstrip(_OPENERS)
        lower = follows[:1].islower()
        if "…" in self.marks or self.marks.startswith(".."):
            return not lower
        if self.marks != ".":
            quoted = bool(self.closers) or self.text[self.end + 1 : self.end + 2] in "—–-"
            return not (lower and quoted)
        written = self.text[max(self.start, self.at - _WORD_CHARS) : self.at].rpartition(" ")[2]
        written = _HAN_BEFORE.sub("", written.lstrip(_OPENERS))
        if self._numbers_an_item():
            return False
        return self._full_stop_ends(written, follows, lower)

    def _full_stop_ends(self, written: str, follows: str, lower: bool) -> bool:
        rules, digit = self.rules, follows[:1].isdigit()
        figure = _FIGURE.match(written)
        word = written[figure.end() if figure else 0 :].rpartition("/")[2]
        measured = word != written or self._after_figure(written)
        key = word.lower()
        if key in rules.never_end or (digit and key in rules.before_figure):
            return False
        if key in rules.before_figure and _LETTER.match(follows):
            return False
        if _TIME.fullmatch(key) and self._is_time(key, written, measured):
            return not (lower or _word(follows).lower() in rules.after_time)
        if key in rules.may_name and word[0].isupper():
            return self._starts(follows)
        if key in rules.may_end or key in rules.may_name:
            return not (lower or digit)
        if measured and key in rules.after_figure:
            return not (lower or digit)
        if len(word) == 1 and word.isalpha():
            return self._initial_ends(word, follows, lower)
        if _ACRONYM.fullmatch(word):
            return self._starts(follows)
        return not (lower and self._capitalised())

    def _initial_ends(self, word: str, follows: str, lower: bool) -> bool:
        if lower or (len(follows) > 1 and follows[0].isalpha() and follows[1] == "."):
            return False
        if word == "I":
            before = self.text[max(self.start, self.at - _WORD_CHARS) : self.at - 1].split()
            return not (before and before[-1][:1].isupper() and len(before[-1]) > 1)
        return self._starts(follows) or word.islower()

    def _is_time(self, key: str, written: str, measured: bool) -> bool:
        if key != "m":
            return measured or "." in key
        before = self.text[max(self.start, self.at - 4) : self.at]
        return written == "m" and before.endswith(("a. m", "p. m"))

    def _after_figure(self, written: str) -> bool:
        at = self.at - len(written) - 2
        return at >= self.start and self.text[at].isdigit()

    def _numbers_an_item(self) -> bool:
        """Whether the sentence is but a figure so far: `2. Two bedrooms`."""
        if self.marks != "." or self.at - self.start > 4:
            return False
        return self.text[self.start : self.at].strip().isdecimal()

    def _after_item_number(self) -> bool:
        """Whether the mark stands between an item's number and its text: `：1.有电梯`."""
        if self._numbers_an_item():
            return True
        return _ITEM_NUMBER.search(self.text, max(0, self.at - 3), self.at) is not None

    def _starts(self, follows: str) -> bool:
        """Whether what follows begins a sentence and not a name."""
        word = _word(follows)
        if not word[:1].isupper():
            return False
        known = word.lower().replace("’", "'") in self.rules.starters
        return known and follows[len(word) : len(word) + 1] != "."

    def _capitalised(self) -> bool:
        """Whether the sentence begins like those of a writer who uses capital letters."""
        began = self.text[self.start : self.start + _WORD_CHARS].lstrip(_OPENERS)
        return not began[:1].islower()


def _word(text: str) -> str:
    match = _WORD.match(text)
    return match.group() if match else ""
