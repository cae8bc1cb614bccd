"""From the words that were written to the words that a voice read aloud, and to their times.

A voice's text normaliser turns "$5 at 5:30" into other words than were written. Word timings are
about the written ones: here the two are laid side by side.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from core.speech import WordTiming
from core.text.words import Word

_MARKS: Final = re.compile(r"[\W_]+")


class Block(msgspec.Struct, frozen=True):
    """`written[w0:w1]` is read aloud as `read[r0:r1]`; either may be empty, not both."""

    w0: int
    w1: int
    r0: int
    r1: int


def align(written: Sequence[str], read: Sequence[str]) -> list[Block]:
    """Blocks that cover both sequences in order, each as small as can be told.

    Every block has written words, unless there are none at all. Time grows with the cube of the
    number of words in the worst case: give it passages, not whole texts.
    """
    a, b = [_key(word) for word in written], [_key(word) for word in read]
    if a == b:
        return [Block(i, i + 1, i, i + 1) for i in range(len(a))]
    blocks: list[Block] = []
    for tag, i0, i1, j0, j1 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if i1 - i0 == j1 - j0:
            blocks += [Block(i0 + k, i0 + k + 1, j0 + k, j0 + k + 1) for k in range(i1 - i0)]
        elif tag == "insert" and blocks:
            last = blocks.pop()
            blocks.append(Block(last.w0, last.w1, last.r0, j1))
        else:
            blocks.append(Block(i0, i1, j0, j1))
    if len(blocks) > 1 and blocks[0].w0 == blocks[0].w1:  # something read before the first word
        first, second = blocks[:2]
        blocks[:2] = [Block(second.w0, second.w1, first.r0, second.r1)]
    return blocks


def timings(words: Sequence[Word], start_ms: int, end_ms: int) -> list[WordTiming]:
    """Timings of words that are read aloud between two instants.

    One word has exactly that time. Several share it by their letters and digits and are marked as
    estimated; words without any (a dash, an emoji) take no time.
    """
    weights = [len(_MARKS.sub("", word.text)) for word in words]
    if not any(weights):
        weights = [1] * len(words)
    estimated = sum(1 for weight in weights if weight) > 1
    total, done, out = sum(weights), 0, []
    at = start_ms
    for word, weight in zip(words, weights, strict=True):
        done += weight
        until = start_ms + round((end_ms - start_ms) * done / total)
        out.append(WordTiming(word.text, at, until, word.start, word.end, estimated))
        at = until
    return out


def _key(word: str) -> str:
    return _MARKS.sub("", word).casefold() or word
