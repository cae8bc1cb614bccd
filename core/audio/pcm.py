"""The canonical form of all audio inside the product: mono, 24 kHz, 16 bit signed little endian."""

from __future__ import annotations

from typing import Final

RATE_HZ: Final = 24_000
SAMPLE_BYTES: Final = 2
BYTES_PER_S: Final = RATE_HZ * SAMPLE_BYTES

AUDIBLE_DBFS: Final = -45.0
"""A sample louder than this counts as heard; "first audio" is the first such sample."""

AUDIBLE_AMPLITUDE: Final = round(32_767 * 10 ** (AUDIBLE_DBFS / 20))
"""`AUDIBLE_DBFS` as an absolute 16-bit sample value (184)."""


def samples_of(pcm_bytes: int) -> int:
    """Whole samples in that many bytes of canonical audio."""
    return pcm_bytes // SAMPLE_BYTES


def duration_ms(samples: int) -> int:
    """Milliseconds that many samples of canonical audio last, rounded."""
    return round(samples * 1000 / RATE_HZ)
