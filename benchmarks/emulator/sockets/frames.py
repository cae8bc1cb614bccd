"""Server frames as recorded (flash, pcm_24000, auto mode, 2026-09).

Every frame has all its keys. Times of an alignment restart at 0 in every frame; the alignment of a
generated piece ends with a space, its normalised twin begins with one; the last samples come in a
small frame without alignment.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from benchmarks.emulator.speech import Spoken

_TAIL_BYTES: Final = 960
_MAX_REASON_BYTES: Final = 123
"""A close frame has 125 bytes for code and reason."""

_NO_TIMES: Final = b',"alignment":null,"normalizedAlignment":null'


def id_keys(context_id: str | None) -> bytes:
    """The keys that name a context, in both spellings that clients read; None: a lone context."""
    if context_id is None:
        return b""
    name = msgspec.json.encode(context_id)
    return b',"contextId":' + name + b',"context_id":' + name


def audio_frames(text: str, spoken: Spoken, ids: bytes) -> list[tuple[bytes, int]]:
    """The frames of one generated piece, each with its bytes of audio.

    `text` is the spoken one; `spoken.times` has an entry for each of its characters.
    """
    made: list[tuple[bytes, int]] = []
    pieces, ends_s = spoken.audio.pieces, spoken.audio.ends_s
    starts = spoken.times[0]
    first, began_s = 0, 0.0
    for at, (piece, end_s) in enumerate(zip(pieces, ends_s, strict=True)):
        whole = at == len(pieces) - 1
        last = first
        while last < len(text) and (whole or starts[last] < end_s):
            last += 1
        found = _alignment(text, spoken, first, last, began_s)
        tail = len(piece) - _TAIL_BYTES if whole and len(piece) > _TAIL_BYTES else len(piece)
        times = _times(found, leading=first == 0)
        made.append((_frame(piece[:tail], times, ids), tail))
        if tail < len(piece):
            made.append((_frame(piece[tail:], _NO_TIMES, ids), len(piece) - tail))
        first, began_s = last, end_s
    return made


def final_frame(ids: bytes) -> bytes:
    """The one that tells that a context's audio is complete."""
    return b'{"audio":null,"isFinal":true' + _NO_TIMES + ids + b"}"


def error_frame(error: str, message: str, code: int, context_id: str | None = None) -> bytes:
    """An error; most name no context."""
    frame: dict[str, Any] = {"message": message, "error": error, "code": code}
    if context_id is not None:
        frame |= {"contextId": context_id, "context_id": context_id}
    return msgspec.json.encode(frame)


def close_reason(message: str) -> bytes:
    """As much of a message as a close frame can carry."""
    return message.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()


def _frame(audio: bytes, times: bytes, ids: bytes) -> bytes:
    return b"".join((b'{"audio":"', base64.b64encode(audio), b'","isFinal":null', times, ids, b"}"))


def _alignment(
    text: str, spoken: Spoken, first: int, last: int, began_s: float
) -> dict[str, Any] | None:
    if first == last:
        return None
    starts, ends = spoken.times
    starts_ms = [max(0, round((start - began_s) * 1000)) for start in starts[first:last]]
    ends_ms = [max(0, round((end - began_s) * 1000)) for end in ends[first:last]]
    return {
        "chars": list(text[first:last]),
        "charStartTimesMs": starts_ms,
        "charDurationsMs": [end - start for start, end in zip(starts_ms, ends_ms, strict=True)],
    }


def _times(found: dict[str, Any] | None, *, leading: bool) -> bytes:
    if found is None:
        return _NO_TIMES
    twin = _normalized(found) if leading else found
    encode = msgspec.json.encode
    return b',"alignment":' + encode(found) + b',"normalizedAlignment":' + encode(twin)


def _normalized(found: dict[str, Any]) -> dict[str, Any]:
    """The twin: its leading space lasts half of the first character where that is at 0."""
    starts, durations = found["charStartTimesMs"], found["charDurationsMs"]
    begins = starts[0] or durations[0] // 2
    return {
        "chars": [" ", *found["chars"]],
        "charStartTimesMs": [0, begins, *starts[1:]],
        "charDurationsMs": [begins, starts[0] + durations[0] - begins, *durations[1:]],
    }
