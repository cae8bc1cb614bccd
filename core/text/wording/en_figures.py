"""English: ranges, scores, plain numbers, signs."""

from __future__ import annotations

import re
from typing import Final

from core.text.wording.en_measures import AMOUNT, HALVED_WORDS, NUMBER, amount
from core.text.wording.en_numbers import digits, house, identifier, number, year
from core.text.wording.nearby import behind
from core.text.wording.rewrite import DIGITS, Rule, at_figure


def _range(match: re.Match[str]) -> str:
    first, second = match.group(1, 2)
    return f"{_plain(first)} to {_plain(second)}"


def _plain(written: str) -> str:
    is_year = re.fullmatch(r"(?:19|20)[0-9]{2}", written)
    return year(int(written)) if is_year else number(written)


def _compound(match: re.Match[str]) -> str:
    """`3-bedroom` stays one word, `1,200-unit` becomes two."""
    said = amount(match.group(1), halved=bool(HALVED_WORDS.match("-" + behind(match))))
    return said + ("-" if " " not in said else " ")


def _number(match: re.Match[str]) -> str:
    written = match.group()
    before_it = match.string[match.start() - 1 : match.start()] if match.start() else ""
    if before_it.isascii() and before_it.isalpha() and written.isdecimal():
        return house(written) if len(written) < 5 else identifier(written)
    return amount(written, halved=bool(HALVED_WORDS.match(behind(match))))


def _out_of(match: re.Match[str]) -> str:
    top, bottom = (part for part in match.groups() if part)
    return f"{number(top)} out of {number(bottom)}"


def _dotted(match: re.Match[str]) -> str:
    return " point ".join(number(part) for part in match.group().split("."))


def _operation(match: re.Match[str]) -> str:
    return f" {_OPERATORS[match.group().strip()]} "


_OPERATORS: Final = {"+": "plus", "*": "times", "×": "times", "=": "equals", "÷": "divided by"}
_COMPARED: Final = {
    "~": "about",
    "≈": "about",
    "±": "plus or minus",
    "<": "less than",
    ">": "more than",
    "≤": "at most",
    "≥": "at least",
}


SCORES: Final = (
    at_figure(
        rf"(?<![0-9/])({NUMBER})/(100?)(?![0-9/])|(?<![0-9/])([0-9]\.[0-9])/(5)(?![0-9/])", _out_of
    ),
)
FIGURES: Final = (
    at_figure(
        rf"(?<![0-9A-Za-z])(?<![0-9][-–—])({NUMBER}) ?[-–—] ?(?!0[0-9])({NUMBER})"
        r"(?![0-9]|[A-Z][0-9]|[-–—/][0-9])",
        _range,
    ),
    at_figure(
        rf"(?<![0-9])({NUMBER})[x×](?![0-9A-Za-z])", lambda match: f"{number(match.group(1))} times"
    ),
    at_figure(r"(?<![0-9])[0-9]{3,4}(?=[A-Z]\b)", lambda match: house(match.group())),
    at_figure(r"(?<![0-9$.,])1031(?= exchange)", lambda _: "ten thirty-one"),
    at_figure(r"(?<![0-9])24/7\b", lambda _: "twenty-four seven"),
    at_figure(rf"(?<![0-9])({AMOUNT})-(?=[A-Za-z]{{2}})", _compound),
    Rule(
        re.compile(r"(?<![0-9A-Za-z])\.([0-9]++)"), lambda m: "point " + digits(m.group(1)), DIGITS
    ),
    at_figure(r"(?<![0-9])[0-9]++(?:\.[0-9]++){2,}", _dotted),
    Rule(
        re.compile(
            r"(?:(?<=[\s(])|^)[-−](?=[$€£]?[0-9])",
        ),
        lambda _: "minus ",
        DIGITS,
    ),
    at_figure(rf"(?<![0-9]){AMOUNT}", _number),
    Rule(re.compile(r"(?<=[0-9]) ?[+*×=÷] ?(?=[$€£0-9])"), _operation, frozenset("+*×=÷")),
    Rule(re.compile(r"(?<=[0-9])/(?=[0-9])"), lambda _: " slash ", frozenset("/")),
    Rule(re.compile(r"(?<=[0-9]):(?=[0-9])"), lambda _: " to ", frozenset(":")),
    Rule(re.compile(r"(?<=[0-9KMk%])\+(?![\w+])"), lambda _: " plus", frozenset("+")),
    Rule(re.compile(r"(?<= )[+=](?= )"), _operation, frozenset("+=")),
    Rule(
        re.compile(r"[~≈±<>≤≥] ?(?=[$€£]?[0-9])"),
        lambda match: f"{_COMPARED[match.group()[0]]} ",
        frozenset(_COMPARED),
    ),
    Rule(re.compile(r"@"), lambda _: " at ", frozenset("@")),
    Rule(re.compile(r"&"), lambda _: " and ", frozenset("&")),
    Rule(re.compile(r"(?<=[^\W_])_++(?=[^\W_])"), lambda _: " ", frozenset("_")),
)
