"""Mandarin limits for `core.text.segment`; Latin text within it follows the English rules."""

from __future__ import annotations

from typing import Final

import msgspec

from core.text.segmenting.en import RULES as ENGLISH
from core.text.segmenting.rules import SegmentRules

RULES: Final[SegmentRules] = msgspec.structs.replace(
    ENGLISH,
    short_chars=6,
    long_first_chars=30,
    # 4.5 characters a second against 17, and a voice that takes five tokens for a character.
    density=3,
    linkers=frozenset(
        [
            *["但是", "但", "不过", "而且", "并且", "因为", "所以", "如果", "然后", "还有", "另外"],
            *["同时", "或者", "以及", "虽然", "只要", "只有", "还是", "不仅", "而是", "那么"],
            *["不過", "並且", "因為", "還有", "同時", "雖然", "還是", "不僅", "那麼"],
        ]
    ),
)
