"""What a text can take at the most, in time and in bytes: bounds, not estimates."""

from __future__ import annotations

from typing import Final

S_PER_CHARACTER: Final = 0.35
"""A Han character takes 0.22 s and a figure that is read out 0.24 s (`core.audio.quality`); the
slowest speed of a voice is 0.7."""
_LARGEST_RATE_BYTES: Final = 48_000 * 2
"""Bytes of a second of the largest format: 16 bits at 48 kHz, uncompressed."""
_HEADER_BYTES: Final = 64 * 1024
"""More than any container adds to a text of a few words."""
_REDIS_VALUE_BYTES: Final = 512 * 1024 * 1024 - 1024
"""The largest value of Redis, less what is kept beside the audio."""


def longest_speech_s(characters: int) -> float:
    """No text of so many characters takes longer to say, in seconds."""
    return characters * S_PER_CHARACTER


def largest_audio_bytes(characters: int) -> int:
    """No audio of such a text is larger, whatever its format; never more than Redis can keep."""
    longest = int(longest_speech_s(characters) * _LARGEST_RATE_BYTES) + _HEADER_BYTES
    return min(longest, _REDIS_VALUE_BYTES)
