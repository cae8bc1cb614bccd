"""Faults: what goes wrong, how often, where; drawn from the seed, one rule per request."""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
from typing import Any, Final, Literal

import msgspec

from benchmarks.emulator.errors import ERRORS

TRANSPORT: Final = ("slow", "silent", "stall", "truncate", "reset")
AUDIO: Final = ("garbage", "broken_json", "zero", "empty")
SOCKET: Final = ("unanswered", "close", "error_frame", "no_final")
AT_HANDSHAKE: Final = frozenset({"unanswered", *ERRORS})
"""Of a socket; all others strike one of its contexts."""
KINDS: Final = (*TRANSPORT, *AUDIO, *SOCKET, *ERRORS)

SPEECH_ROUTES: Final = ("convert", "stream", "with-timestamps", "stream/with-timestamps")
SOCKET_ROUTES: Final = ("stream-input", "multi-stream-input")
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

    On the routes of sockets, which a rule strikes only if it names them, one is drawn for each
    handshake (`unanswered`, codes) and one for each context that opens (all others):

    | kind | what happens |
    |---|---|
    | unanswered | the upgrade request is never answered, or `delay_ms` later |
    | a code of `ERRORS` | that answer instead of the upgrade |
    | slow | the context's first frame comes `delay_ms` later (3,000) |
    | stall | the context stops after `after_frames` of audio (1), for ever or for `delay_ms` |
    | silent | the socket is half open from there (0): nothing comes, pings are not answered |
    | truncate | after `after_frames` (1): `end` "clean" a final frame, "abort" no close frame |
    | reset | RST after `after_frames` (0) |
    | garbage, broken_json, zero, empty | as above, for the audio or the frames of the context |
    | close | a close frame with `code` (1008) and `message` after `after_frames` (0) |
    | error_frame | `error` and `message` after `after_frames` (0), naming the context where
      `with_context`; with `code` the socket is closed, without it the context is over |
    | no_final | all audio, but never a final frame; the context counts for ever |
    """

    kind: str
    rate: float = 1.0
    """Share of requests, 0 to 1."""
    count: int | None = None
    """How many requests at most; None: without end."""
    after_bytes: int | None = None
    delay_ms: int | None = None
    after_frames: int | None = None
    headers: bool = False
    code: int | None = None
    """Of a close frame: 1000 to 4999."""
    error: str | None = None
    message: str | None = None
    with_context: bool = True
    end: Literal["clean", "abort"] = "abort"
    routes: tuple[str, ...] = SPEECH_ROUTES
    """Of `SPEECH_ROUTES`, `SOCKET_ROUTES` and `OTHER_ROUTES`."""
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
        if unknown := set(self.routes) - {*SPEECH_ROUTES, *SOCKET_ROUTES, *OTHER_ROUTES}:
            raise ValueError(f"unknown routes {sorted(unknown)}")
        counts = (self.count, self.after_bytes, self.after_frames, self.delay_ms)
        if min(count or 0 for count in counts) < 0:
            raise ValueError("count, after_bytes, after_frames and delay_ms must not be negative")
        if self.code is not None and not 1000 <= self.code <= 4999:
            raise ValueError("code must be from 1000 to 4999")


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

    def draw(
        self,
        route: str,
        voice_id: str | None = None,
        *,
        among: Container[str] = KINDS,
        without: Container[str] = (),
    ) -> FaultRule | None:
        """The fault of one request, if any; only rules of these kinds are drawn from."""
        for at, rule in enumerate(self.rules):
            if rule.kind not in among or rule.kind in without:
                continue
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
