"""Written text as it is spoken: numbers, prices, dates and the like as words.

`VERSION` is part of every voice key: raise it with any change that alters what is spoken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from core.text.clean import Mapped
from core.text.languages import Language
from core.text.wording.en import RULES as _EN
from core.text.wording.es import RULES as _ES
from core.text.wording.marks import MARKS
from core.text.wording.rewrite import Rule, settled
from core.text.wording.zh import RULES as _ZH

VERSION: Final = 2

_RULES: Final[Mapping[Language, Sequence[Rule]]] = {"en": _EN, "es": _ES, "zh": _ZH}


def normalise(text: str, language: Language) -> Mapped:
    """What a voice should say for `text`, which is clean (`core.text.clean`).

    Every character of the result leads back to where its source begins: the words of a figure all
    lead to the figure's first character. Text that is words already stays as it is.
    """
    return settled(text, MARKS, _RULES[language])
