"""Codes with hyphens: file numbers, confirmation codes, identity cards. They are read out sign by
sign and are neither ranges nor quantities."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from core.text.wording.nearby import before
from core.text.wording.rewrite import DIGITS, Rule, at_figure

_FREE: Final = r"(?<![0-9A-Za-z.,/$€£¥-])"
_END: Final = r"(?![0-9A-Za-z-]|[.,/][0-9])"
_LETTERED: Final = re.compile(rf"{_FREE}[A-Z][A-Z0-9]{{0,7}}(?:-[A-Z0-9]{{1,8}}){{1,4}}{_END}")
_MIXED: Final = re.compile(r"(?=[A-Z0-9]{3})(?:[A-Z]+[0-9]|[0-9]+[A-Z])")
_LETTERS_THEN_DIGITS: Final = re.compile(r"[A-Z]{2,8}-[0-9]{3,8}|[A-Z]-[0-9]{4,8}")
_PART: Final = re.compile("[0-9]+|[A-Z]+")


def code_rules(digits: Callable[[str], str], label: re.Pattern[str]) -> tuple[Rule, ...]:
    """The rules with a language's digits, one by one; `label` ends what is written before a code
    that looks like a range."""

    def spelled(written: str) -> str:
        return ", ".join(
            " ".join(digits(part) if part.isdecimal() else part for part in _PART.findall(group))
            for group in written.split("-")
        )

    def lettered(match: re.Match[str]) -> str | None:
        written = match.group()
        mixed = any(_MIXED.match(group) for group in written.split("-"))
        return spelled(written) if mixed or _LETTERS_THEN_DIGITS.fullmatch(written) else None

    def pair(match: re.Match[str]) -> str | None:
        """`2024-0098`: no number of a range begins with a zero."""
        second = match.group(2)
        known = (second[0] == "0" and len(second) > 2) or label.search(before(match))
        return spelled(match.group()) if known else None

    return (
        at_figure(
            rf"{_FREE}[0-9]{{1,6}}(?:-[0-9]{{1,6}}){{2,6}}{_END}",
            lambda match: spelled(match.group()),
        ),
        at_figure(rf"{_FREE}([0-9]{{1,8}})-([0-9]{{1,8}}){_END}", pair),
        at_figure(rf"{_FREE}[0-9]{{7,8}}-?[A-Z]{_END}", lambda match: spelled(match.group())),
        Rule(_LETTERED, lettered, DIGITS),
    )
