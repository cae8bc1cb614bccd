"""Faults: what goes wrong, how often, where; drawn from the seed, one rule per request."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from benchmarks.emulator.errors import ERRORS

TRANSPORT: Final = ("slow", "silent", "stall", "truncate", "reset")
AUDIO: Final = ("garbage", "broken_json", "zero", "empty")
KINDS: Final = (*TRANSPORT, *AUDIO, *ERRORS)

SPEECH_ROUTES: Final = ("convert", "stream", "with-timestamps", "stream/with-timestamps")
OTHER_ROUTES: Final = ("voices", "models", "user")


class FaultRule(msgspec.Struct, forbid_unknown_fields=True):
    """One fault.

    | kind | what happens |
    |---|---|
    | slow | the first byte comes `delay_ms` later (3,000) |
    | silent | accepted, then never a byte; with `headers`, a status line and headers first |
    | stall | stops after `after_bytes` of the body (half); goes on after `delay_ms` if given |
    | truncate | ends after `after_bytes` (half): `end` "clean" as if whole, or "abort" |
    | reset | RST, before the headers, or with `headers` after `after_bytes` of the body (0) |
    | garbage | random bytes for audio |
    | broken_json | lines that are no JSON (timestamp routes; elsewhere as garbage) |
    | zero | as many samples, all zero |
    | empty | a good reply without any audio |
    | a code of `ERRORS` | that answer |
    """

    kind: str
    rate: float = 1.0
    """Share of requests, 0 to 1."""
    count: int | None = None
    """How many requests at most; None: without end."""
    after_bytes: int | None = None
    delay_ms: int | None = None
    headers: bool = False
    end: Literal["clean", "abort"] = "abort"
    routes: tuple[str, ...] = SPEECH_ROUTES
    """Of `SPEECH_ROUTES` and `OTHER_ROUTES`."""
    voices: tuple[str, ...] = ()
    """Only for these voice ids; empty: for all."""

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out.

        Raises:
            ValueError: an unknown kind or route, or a number out of range.
        """
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if not 0 <= self.rate <= 1:
            raise ValueError("rate must be between 0 and 1")
        if unknown := set(self.routes) - {*SPEECH_ROUTES, *OTHER_ROUTES}:
            raise ValueError(f"unknown routes {sorted(unknown)}")
        if min(self.count or 0, self.after_bytes or 0, self.delay_ms or 0) < 0:
            raise ValueError("count, after_bytes and delay_ms must not be negative")


class FaultBook:
    """The rules in force; the first that strikes wins."""

    def __init__(self, rules: Sequence[FaultRule], seed: int) -> None:
        self._seed = seed
        self.replace(rules)

    def replace(self, rules: Sequence[FaultRule]) -> None:
        """Put these rules in force and start the draw from the seed again."""
        self.rules = list(rules)
        self._left = [rule.count for rule in self.rules]
        self._rng = random.Random(self._seed)

    def draw(self, route: str, voice_id: str | None = None) -> FaultRule | None:
        """The fault of one request, if any."""
        for at, rule in enumerate(self.rules):
            if route not in rule.routes or (rule.voices and voice_id not in rule.voices):
                continue
            left = self._left[at]
            if left == 0 or (rule.rate < 1 and self._rng.random() >= rule.rate):
                continue
            if left is not None:
                self._left[at] = left - 1
            return rule
        return None


def read_rules(data: bytes | str | Any) -> list[FaultRule]:
    """Rules from JSON (or decoded JSON): one rule or a list of them.

    Raises:
        ValueError: it is no such JSON.
    """
    try:
        tree = msgspec.json.decode(data) if isinstance(data, (bytes, str)) else data
        tree = tree if isinstance(tree, list) else [tree]
        return msgspec.convert(tree, list[FaultRule])
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
