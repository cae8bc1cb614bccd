"""What to do about speech that scored less than it could: one table, read by the analysis. Pure.

Each factor of `core.audio.quality` that cost score has its advice, the costliest first; then what
the text itself makes hard, and the voice's own settings.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

import msgspec

from core.audio.quality import (
    LEAD_LIMIT_S,
    PAUSE_LIMIT_S,
    TAIL_LIMIT_S,
    QualityReport,
    expected_s,
)
from core.speech import VoiceSettings
from core.text.words import spoken_length

FACTORS: Final = (
    "decodes",
    "level",
    "clipping",
    "silence",
    "dropouts",
    "noise",
    "pace",
    "ending",
)
"""The score is their product."""

COSTS_BELOW: Final = 0.95
"""A factor under this costs score that is worth a word."""
SHORT_CHARS: Final = 24.0
"""Spoken characters under which pace tells next to nothing."""
VERY_SHORT_CHARS: Final = 12.0
"""The same for the whole score."""
SPECIAL_SHARE: Final = 0.02
"""Share of characters that are read out in no agreed way, from which they are worth a word."""
LOW_STABILITY: Final = 0.5
"""The provider's own middle; below it every call sounds a little different."""
_QUIET_DBFS: Final = -28.0
"""Where level begins to cost from below, see `core.audio.quality.LEVEL_DBFS`."""

_PLAIN_MARKS: Final = frozenset("%&@+#$€£¥°§/'\"’“”‘«»¿¡!?.,;:()-–—…、。，！？；：（）《》「」·")
"""Marks that every voice here reads, or rightly passes over."""


class Recommendation(msgspec.Struct, frozen=True):
    """One thing that cost score, or may have."""

    factor: str
    """A factor of the score; or `special_characters`, `short_text`, `stability`."""
    measured: float
    """The factor, 0 to 1; of the others the share of characters, the characters, the setting."""
    advice: str


class Heard(msgspec.Struct, frozen=True):
    """What the advice follows from."""

    report: QualityReport
    text: str
    """As the caller wrote it."""
    spoken: str
    """As the voice got it."""
    language: str
    duration_ms: int
    settings: VoiceSettings | None
    meets_threshold: bool


def recommend(heard: Heard) -> list[Recommendation]:
    """What could be better, the costliest first; empty where nothing stands out."""
    report = heard.report
    if report.active_dbfs is None:
        # Nothing was audible: every other factor is 0 for want of anything to measure.
        costly = ["level" if report.decodes else "decodes"]
    else:
        costly = [name for name in FACTORS if getattr(report, name) < COSTS_BELOW]
    short = _is_short(heard, costly)
    if short:
        costly = [name for name in costly if name != "pace"]
    found = [
        Recommendation(name, round(getattr(report, name), 3), _ADVICE[name](heard))
        for name in sorted(costly, key=lambda name: float(getattr(report, name)))
    ]
    return found + _about_text(heard, short) + _about_settings(heard)


def special_share(text: str) -> float:
    """The share of characters no voice has an agreed way to read: markup, arrows, emoji."""
    if not text:
        return 0.0
    special = sum(_is_special(character) for character in text)
    return special / len(text)


def _is_special(character: str) -> bool:
    if character.isalnum() or character.isspace() or character in _PLAIN_MARKS:
        return False
    # Accents that stand apart belong to their letter.
    return not unicodedata.combining(character)


def _is_short(heard: Heard, costly: list[str]) -> bool:
    length = _length(heard)
    return length < VERY_SHORT_CHARS or (length < SHORT_CHARS and "pace" in costly)


def _length(heard: Heard) -> float:
    return spoken_length(heard.text.strip())


def _about_text(heard: Heard, short: bool) -> list[Recommendation]:
    found = []
    share = special_share(heard.text)
    if share >= SPECIAL_SHARE:
        found.append(
            Recommendation(
                "special_characters",
                round(share, 3),
                "The text holds markup, emoji or other characters that are not read aloud: leave "
                "them out or write what is to be said in words.",
            )
        )
    if short:
        found.append(
            Recommendation(
                "short_text",
                round(_length(heard), 1),
                "The text is very short, so its score says little: judge the voice by a whole "
                "sentence, and give single words a sentence around them.",
            )
        )
    return found


def _about_settings(heard: Heard) -> list[Recommendation]:
    stability = None if heard.settings is None else heard.settings.stability
    if heard.meets_threshold or stability is None or stability >= LOW_STABILITY:
        return []
    return [
        Recommendation(
            "stability",
            stability,
            f"The voice's stability is low: raise it to {LOW_STABILITY:g} or more, so that it "
            "sounds alike from call to call.",
        )
    ]


def _level(heard: Heard) -> str:
    level_dbfs = heard.report.active_dbfs
    if level_dbfs is None:
        return "Nothing can be heard: check the voice id, and speak the text again."
    if level_dbfs < _QUIET_DBFS:
        return (
            f"The voice is quiet ({level_dbfs:g} dBFS): choose another voice, or raise "
            "`similarity_boost`."
        )
    return f"The voice is very loud ({level_dbfs:g} dBFS): lower `style`, or choose another voice."


def _silence(heard: Heard) -> str:
    return (
        f"There is silence beyond {PAUSE_LIMIT_S:g} s in a pause (the longest: "
        f"{heard.report.longest_pause_ms} ms), {LEAD_LIMIT_S:g} s at the beginning or "
        f"{TAIL_LIMIT_S:g} s at the end: take line breaks and rows of dots out of the text."
    )


def _pace(heard: Heard) -> str:
    usual_ms = expected_s(heard.spoken, heard.language) * 1000
    if heard.duration_ms > usual_ms:
        return (
            f"It takes {heard.duration_ms} ms where {usual_ms:.0f} ms are usual: raise `speed`, "
            "and write abbreviations and figures as they are said."
        )
    return (
        f"It takes only {heard.duration_ms} ms where {usual_ms:.0f} ms are usual: lower `speed`, "
        "and listen whether words are missing."
    )


def _always(advice: str) -> Callable[[Heard], str]:
    return lambda _: advice


_ADVICE: Final[dict[str, Callable[[Heard], str]]] = {
    "decodes": _always("The audio could not be decoded: speak the text again."),
    "level": _level,
    "clipping": _always("The loudest parts are cut off: lower `style` or `similarity_boost`."),
    "silence": _silence,
    "dropouts": _always(
        "The sound falls away for moments: speak the text again; if it stays, choose another voice."
    ),
    "noise": _always(
        "There is noise under the voice: lower `similarity_boost`, or choose a voice that was "
        "recorded more cleanly."
    ),
    "pace": _pace,
    "ending": _always("The sound ends abruptly: end the text with a full stop."),
}
