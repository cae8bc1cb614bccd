"""ElevenLabs' wire for `/text-to-speech/{voice}/stream/with-timestamps`: bodies, lines, and the
errors of both transports.

One JSON object a line, blank lines between allowed; `alignment` times count from the start of the
utterance over the whole HTTP stream. No sockets here: the HTTP provider feeds bytes.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from core.errors import (
    BadAudio,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
    StreamTruncated,
)
from core.providers.elevenlabs_words import PROVIDER, AlignedSpeech
from core.speech import Attempt, AudioChunk

OUTPUT_FORMAT: Final = "pcm_24000"
"""The canonical form itself, offered on every plan (44.1 kHz is gated)."""

MAX_LINE_BYTES: Final = 4 * 1024 * 1024
LANGUAGE_MODELS: Final = ("eleven_flash_v2_5", "eleven_turbo_v2_5")
"""Models that take `language_code`; multilingual_v2 does not."""


class _Alignment(msgspec.Struct):
    characters: list[str] = []
    character_start_times_seconds: list[float] = []
    character_end_times_seconds: list[float] = []


class _Line(msgspec.Struct):
    audio_base64: bytes | None = None
    alignment: _Alignment | None = None


_line_decoder = msgspec.json.Decoder(_Line)


def request_body(text: str, attempt: Attempt) -> bytes:
    """The JSON body; settings that are `None` are left out so that the voice's own apply."""
    body: dict[str, Any] = {"text": text, "model_id": attempt.model}
    if attempt.settings is not None:
        body["voice_settings"] = attempt.settings
    if attempt.model in LANGUAGE_MODELS:
        body["language_code"] = attempt.language
    if attempt.seed is not None:
        body["seed"] = attempt.seed
    return msgspec.json.encode(body)


class TimestampStream:
    """Decodes one reply as its bytes arrive."""

    def __init__(self, text: str) -> None:
        self._speech = AlignedSpeech(text)
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> list[AudioChunk]:
        """Chunks of the lines that `data` completes.

        Raises:
            BadAudio: a line is no JSON of the known shape, or is endless.
        """
        self._buffer += data
        chunks: list[AudioChunk] = []
        start = 0
        while (end := self._buffer.find(b"\n", max(start, self._searched))) >= 0:
            line = bytes(memoryview(self._buffer)[start:end])
            start = end + 1
            chunk = self._line(line)
            if chunk is not None:
                chunks.append(chunk)
        if start:
            del self._buffer[:start]
        self._searched = len(self._buffer)
        if len(self._buffer) > MAX_LINE_BYTES:
            raise BadAudio("ElevenLabs sent an endless line.", provider=PROVIDER)
        return chunks

    def finish(self) -> list[AudioChunk]:
        """What is left at the end of the body.

        Raises:
            BadAudio: there was no audio at all.
            StreamTruncated: the audio ended before the text did.
        """
        rest = bytes(self._buffer)
        self._buffer.clear()
        chunks = []
        if rest.strip():
            try:
                last = self._line(rest)
            except BadAudio as error:
                raise StreamTruncated(
                    "ElevenLabs broke off in a line.", provider=PROVIDER
                ) from error
            if last is not None:
                chunks.append(last)
        words = self._speech.finish()
        if words is not None:
            chunks.append(words)
        return chunks

    def _line(self, line: bytes) -> AudioChunk | None:
        if not line.strip():
            return None
        try:
            decoded = _line_decoder.decode(line)
        except msgspec.DecodeError as error:
            raise BadAudio("ElevenLabs sent a line that is not JSON.", provider=PROVIDER) from error
        characters = None
        if (found := decoded.alignment) is not None:
            starts, ends = found.character_start_times_seconds, found.character_end_times_seconds
            characters = zip(found.characters, starts, ends, strict=False)
        return self._speech.feed(decoded.audio_base64 or b"", characters)


_BUSY: Final = frozenset(
    {
        "concurrent_limit_exceeded",
        "too_many_concurrent_requests",
        "rate_limit_exceeded",
        "system_busy",
        "max_active_conversations",
    }
)
_UNAVAILABLE: Final = frozenset(
    {"internal_error", "service_unavailable", "maintenance", "input_timeout_exceeded"}
)
_REJECTED: Final = frozenset(
    {
        "invalid_api_key",
        "unauthorized",
        "missing_api_key",
        "authentication_required",
        "missing_permissions",
        "detected_unusual_activity",
        "quota_exceeded",
        "insufficient_credits",
        "voice_not_found",
        "voice_id_does_not_exist",
        "model_not_found",
        "unsupported_model",
        "subscription_required",
        "only_for_creator+",
        "text_too_long",
        "max_character_limit_exceeded",
        "invalid_parameters",
        "invalid_voice_settings",
        "invalid_output_format",
        "missing_required_field",
        "malformed_json",
    }
)


def error_of(status: int, body: bytes) -> ProviderError:
    """The error a reply means: by its `detail.code` (or the older `detail.status`), and by the
    HTTP status only where the vendor names none: 400 can be a wrong key and 401 an empty account.

    The vendor's sentence is not repeated: it may quote the text or the key.
    """
    code = _vendor_code(body)
    said = f"ElevenLabs answered {status}" + (f" {code}." if code else ".")
    kind = kind_of(code)
    if kind is None and status == 429:
        kind = ProviderBusy
    elif kind is None:
        kind = ProviderUnavailable if status >= 500 or status == 408 else ProviderRejected
    return kind(said, provider=PROVIDER, vendor_code=code)


def kind_of(code: str | None) -> type[ProviderError] | None:
    """The error that a code of the vendor's means; None for one that is not known."""
    if code in _BUSY:
        return ProviderBusy
    if code in _UNAVAILABLE:
        return ProviderUnavailable
    return ProviderRejected if code in _REJECTED else None


def known_shape(code: object) -> str | None:
    """The code where it looks like one; else it may be a sentence that quotes text or key."""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


_CODE: Final = re.compile(r"[a-z0-9_+]{1,64}")


def _vendor_code(body: bytes) -> str | None:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    detail = decoded.get("detail") if isinstance(decoded, dict) else None
    if isinstance(detail, dict):
        for field in ("code", "status"):
            if (value := known_shape(detail.get(field))) is not None:
                return value
    return None
