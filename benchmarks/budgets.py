"""The budgets: one file of numbers, read by the benchmark, by k6 and by the check of changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

PATH: Final = Path(__file__).with_name("budgets.json")

_SMALLER_IS_LOOSER: Final = re.compile(r"(_min|cached_throughput)$")
"""Budgets that are lower bounds; every other number is an upper bound."""


class FirstAudio(msgspec.Struct, frozen=True):
    """Milliseconds until the listener hears the first sample over -45 dBFS."""

    promise: float
    """No request is later than this."""
    cached_p99: float
    uncached_local_p50: float
    """English and Spanish, ten words."""
    uncached_mandarin_p50: float
    """Mandarin by the local voice, with up to two at once."""
    refused_max: float
    """Until a request that could not start in time is told so."""


class WholeReply(msgspec.Struct, frozen=True):
    """Milliseconds until the last byte."""

    cold_50_p95: float


class Ratios(msgspec.Struct, frozen=True):
    """Against a yardstick in the same run."""

    cached_throughput: float
    """Of a bare handler with the same bytes."""
    added_first_byte_ms_p50: float
    """Over calling the emulator directly, in milliseconds."""
    band: float
    """What noise may take off a time ratio before the gate closes."""
    english_p95_beside_mandarin: float
    """First audio of the local English voice while two Mandarin streams run, over without any."""
    asked_voice_min: float
    """Share of replies in the asked voice while the provider is healthy."""


class Counts(msgspec.Struct, frozen=True):
    """Exact, per request."""

    redis_trips_uncached: float
    redis_trips_memory_hit: float
    upstream_calls_uncached: float
    upstream_calls_cached: float
    upstream_calls_equal_20: float
    upstream_calls_second_format: float


class SessionLoad(msgspec.Struct, frozen=True):
    """Of many sessions on one process."""

    first_audio_ms_p99: float
    """From the first command of a turn."""
    errors: float
    underruns: float
    """Over 300 ms on a client's playback clock."""
    frames_after_interruption: float
    """Of audio, once `interrupted` was told."""
    idle_kb: float
    """Memory of the gateway for each session that has spoken and is quiet again."""


class Budgets(msgspec.Struct, frozen=True):
    """All of them."""

    first_audio_ms: FirstAudio
    whole_reply_ms: WholeReply
    ratios: Ratios
    counts: Counts
    sessions: SessionLoad
    ci_seconds: float
    """How long the benchmark itself may take in CI."""


def load() -> Budgets:
    """The budgets in force."""
    return msgspec.json.decode(PATH.read_bytes(), type=Budgets)


def loosened(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of budgets that `after` allows more for than `before`, or no longer has."""
    old, new = _flat(before), _flat(after)
    names: list[str] = []
    for name, value in old.items():
        if name not in new:
            names.append(name)
        elif new[name] != value:
            lower = new[name] < value
            if lower == bool(_SMALLER_IS_LOOSER.search(name)):
                names.append(name)
    return names


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = float(value)
    return flat
