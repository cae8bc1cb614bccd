"""The two keys under which audio is kept.

A *voice key* names canonical audio: everything that changes what is heard, and whose it is. A
*rendition key* names encoded bytes: the voice keys of an utterance and its output format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from core.speech import VoiceSettings
from core.text import normalise

KEY_VERSION: Final = 1
RENDITION_VERSION: Final = 2
"""Raise it with any change of the joiner or an encoder that alters bytes."""

_encoder = msgspec.msgpack.Encoder()


class VoiceIdentity(msgspec.Struct, frozen=True, array_like=True):
    """Everything that changes the audio of a segment; `None` is another value than any default."""

    tenant: str
    provider: str
    account: str
    engine: str
    """Version of the provider's code path on our side, e.g. `http-1` or `hibari-0.2.1`."""
    voice: str
    model: str
    language: str
    stability: float | None
    similarity_boost: float | None
    style: float | None
    use_speaker_boost: bool | None
    speed: float | None
    has_settings: bool
    """False: no settings were sent at all and the voice's stored ones apply."""
    text: str
    seed: int | None
    context: str | None
    """Text around the segment where the provider is told of it."""
    normaliser: int = normalise.VERSION


def identify(
    *,
    tenant: str,
    provider: str,
    account: str,
    engine: str,
    voice: str,
    model: str,
    language: str,
    settings: VoiceSettings | None,
    text: str,
    seed: int | None = None,
    context: str | None = None,
) -> VoiceIdentity:
    """Build the identity of one segment in one voice."""
    own = settings or VoiceSettings()
    return VoiceIdentity(
        tenant=tenant,
        provider=provider,
        account=account,
        engine=engine,
        voice=voice,
        model=model,
        language=language,
        stability=own.stability,
        similarity_boost=own.similarity_boost,
        style=own.style,
        use_speaker_boost=own.use_speaker_boost,
        speed=own.speed,
        has_settings=settings is not None,
        text=text,
        seed=seed,
        context=context,
    )


def voice_key(identity: VoiceIdentity) -> str:
    """32 hex digits that name the canonical audio of `identity`."""
    return _digest((KEY_VERSION, identity))


def rendition_key(voice_keys: Sequence[str], output_format: str, written: str) -> str:
    """32 hex digits that name the encoded bytes of an utterance.

    `written` is the caller's own text: a rendition's word timings point into it.
    """
    return _digest((RENDITION_VERSION, tuple(voice_keys), output_format, written))


def _digest(value: object) -> str:
    return hashlib.blake2b(_encoder.encode(value), digest_size=16).hexdigest()
