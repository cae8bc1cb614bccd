"""The output formats, as one table: what a caller may ask for and what comes back."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from core.audio.pcm import RATE_HZ
from core.errors import UnsupportedFormat

Codec = Literal["mp3", "wav", "pcm"]


class OutputFormat(msgspec.Struct, frozen=True):
    """One way to encode an utterance; always mono."""

    name: str
    """Canonical: codec, sample rate and, where the codec has one, bit rate: `mp3_24000_128`."""
    codec: Codec
    rate_hz: int
    kbps: int | None
    """Bit rate in kbit/s; `None` where it follows from the sample rate."""
    content_type: str
    extension: str
    """Of a file, without the dot."""


MP3_KBPS: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""Bit rates that MPEG-2 layer III (which 24 kHz belongs to) can have, from 32 on."""


def _table() -> dict[str, OutputFormat]:
    rows = [
        OutputFormat(f"wav_{RATE_HZ}", "wav", RATE_HZ, None, "audio/wav", "wav"),
        OutputFormat(f"pcm_{RATE_HZ}", "pcm", RATE_HZ, None, "audio/pcm", "pcm"),
    ]
    rows += [
        OutputFormat(f"mp3_{RATE_HZ}_{kbps}", "mp3", RATE_HZ, kbps, "audio/mpeg", "mp3")
        for kbps in MP3_KBPS
    ]
    return {row.name: row for row in rows}


FORMATS: Final = _table()
"""Canonical name to format."""

ALIASES: Final = {"wav": f"wav_{RATE_HZ}", "pcm": f"pcm_{RATE_HZ}"}
"""Short names. `mp3` is one too; its bit rate is a setting, so it is not in this table."""


def format_names() -> tuple[str, ...]:
    """Every name `resolve` accepts."""
    return ("mp3", *ALIASES, *FORMATS)


def resolve(name: str, mp3_kbps: int) -> OutputFormat:
    """The format of a short or canonical name; `mp3_kbps` is the bit rate of plain `mp3`.

    Raises:
        UnsupportedFormat: there is none; the message lists the names.
    """
    canonical = f"mp3_{RATE_HZ}_{mp3_kbps}" if name == "mp3" else ALIASES.get(name, name)
    found = FORMATS.get(canonical)
    if found is None:
        raise UnsupportedFormat(f"The format must be one of: {', '.join(format_names())}.")
    return found
