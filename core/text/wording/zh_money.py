"""Prices in Mandarin: signs and codes of currencies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from core.text.wording.rewrite import DIGITS, Rule
from core.text.wording.zh_numbers import HAN, NUMBER, TO, number, to

_CURRENCIES: Final = {
    "US$": "美元",
    "USD": "美元",
    "$": "美元",
    "HK$": "港元",
    "HKD": "港元",
    "NT$": "新台币",
    "S$": "新加坡元",
    "SGD": "新加坡元",
    "A$": "澳元",
    "AUD": "澳元",
    "C$": "加元",
    "CAD": "加元",
    "€": "欧元",
    "EUR": "欧元",
    "£": "英镑",
    "GBP": "英镑",
    "RMB": "元",
    "CNY": "元",
    "CN¥": "元",
    "¥": "元",
}
_CURRENCY: Final = "|".join(map(re.escape, sorted(_CURRENCIES, key=len, reverse=True)))
_FACTORS: Final = {"K": 1_000, "M": 1_000_000, "B": 1_000_000_000}
_TIMES: Final = " ?(?:万亿|千万|百万|十万|[万亿千百]|[KkMmBbWw](?![A-Za-z0-9]))"
_SAID_CURRENCY: Final = "美元|美金|港元|港币|欧元|英镑|日元|澳元|加元|新台币|人民币"

_PRICE: Final = re.compile(
    rf"(?<![A-Za-z])(?P<currency>{_CURRENCY}) ?(?P<number>{NUMBER})(?P<times>{_TIMES})?"
    rf"(?:{TO}(?:{_CURRENCY})? ?(?P<last>{NUMBER})(?P<last_times>{_TIMES})?)?"
    rf"(?: ?(?P<said>{_SAID_CURRENCY}|[元块]))?(?: (?={HAN}))?"
)
_CODE_BEHIND: Final = re.compile(
    rf"(?:(?<=[0-9])|(?<=[万亿千百])) ?(?P<currency>{_CURRENCY})(?![A-Za-z0-9])"
)


def _amount(written: str, times: str | None) -> str:
    times = (times or "").strip().upper().replace("W", "万")
    plain = written.replace(",", "")
    if times in _FACTORS:
        plain, times = f"{Decimal(plain) * _FACTORS[times]:f}", ""
    if "." in plain:
        plain = plain.rstrip("0").removesuffix(".")
    return number(plain, counted=True) + times


def _price(match: re.Match[str]) -> str:
    words = _amount(match["number"], match["times"])
    if match["last"]:
        words += to(match) + _amount(match["last"], match["last_times"])
    said, currency = match["said"], _CURRENCIES[match["currency"]]
    return words + (currency if not said or (said == "元" and currency.endswith("元")) else said)


MONEY: Final[Sequence[Rule]] = (
    Rule(_PRICE, _price, DIGITS),
    Rule(_CODE_BEHIND, lambda match: _CURRENCIES[match["currency"]]),
)
