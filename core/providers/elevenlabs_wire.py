"""ElevenLabs' wire for `/text-to-speech/{voice}/stream/with-timestamps`: bodies, lines, errors.

One JSON object a line, blank lines between allowed; `alignment` times count from the start of the
utterance over the whole HTTP stream. No sockets here: the HTTP provider feeds bytes.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from core.audio.pcm import BYTES_PER_S, duration_ms, samples_of
from core.errors import (
    BadAudio,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
    StreamTruncated,
)
from core.speech import Attempt, AudioChunk, WordTiming
from core.text.words import spoken_length, words_of

PROVIDER: Final = "elevenlabs"
OUTPUT_FORMAT: Final = "pcm_24000"
"""The canonical form itself, offered on every plan (44.1 kHz is gated)."""

MAX_LINE_BYTES: Final = 4 * 1024 * 1024
MAX_CHARS_PER_S: Final = 30.0
"""More text than this for a second of audio cannot have been spoken: twice the measured pace of
15.5 to 16.2 characters a second. A Han character counts as several (`spoken_length`)."""

_ALIGNMENT_SLACK_S: Final = 0.25
"""The last aligned character may end this much after the audio: vendor's times are rounded."""

_LANGUAGE_MODELS: Final = ("eleven_flash_v2_5", "eleven_turbo_v2_5")
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
    if attempt.model in _LANGUAGE_MODELS:
        body["language_code"] = attempt.language
    if attempt.seed is not None:
        body["seed"] = attempt.seed
    return msgspec.json.encode(body)


class TimestampStream:
    """Decodes one reply as its bytes arrive."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = _Words(text)
        self._buffer = bytearray()
        self._searched = 0
        self._odd = b""
        self._audio_bytes = 0
        self._aligned = False

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
        if not self._audio_bytes:
            raise BadAudio("ElevenLabs sent no audio.", provider=PROVIDER)
        if self._aligned:
            heard_s = self._audio_bytes / BYTES_PER_S
            if not self._words.complete or heard_s + _ALIGNMENT_SLACK_S < self._words.last_end_s:
                raise StreamTruncated(
                    "ElevenLabs stopped before the text's end.", provider=PROVIDER
                )
            words = self._words.finish()
        else:
            pace = spoken_length(self._text) * BYTES_PER_S / self._audio_bytes
            if pace > MAX_CHARS_PER_S:
                raise StreamTruncated("ElevenLabs sent too little audio.", provider=PROVIDER)
            words = estimated_words(self._text, samples_of(self._audio_bytes))
        if words:
            chunks.append(AudioChunk(b"", words))
        return chunks

    def _line(self, line: bytes) -> AudioChunk | None:
        if not line.strip():
            return None
        try:
            decoded = _line_decoder.decode(line)
        except msgspec.DecodeError as error:
            raise BadAudio("ElevenLabs sent a line that is not JSON.", provider=PROVIDER) from error
        words: tuple[WordTiming, ...] = ()
        if decoded.alignment is not None:
            self._aligned = True
            words = self._words.feed(decoded.alignment)
        pcm = self._odd + (decoded.audio_base64 or b"")
        self._odd = b""
        if len(pcm) % 2:
            pcm, self._odd = pcm[:-1], pcm[-1:]
        self._audio_bytes += len(pcm)
        return AudioChunk(pcm, words) if pcm or words else None


class _Words:
    """Puts aligned characters together to the words of the text (`core.text.words`)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = words_of(text)
        self._next = 0
        """The word that is not yet at its end."""
        self._position = 0
        self._start_s: float | None = None
        self._end_s = 0.0
        self.last_end_s = 0.0
        """When the last character that was aligned ends."""

    @property
    def complete(self) -> bool:
        """Whether every letter and digit of the text was aligned."""
        return not any(c.isalnum() for c in self._text[self._position :])

    def feed(self, alignment: _Alignment) -> tuple[WordTiming, ...]:
        done: list[WordTiming] = []
        for character, start_s, end_s in zip(
            alignment.characters,
            alignment.character_start_times_seconds,
            alignment.character_end_times_seconds,
            strict=False,
        ):
            if not character:
                continue
            self.last_end_s = max(self.last_end_s, end_s)
            at = self._text.find(character, self._position, self._position + 16)
            if at < 0:
                continue
            done.extend(self._ended_by(at))
            self._position = at + len(character)
            if not character.isspace():
                self._start_s = start_s if self._start_s is None else self._start_s
                self._end_s = end_s
        return tuple(done)

    def finish(self) -> tuple[WordTiming, ...]:
        return tuple(self._ended_by(len(self._text)))

    def _ended_by(self, position: int) -> list[WordTiming]:
        """The words that end at that place or before; those without any time are left out."""
        done: list[WordTiming] = []
        while self._next < len(self._words) and self._words[self._next].end <= position:
            word = self._words[self._next]
            self._next += 1
            if self._start_s is None:
                continue
            done.append(
                WordTiming(
                    text=word.text,
                    start_ms=round(self._start_s * 1000),
                    end_ms=round(self._end_s * 1000),
                    char_start=word.start,
                    char_end=word.end,
                )
            )
            self._start_s = None
        return done


def estimated_words(text: str, samples: int) -> tuple[WordTiming, ...]:
    """Timings in proportion to the length of the text (`spoken_length`), where the reply carried
    none."""
    whole_ms = duration_ms(samples)
    whole = spoken_length(text)
    words: list[WordTiming] = []
    position, length = 0, 0.0
    for word in words_of(text):
        begins = length + spoken_length(text[position : word.start])
        length = begins + spoken_length(word.text)
        position = word.end
        words.append(
            WordTiming(
                text=word.text,
                start_ms=round(whole_ms * begins / whole),
                end_ms=round(whole_ms * length / whole),
                char_start=word.start,
                char_end=word.end,
                estimated=True,
            )
        )
    return tuple(words)


_BUSY: Final = frozenset(
    {
        "concurrent_limit_exceeded",
        "too_many_concurrent_requests",
        "rate_limit_exceeded",
        "system_busy",
    }
)
_UNAVAILABLE: Final = frozenset({"internal_error", "service_unavailable", "maintenance"})
_REJECTED: Final = frozenset(
    {
        "invalid_api_key",
        "unauthorized",
        "missing_api_key",
        "missing_permissions",
        "detected_unusual_activity",
        "quota_exceeded",
        "insufficient_credits",
        "voice_not_found",
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
    kind: type[ProviderError]
    if code in _BUSY:
        kind = ProviderBusy
    elif code in _UNAVAILABLE:
        kind = ProviderUnavailable
    elif code in _REJECTED:
        kind = ProviderRejected
    elif status == 429:
        kind = ProviderBusy
    elif status >= 500 or status == 408:
        kind = ProviderUnavailable
    else:
        kind = ProviderRejected
    return kind(said, provider=PROVIDER, vendor_code=code)


_CODE: Final = re.compile(r"[a-z0-9_+]{1,64}")
"""What a code looks like; anything else may be a sentence that quotes the text or the key."""


def _vendor_code(body: bytes) -> str | None:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    detail = decoded.get("detail") if isinstance(decoded, dict) else None
    if isinstance(detail, dict):
        for field in ("code", "status"):
            value = detail.get(field)
            if isinstance(value, str) and _CODE.fullmatch(value):
                return value
    return None
