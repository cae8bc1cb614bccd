"""Marks that stand in a text to be seen, not said: Markdown as language models write it, emoji.

A mark that parts what stands beside it leaves a comma. White space is single blanks here, so what
began a line now follows one.
"""

from __future__ import annotations

import re
from typing import Final

from core.text.wording.rewrite import Rule

_PICTURES: Final = (
    "\u20e3\u2190-\u21ff\u2300-\u232f\u23cf-\u23ff\u2500-\u27bf\u2900-\u297f\u2b00-\u2bff\ufe0e\ufe0f"
    "\U0001f000-\U0001faff\U000e0020-\U000e007f"
)
"""Key caps, arrows, clocks, boxes, shapes, dingbats, selectors, emoji and flags (Unicode 15)."""

_TAG_NAMES: Final = "a|b|br|code|div|em|h[1-6]|hr|i|li|ol|p|pre|span|strong|table|td|th|tr|u|ul"


def _dropped(_match: re.Match[str]) -> str:
    return ""


def _pause(match: re.Match[str]) -> str:
    """A comma where the text before has no stop of its own."""
    before = match.string[max(0, match.start() - 2) : match.start()].rstrip(" ")
    behind = match.string[match.end() : match.end() + 1]
    return ", " if before and before[-1].isalnum() and behind else " "


MARKS: Final = (
    # What begins a line: a list, a quotation, a heading.
    Rule(re.compile(r"^(?:[-*+–—>] ++)+(?=\S)"), _dropped, frozenset("-*+–—>")),
    Rule(re.compile(r"(?<!\S)#{1,6} ++(?![0-9])"), _dropped, frozenset("#")),
    Rule(re.compile(r"(?<!\S)[-=*_~]{3,}+(?!\S)"), _pause, frozenset("-=*_~")),
    Rule(re.compile(r" ?(?:[•‣◦→⇒➔➡▶►]|\|++) ?"), _pause, frozenset("•‣◦→⇒➔➡▶►|")),
    # A link says its text.
    Rule(
        re.compile(r"!?\[([^\[\]]{1,200}+)\]\((?:https?://|mailto:|/)[^()\s]{1,500}+\)"),
        lambda match: match.group(1),
        frozenset("["),
    ),
    Rule(re.compile(rf"</?(?:{_TAG_NAMES})(?: [^<>]{{0,200}}+)?/?>", re.I), _pause, frozenset("<")),
    # Emphasis and code; an asterisk between two numbers is theirs.
    Rule(
        re.compile(r"\*{2,}+|(?<![0-9])(?<![0-9] )\*|\*(?! ?[0-9])|~~++|`++"),
        _dropped,
        frozenset("*~`"),
    ),
    Rule(re.compile(r"(?<![^\W_])_++|_++(?![^\W_])"), _dropped, frozenset("_")),
    Rule(re.compile(rf"[{_PICTURES}]++"), _dropped),
)
