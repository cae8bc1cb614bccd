"""Spoken audio ready for the wire: pieces of a format, and when each character sounds."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final, Protocol

import msgspec

from benchmarks.emulator.formats import SOURCE_HZ, WireFormat
from core.speech import WordTiming

PIECE_S: Final = (0.46, 0.52, 0.58, 0.5)
"""Audio in one piece, taken in turn: 22-28 kB of pcm_24000, as recorded."""

CharTimes = tuple[list[float], list[float]]
"""Start and end of every character of a text, in seconds."""


class Encoded:
    """The bytes of an utterance, cut into pieces; shared by all requests that speak it."""

    def __init__(self, body: bytes, duration_s: float, wire: WireFormat) -> None:
        self.duration_s = duration_s
        self.pieces, self.ends_s = _cut(body, duration_s, wire)

    @cached_property
    def base64(self) -> tuple[bytes, ...]:
        """The pieces as the JSON routes carry them."""
        return tuple(base64.b64encode(piece) for piece in self.pieces)

    @cached_property
    def whole_base64(self) -> bytes:
        """All of it, as the one JSON object of the plain timestamps route carries it."""
        return base64.b64encode(b"".join(self.pieces))


class Spoken(msgspec.Struct, frozen=True):
    """One request's speech."""

    audio: Encoded
    times: CharTimes


class Wish(msgspec.Struct, frozen=True):
    """What a request wants spoken."""

    text: str
    wire: WireFormat
    speed: float
    seed: int


class Speaker(Protocol):
    """One kind of audio."""

    async def start(self) -> None:
        """Make ready; nothing may be spoken before."""
        ...

    async def speak(self, wish: Wish) -> Spoken:
        """Speak a text."""
        ...

    async def aclose(self) -> None:
        """End children and release memory."""
        ...


def seconds(pcm: bytes) -> float:
    """Duration of source audio."""
    return len(pcm) / 2 / SOURCE_HZ


def _cut(
    body: bytes, duration_s: float, wire: WireFormat
) -> tuple[tuple[bytes, ...], tuple[float, ...]]:
    """Pieces of about half a second, whole samples each; bytes are spread evenly over time."""
    if not body:
        return (), ()
    unit = 2 if wire.codec in ("pcm", "wav") else 1
    pieces: list[bytes] = []
    ends_s: list[float] = []
    at, at_s = 0, 0.0
    for piece_s in itertools.cycle(PIECE_S):
        at_s += piece_s
        last = at_s >= duration_s
        end = len(body) if last else int(len(body) * at_s / duration_s) // unit * unit
        if end > at:
            pieces.append(body[at:end])
            ends_s.append(duration_s if last else at_s)
            at = end
        if last:
            return tuple(pieces), tuple(ends_s)
    raise AssertionError("unreachable")


def even_times(text: str, start_s: float, end_s: float) -> CharTimes:
    """Characters spread evenly."""
    step = (end_s - start_s) / max(1, len(text))
    edges = [round(start_s + at * step, 3) for at in range(len(text) + 1)]
    return edges[:-1], edges[1:]


def times_of_words(text: str, words: Sequence[WordTiming], duration_s: float) -> CharTimes:
    """Characters of a word share its time evenly; those between two words fill the gap."""
    starts: list[float] = []
    ends: list[float] = []

    def fill(count: int, start_s: float, end_s: float) -> None:
        step = (end_s - start_s) / count if count else 0.0
        starts.extend(round(start_s + at * step, 3) for at in range(count))
        ends.extend(round(start_s + (at + 1) * step, 3) for at in range(count))

    at, at_s = 0, 0.0
    for word in words:
        fill(word.char_start - at, at_s, word.start_ms / 1000)
        fill(word.char_end - word.char_start, word.start_ms / 1000, word.end_ms / 1000)
        at, at_s = word.char_end, word.end_ms / 1000
    fill(len(text) - at, at_s, min(duration_s, at_s + 0.1) if words else duration_s)
    return starts, ends


def alignment(text: str, times: CharTimes, first: int, last: int) -> dict[str, Any] | None:
    """The alignment object of the characters `first` to `last` (excluded)."""
    if first == last:
        return None
    return {
        "characters": list(text[first:last]),
        "character_start_times_seconds": times[0][first:last],
        "character_end_times_seconds": times[1][first:last],
    }


def normalized(found: dict[str, Any] | None, *, leading: bool) -> dict[str, Any] | None:
    """The normalised twin: the vendor's starts with a space that the text does not have."""
    if found is None or not leading:
        return found
    start = found["character_start_times_seconds"][0]
    return {
        "characters": [" ", *found["characters"]],
        "character_start_times_seconds": [0.0, *found["character_start_times_seconds"]],
        "character_end_times_seconds": [start, *found["character_end_times_seconds"]],
    }


def json_object(audio: bytes, found: dict[str, Any] | None, *, leading: bool) -> bytes:
    """One timestamps object; `audio` is base64 already."""
    twin = normalized(found, leading=leading)
    return b"".join(
        (
            b'{"audio_base64":"',
            audio,
            b'","alignment":',
            msgspec.json.encode(found),
            b',"normalized_alignment":',
            msgspec.json.encode(twin),
            b"}",
        )
    )


def json_lines(text: str, spoken: Spoken) -> list[bytes]:
    """One line per piece, with the characters that start in it, on the utterance's own clock.

    Every fourth line is followed by an empty one, which readers must skip.
    """
    lines: list[bytes] = []
    starts = spoken.times[0]
    first = 0
    count = len(spoken.audio.pieces)
    for at, (audio, end_s) in enumerate(zip(spoken.audio.base64, spoken.audio.ends_s, strict=True)):
        last = first
        while last < len(text) and (at == count - 1 or starts[last] < end_s):
            last += 1
        line = json_object(audio, alignment(text, spoken.times, first, last), leading=first == 0)
        lines.append(line + (b"\n\n" if at % 4 == 3 else b"\n"))
        first = last
    return lines
