"""Words as the word code counts them, and the verdict on what was heard of them."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

import msgspec

UNREADABLE: Final = -1
"""Index and hash of a sound that is no whole burst."""


class CodedWord(msgspec.Struct, frozen=True):
    """One burst as heard. `index` counts modulo 256; both are `UNREADABLE` for any other sound."""

    index: int
    word_hash: int
    start_ms: int


class Verdict(msgspec.Struct, frozen=True):
    """What was heard against what should have been. Words stand in the order of the text."""

    missing: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    """Heard something else or something unreadable in the place of this word; `?` where there was
    no word to say at that place."""
    out_of_order: tuple[str, ...] = ()
    index_breaks: int = 0
    """Places where the index neither goes on by one nor, between segments, restarts at 0."""
    segments: int = 1
    """Runs of words whose index starts at 0."""

    @property
    def ok(self) -> bool:
        """Every word once and in order, and nothing else."""
        found = self.missing or self.repeated or self.wrong or self.out_of_order
        return not found and self.index_breaks == 0


class Token(msgspec.Struct, frozen=True):
    """A word and its place in the text."""

    text: str
    start: int
    end: int


def _is_han(char: str) -> bool:
    return "㐀" <= char <= "鿿"


def tokens(text: str) -> Iterator[Token]:
    """Words: runs without white space that hold a letter or digit; each Han character is one."""
    start: int | None = None
    for at, char in enumerate(text + " "):
        alone = _is_han(char)
        if start is not None and (char.isspace() or alone):
            if any(c.isalnum() for c in text[start:at]):
                yield Token(text[start:at], start, at)
            start = None
        if alone:
            yield Token(char, at, at + 1)
        elif start is None and not char.isspace():
            start = at


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text as the code counts them."""
    return tuple(token.text for token in tokens(text))


@lru_cache(maxsize=65_536)
def word_hash(word: str) -> int:
    """Eight bits of a word, whatever its case and the punctuation around or in it."""
    bare = "".join(c for c in unicodedata.normalize("NFKC", word).casefold() if c.isalnum())
    return hashlib.blake2b(bare.encode(), digest_size=1).digest()[0]


def _segments(decoded: Sequence[CodedWord]) -> tuple[int, int]:
    """How many runs of words start at index 0, and where an index does not follow."""
    starts, breaks, expected = 0, 0, 0
    for word in decoded:
        if word.index == 0:
            starts += expected % 256 != 0 or starts == 0
        elif word.index != expected % 256:
            breaks += 1
        expected = word.index + 1
    return starts, breaks


def _align(words: Sequence[str], expected: Sequence[object], heard: Sequence[object]) -> Verdict:
    """Lines up what should be heard with what was, and names every difference."""
    known = set(expected)
    lost: list[int] = []
    extra: list[object] = []
    wrong: list[str] = []
    matcher = difflib.SequenceMatcher(None, expected, heard, autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            continue
        for word, place in itertools.zip_longest(range(i1, i2), range(j1, j2)):
            if place is not None and heard[place] not in known:
                wrong.append("?" if word is None else words[word])
                continue
            if word is not None:
                lost.append(word)
            if place is not None:
                extra.append(heard[place])
    found = Counter(extra)
    moved: list[str] = []
    missing: list[str] = []
    for at in lost:
        late = found[expected[at]] > 0
        found[expected[at]] -= late
        (moved if late else missing).append(words[at])
    text_of = dict(zip(reversed(expected), reversed(words), strict=True))
    return Verdict(
        missing=tuple(missing),
        repeated=tuple(text_of[code] for code in found.elements()),
        wrong=tuple(wrong),
        out_of_order=tuple(moved),
    )


def matches(text: str, decoded: Sequence[CodedWord]) -> Verdict:
    """Compares with a text spoken in one provider call: indices run through from 0."""
    words = words_of(text)
    expected = [(at % 256, word_hash(word)) for at, word in enumerate(words)]
    return _align(words, expected, [(word.index, word.word_hash) for word in decoded])


def matches_segments(text: str, decoded: Sequence[CodedWord]) -> Verdict:
    """Compares with a text spoken in any number of provider calls, the index restarting in each.

    The hashes of the whole text must come in order; between two words the index goes on by one or
    restarts at 0. `segments` of the verdict tells how many calls were heard.
    """
    words = words_of(text)
    found = _align(words, [word_hash(word) for word in words], [w.word_hash for w in decoded])
    segments, breaks = _segments(decoded)
    return msgspec.structs.replace(found, index_breaks=breaks, segments=segments)
