"""ElevenLabs' wire for `/text-to-speech/{voice}/multi-stream-input`: the URL, what each side sends,
and what error frames and close codes mean.

What a URL fixes (voice, model, language, seed) a socket cannot change. Each message names a
context, which is one utterance; alignment times restart in every frame. No sockets here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from core.errors import BadAudio, ProviderError, ProviderRejected, ProviderUnavailable
from core.providers.elevenlabs_wire import (
    LANGUAGE_MODELS,
    OUTPUT_FORMAT,
    kind_of,
    known_shape,
)
from core.providers.elevenlabs_words import PROVIDER, Aligned
from core.speech import Attempt

VENDOR_INACTIVITY_S: Final = 180
"""What the socket is asked for: the longest that the vendor waits for a next message (20 s when
nothing is asked). Idle sockets are closed well before."""

MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
"""Recorded frames have 22 to 28 kB; without a schedule of pieces they may grow past the 1 MiB at
which other clients give up."""

_VOICE_REFUSED: Final = 1008
_TRANSIENT: Final = re.compile(r"something went wrong", re.IGNORECASE)
"""The vendor's reason for a 1008 that is its own fault and not charged."""


class _Alignment(msgspec.Struct):
    chars: list[str] = []
    charStartTimesMs: list[float] = []
    charDurationsMs: list[float] = []
    charsDurationsMs: list[float] = []


class Frame(msgspec.Struct):
    """One message of the vendor's. Both spellings of its names are met in the field."""

    audio: bytes | None = None
    alignment: _Alignment | None = None
    isFinal: bool | None = None
    is_final: bool | None = None
    contextId: str | None = None
    context_id: str | None = None
    error: Any = None
    code: Any = None
    message: Any = None

    @property
    def context(self) -> str | None:
        """The context that the frame belongs to."""
        return self.contextId or self.context_id

    @property
    def final(self) -> bool:
        """Whether the context is over."""
        return bool(self.isFinal or self.is_final)

    def characters(self, heard_s: float) -> Iterator[Aligned] | None:
        """The aligned characters on the utterance's own clock; `heard_s` is how much audio came
        before this frame. None: the frame has no alignment."""
        if self.alignment is None:
            return None
        found = self.alignment
        durations = found.charDurationsMs or found.charsDurationsMs
        return (
            (character, heard_s + start_ms / 1000, heard_s + (start_ms + duration_ms) / 1000)
            for character, start_ms, duration_ms in zip(
                found.chars, found.charStartTimesMs, durations, strict=False
            )
        )

    def failure(self) -> ProviderError | None:
        """The error that the frame says; None where it says none."""
        if self.error is None:
            return None
        code = self.code if isinstance(self.code, int) else None
        return error_of_close(code, str(self.message or ""), known_shape(self.error))


_frames = msgspec.json.Decoder(Frame)


def frame_of(data: str | bytes) -> Frame:
    """Decode one message.

    Raises:
        BadAudio: it is no JSON of the known shape.
    """
    try:
        return _frames.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadAudio("ElevenLabs sent a frame that is not JSON.", provider=PROVIDER) from error


def socket_url(base_url: str, attempt: Attempt) -> str:
    """Where the socket for an attempt is opened; equal URLs can share a socket."""
    scheme, _, rest = base_url.partition("://")
    query: dict[str, Any] = {
        "model_id": attempt.model,
        "output_format": OUTPUT_FORMAT,
        "auto_mode": "true",
        "sync_alignment": "true",
        "inactivity_timeout": VENDOR_INACTIVITY_S,
    }
    if attempt.model in LANGUAGE_MODELS:
        query["language_code"] = attempt.language
    if attempt.seed is not None:
        query["seed"] = attempt.seed
    voice = quote(attempt.voice, safe="")
    far = "wss" if scheme == "https" else "ws"
    return f"{far}://{rest}/text-to-speech/{voice}/multi-stream-input?{urlencode(query)}"


def opening(context: str, attempt: Attempt) -> str:
    """The first message of a context, the only one that may carry settings."""
    message: dict[str, Any] = {"text": " ", "context_id": context}
    if attempt.settings is not None:
        message["voice_settings"] = attempt.settings
    return _text(message)


def saying(context: str, text: str, *, flush: bool = False) -> str:
    """More text; whole words, with the blank at the end that the vendor asks for."""
    message: dict[str, Any] = {
        "text": text if text[-1:].isspace() else f"{text} ",
        "context_id": context,
    }
    if flush:
        message["flush"] = True
    return _text(message)


def flushing(context: str) -> str:
    """Speak what is there."""
    return _text({"context_id": context, "flush": True})


def closing(context: str) -> str:
    """Nothing follows: what was flushed still comes, then the final frame."""
    return _text({"context_id": context, "close_context": True})


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()


def error_of_close(code: int | None, reason: str, vendor_code: str | None = None) -> ProviderError:
    """The error that an error frame or a close means: by the vendor's own code, else by the number.

    1008 is the vendor's word on this voice, key or message, unless it says that it went wrong
    itself; any other close says nothing about what was asked. The reason is not repeated: it may
    quote the text.
    """
    kind = kind_of(vendor_code)
    if kind is None and code == _VOICE_REFUSED and not _TRANSIENT.search(reason):
        kind = ProviderRejected
    said = f"ElevenLabs closed the context or socket ({vendor_code or code or 'lost'})."
    return (kind or ProviderUnavailable)(said, provider=PROVIDER, vendor_code=vendor_code)
