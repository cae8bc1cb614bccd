"""What settings may be: bounds of every figure, and what must not be at odds with another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.audio.formats import MP3_KBPS
from core.errors import ConfigurationError

if TYPE_CHECKING:
    from core.settings import Settings

PLAN_CONCURRENCY: Final[dict[str, int]] = {
    "free": 4,
    "starter": 6,
    "creator": 10,
    "pro": 20,
    "scale": 30,
    "business": 30,
    "enterprise": 50,
}
"""Calls at once that a plan allows with flash models (vendor's table of 2026-09-17; enterprise is
"elevated", so our own cap)."""

_LIMITS: Final[dict[str, tuple[float, float]]] = {
    "SEIKETSU_PORT": (0, 65535),
    "SEIKETSU_TRIM_EVERY": (0, 24 * 3600),
    "VOICE_RESPONSE_TIMEOUT_MS": (100, 60_000),
    "SEIKETSU_MAX_TEXT_CHARS": (1, 100_000),
    "SEIKETSU_MAX_SEGMENT_CHARS": (40, 5_000),
    "SEIKETSU_LOOKAHEAD_SEGMENTS": (0, 8),
    "SEIKETSU_MAX_BODY_BYTES": (1_024, 16 * 1024 * 1024),
    "SEIKETSU_MAX_REQUESTS": (1, 100_000),
    "ELEVEN_LABS_TIMEOUT": (0.1, 600),
    "ELEVEN_LABS_STALL_TIMEOUT": (0.05, 60),
    "ELEVEN_LABS_TRIES": (1, 5),
    "ELEVEN_LABS_MAX_CONCURRENT": (1, 50),
    "ELEVEN_LABS_QUEUE_LIMIT": (0, 100_000),
    "SEIKETSU_VOICE_PROCESSES": (1, 64),
    "SEIKETSU_VOICE_SLOW_PROCESSES": (0, 64),
    "SEIKETSU_VOICE_QUEUE_LIMIT": (0, 100_000),
    "SEIKETSU_RESULT_TTL": (1, 24 * 3600),
    "SEIKETSU_CACHE_TTL": (1, 365 * 24 * 3600),
    "SEIKETSU_COMMON_TTL": (1, 365 * 24 * 3600),
    "SEIKETSU_CACHE_TIMEOUT_MS": (0.001, 10),
    "SEIKETSU_STATE_TIMEOUT_MS": (0.001, 30),
    "SEIKETSU_MAX_FLIGHT_BYTES": (16 * 1024 * 1024, 2**40),
    "SEIKETSU_MEMORY_CACHE_BYTES": (0, 2**40),
    "SEIKETSU_EMBEDDED_CACHE_BYTES": (4 * 1024 * 1024, 2**40),
    "SEIKETSU_MAX_SESSIONS": (1, 100_000),
    "SEIKETSU_MAX_SESSIONS_PER_KEY": (1, 100_000),
    "SEIKETSU_SESSION_IDLE": (1, 24 * 3600),
    "SEIKETSU_SESSION_QUEUE": (1, 64),
    "SEIKETSU_MAX_FRAME_BYTES": (1_024, 1024 * 1024),
    "SEIKETSU_REQUEST_TIMEOUT": (0.1, 600),
    "SEIKETSU_SEND_STALL": (0.1, 3600),
    "SEIKETSU_DRAIN": (0, 3600),
    "SEIKETSU_DRAIN_NOTICE": (0, 600),
    "SEIKETSU_FALLBACK_RESERVE_MS": (0, 60_000),
    "SEIKETSU_JOB_TTL": (60, 30 * 24 * 3600),
    "SEIKETSU_MAX_BULK_TEXTS": (1, 10_000),
    "SEIKETSU_MAX_BULK_BODY_BYTES": (1_024, 64 * 1024 * 1024),
    "SEIKETSU_WORKER_CONCURRENCY": (1, 64),
    "SEIKETSU_JOB_AUDIO_BYTES": (1024 * 1024, 2**40),
}
"""By variable the least and the greatest value, in the field's unit."""


def check(
    settings: Settings, places: Mapping[str, tuple[str, str]], in_ms: Collection[str]
) -> None:
    """Refuse settings that cannot work; `in_ms`: variables given in milliseconds, kept in seconds.

    Raises:
        ConfigurationError: the message names the variable and never repeats a secret.
    """
    for variable, (low, high) in _LIMITS.items():
        section, field = places[variable]
        value = getattr(getattr(settings, section) if section else settings, field)
        if not low <= value <= high:
            unit = 1000 if variable in in_ms else 1
            raise ConfigurationError(
                f"{variable} must be between {low * unit:g} and {high * unit:g}."
            )
    time_zone_of(settings.jobs.time_zone)
    if settings.speech.mp3_kbps not in MP3_KBPS:
        rates = ", ".join(map(str, MP3_KBPS))
        raise ConfigurationError(f"VOICE_QUALITY_BITRATE must be one of {rates}.")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise ConfigurationError("SEIKETSU_LOG_LEVEL must be debug, info, warning or error.")
    if settings.upstream.plan not in PLAN_CONCURRENCY:
        plans = ", ".join(PLAN_CONCURRENCY)
        raise ConfigurationError(f"ELEVEN_LABS_PLAN must be one of {plans}.")
    _check_redis_url("REDIS_URL", settings.redis.state_url)
    _check_redis_url("CACHE_REDIS_URL", settings.redis.cache_url)
    upstream = urlsplit(settings.upstream.base_url)
    if upstream.scheme not in ("http", "https") or not upstream.hostname:
        raise ConfigurationError("ELEVEN_LABS_BASE_URL must be an http:// or https:// address.")
    if settings.command.url:
        gateway = urlsplit(settings.command.url)
        if gateway.scheme not in ("http", "https") or not gateway.hostname:
            raise ConfigurationError("SEIKETSU_URL must be an http:// or https:// address.")


def _check_redis_url(variable: str, url: str) -> None:
    if not url:
        return
    from core.redis import can_be_opened  # takes a while to load, and our own servers need none

    if not can_be_opened(url):
        raise ConfigurationError(
            f"{variable} is not the address of a Redis database: write redis://HOST:PORT/NUMBER, "
            "rediss://HOST:PORT/NUMBER or unix:///PATH, or leave it empty for a server of our own."
        )


def time_zone_of(name: str) -> tzinfo:
    """The time zone of a name such as `Europe/Madrid`.

    Raises:
        ConfigurationError: this machine knows none of that name.
    """
    if name == "UTC":  # known without the system's time zone files
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise ConfigurationError("SEIKETSU_TIME_ZONE names no time zone known here.") from error
