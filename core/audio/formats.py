"""The output formats, as one table: what a caller may ask for and what comes back."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from core.audio.pcm import RATE_HZ
from core.errors import UnsupportedFormat

Codec = Literal["mp3", "wav", "pcm", "ulaw", "alaw", "opus"]


class OutputFormat(msgspec.Struct, frozen=True):
    """One way to encode an utterance; always mono."""

    name: str
    """Canonical: codec, sample rate and, where the codec has one, bit rate: `mp3_24000_128`."""
    codec: Codec
    rate_hz: int
    """Of the decoded audio."""
    kbps: int | None
    """Bit rate in kbit/s; `None` where it follows from the sample rate."""
    content_type: str
    extension: str
    """Of a file, without the dot."""


MPEG2_KBPS: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""Bit rates that MPEG-2 layer III (which 24 kHz belongs to) can have, from 32 on."""

MPEG1_KBPS: Final = (32, 64, 96, 128, 192, 224, 256, 320)
"""Bit rates offered at 44.1 kHz, which belongs to MPEG-1 layer III."""

MP3_KBPS: Final = (*MPEG2_KBPS, *(kbps for kbps in MPEG1_KBPS if kbps > MPEG2_KBPS[-1]))
"""Bit rates that plain `mp3` can have. It is at 24 kHz, where speech loses nothing and a bit goes
furthest; a rate that only MPEG-1 has takes it to 44.1 kHz."""

PLAIN_HZ: Final = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Sample rates of pcm and wav."""

OPUS_KBPS: Final = (32, 64, 96, 128, 192)

_CONTENT_TYPES: Final[dict[Codec, str]] = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    # RFC 2046: u-law at 8 kHz, one channel, and nothing else.
    "ulaw": "audio/basic",
    # audio/basic would have it decoded as u-law, and audio/PCMA is registered for RTP alone; by
    # this name players know A-law files.
    "alaw": "audio/x-alaw-basic",
    # What ElevenLabs answers for the same format name.
    "opus": "audio/opus",
}


def _row(codec: Codec, rate_hz: int, kbps: int | None = None) -> OutputFormat:
    name = f"{codec}_{rate_hz}" if kbps is None else f"{codec}_{rate_hz}_{kbps}"
    return OutputFormat(name, codec, rate_hz, kbps, _CONTENT_TYPES[codec], codec)


def _table() -> dict[str, OutputFormat]:
    rows = [
        _row("mp3", 22_050, 32),
        *(_row("mp3", RATE_HZ, kbps) for kbps in MPEG2_KBPS),
        *(_row("mp3", 44_100, kbps) for kbps in MPEG1_KBPS),
        *(_row("wav", rate_hz) for rate_hz in PLAIN_HZ),
        *(_row("pcm", rate_hz) for rate_hz in PLAIN_HZ),
        _row("ulaw", 8_000),
        _row("alaw", 8_000),
        *(_row("opus", 48_000, kbps) for kbps in OPUS_KBPS),
        # The same bytes as opus_48000_64, by the type that RFC 7845 gives them.
        OutputFormat("ogg_48000_64", "opus", 48_000, 64, "audio/ogg", "ogg"),
    ]
    return {row.name: row for row in rows}


FORMATS: Final = _table()
"""Canonical name to format: every `output_format` of ElevenLabs, and more bit rates of mp3."""

ALIASES: Final = {
    "wav": f"wav_{RATE_HZ}",
    "ogg": "ogg_48000_64",
    "pcm": f"pcm_{RATE_HZ}",
    "ulaw": "ulaw_8000",
    "alaw": "alaw_8000",
    "opus": "opus_48000_64",
}
"""Short names. `mp3` is one too; its bit rate is a setting, so it is not in this table."""


def bytes_per_ms(output: OutputFormat) -> float | None:
    """Bytes of a millisecond of audio, headers left out; `None` where an encoder decides it."""
    match output.codec:
        case "pcm" | "wav":
            return output.rate_hz * 2 / 1000
        case "ulaw" | "alaw":
            return output.rate_hz / 1000
        case _:
            return None


def format_names() -> tuple[str, ...]:
    """Every name `resolve` accepts."""
    return ("mp3", *ALIASES, *FORMATS)


def content_types() -> tuple[str, ...]:
    """Every content type that audio is sent with, once."""
    return tuple(dict.fromkeys(one.content_type for one in FORMATS.values()))


def resolve(name: str, mp3_kbps: int) -> OutputFormat:
    """The format of a short or canonical name; `mp3_kbps` is the bit rate of plain `mp3`.

    Raises:
        UnsupportedFormat: there is none; the message lists the names.
    """
    if name == "mp3":
        rate_hz = RATE_HZ if mp3_kbps <= MPEG2_KBPS[-1] else 44_100
        canonical = f"mp3_{rate_hz}_{mp3_kbps}"
    else:
        canonical = ALIASES.get(name, name)
    found = FORMATS.get(canonical)
    if found is None:
        raise UnsupportedFormat(f"The format must be one of: {', '.join(format_names())}.")
    return found
