"""The call log: what every client asked and how it ended. Texts are kept as length and hash."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from typing import Any, Final

import msgspec

_KEPT: Final = 20_000
_TEXTS: Final = ("text", "previous_text", "next_text")


class Call(msgspec.Struct):
    """One request. Instants are `time.monotonic()`, on Linux one clock for all processes."""

    id: int
    route: str
    started_s: float
    voice_id: str | None = None
    model_id: str | None = None
    text_chars: int = 0
    text_sha256: str | None = None
    body: dict[str, Any] = msgspec.field(default_factory=dict)
    """The fields as sent; of texts only length and hash."""
    output_format: str | None = None
    status: int | None = None
    """None: no status line was sent."""
    code: str | None = None
    """The vendor's error code of the answer."""
    fault: str | None = None
    request_id: str | None = None
    credits: int = 0
    first_byte_s: float | None = None
    bytes_sent: int = 0
    aborted: bool = False
    """The client hung up before the end."""
    hung_up: bool = False
    """The emulator did, as a fault wanted it."""
    ended_s: float | None = None
    """None: still under way."""


class CallLog:
    """The last calls, newest last, and how many there were in all."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all calls; those under way are not counted again."""
        self._calls: deque[Call] = deque(maxlen=_KEPT)
        self.total = 0

    def begin(self, route: str) -> Call:
        """A call that starts now."""
        self.total += 1
        call = Call(id=self.total, route=route, started_s=time.monotonic())
        self._calls.append(call)
        return call

    def listing(self) -> list[Call]:
        """All calls kept."""
        return list(self._calls)


def veiled(body: dict[str, Any]) -> dict[str, Any]:
    """A request body with every text replaced by its length and hash."""
    return {name: _veil(value) if name in _TEXTS else value for name, value in body.items()}


def text_hash(text: str) -> str:
    """sha256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _veil(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return {"chars": len(value), "sha256": text_hash(value)}
