"""Every setting of the product: one tree of frozen structs, read once from the environment.

`load_settings(os.environ)` is the only reader of the environment. Field docstrings are the public
documentation; each names its variable first, then what it does, its unit and its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from core.errors import ConfigurationError
from core.settings_check import check


class UpstreamSettings(msgspec.Struct, frozen=True):
    """The voice provider."""

    api_key: str = ""
    """ELEVEN_LABS_API_KEY: the provider's key. Empty: the local voice alone."""
    base_url: str = "https://api.elevenlabs.io/v1"
    """ELEVEN_LABS_BASE_URL: with its `/v1`."""
    account: str = ""
    """ELEVEN_LABS_ACCOUNT: names the provider account inside voice keys; empty: the URL's host.
    Keep it when you rotate the key, so that paid audio stays valid."""
    timeout_s: float = 30.0
    """ELEVEN_LABS_TIMEOUT: bound on a whole upstream stream, in seconds."""
    plan: str = "creator"
    """ELEVEN_LABS_PLAN: free, starter, creator, pro, scale, business or enterprise: the concurrency
    to start from; after the first reply the provider's own header decides."""
    max_concurrent: int = 50
    """ELEVEN_LABS_MAX_CONCURRENT: never more calls at once than this, whatever the plan allows."""
    queue_limit: int = 200
    """ELEVEN_LABS_QUEUE_LIMIT: segments that may wait for a place; the next is refused."""
    stall_timeout_s: float = 1.2
    """ELEVEN_LABS_STALL_TIMEOUT: longest wait for a stream's next piece, in seconds."""
    tries: int = 2
    """ELEVEN_LABS_TRIES: calls made for one segment before it counts as failed."""
    websocket: Literal["on", "off"] = "on"
    """ELEVEN_LABS_WEBSOCKET: on or off: whether text still arriving goes over WebSockets."""

    @property
    def enabled(self) -> bool:
        """Whether there is a key to call the provider with."""
        return bool(self.api_key)


class VoiceServerSettings(msgspec.Struct, frozen=True):
    """The local voice server."""

    socket: str = ""
    """SEIKETSU_VOICE_SOCKET: its unix socket; empty: `voices.sock` in the data directory."""
    processes: int = 2
    """SEIKETSU_VOICE_PROCESSES: child processes that compute English and Spanish."""
    slow_processes: int = 2
    """SEIKETSU_VOICE_SLOW_PROCESSES: child processes that compute Mandarin, at low priority, about
    0.5 GB of memory each; 0: no local Mandarin."""
    queue_limit: int = 200
    """SEIKETSU_VOICE_QUEUE_LIMIT: segments that may wait for a child; the next is refused."""
    kokoro_model: str = ""
    """SEIKETSU_KOKORO_MODEL: file of the Mandarin voice's model; empty: joined from its packages
    and kept in the data directory."""


class RedisSettings(msgspec.Struct, frozen=True):
    """The two databases."""

    state_url: str = ""
    """REDIS_URL: state and queue; must not evict. Empty: a server of our own on a unix socket."""
    cache_url: str = ""
    """CACHE_REDIS_URL: audio; bounded, LFU. Empty: a server of our own on a unix socket."""
    timeout_s: float = 0.05
    """SEIKETSU_CACHE_TIMEOUT_MS: longest wait for the audio database, in milliseconds (50)."""
    state_timeout_s: float = 0.5
    """SEIKETSU_STATE_TIMEOUT_MS: longest wait for the state database, in milliseconds (500)."""
    embedded_cache_bytes: int = 256 * 1024 * 1024
    """SEIKETSU_EMBEDDED_CACHE_BYTES: memory of our own audio database, in bytes."""


class CacheSettings(msgspec.Struct, frozen=True):
    """What is kept and how long."""

    memory_bytes: int = 128 * 1024 * 1024
    """SEIKETSU_MEMORY_CACHE_BYTES: size of the tier inside each process, in bytes."""
    ttl_s: int = 24 * 3600
    """SEIKETSU_CACHE_TTL: how long dynamic audio is kept, in seconds."""
    common_ttl_s: int = 7 * 24 * 3600
    """SEIKETSU_COMMON_TTL: how long pre-generated common responses are kept, in seconds."""
    result_ttl_s: int = 15 * 60
    """SEIKETSU_RESULT_TTL: how long an `audio_url` works at the least, in seconds."""


class SpeechSettings(msgspec.Struct, frozen=True):
    """The promise and the limits of one request."""

    response_timeout_ms: int = 2000
    """VOICE_RESPONSE_TIMEOUT_MS: speech starts within this, in milliseconds."""
    fallback_reserve_ms: int = 1300
    """SEIKETSU_FALLBACK_RESERVE_MS: the local voice starts when only this much of the response time
    is left, in milliseconds."""
    mp3_kbps: int = 128
    """VOICE_QUALITY_BITRATE: bit rate of `mp3`, in kbit/s; over 160 it is sampled at 44.1 kHz."""
    max_text_chars: int = 5000
    """SEIKETSU_MAX_TEXT_CHARS: longest text of one request, in characters."""
    max_segment_chars: int = 240
    """SEIKETSU_MAX_SEGMENT_CHARS: longest segment, in characters; a longer sentence is cut."""
    lookahead_segments: int = 2
    """SEIKETSU_LOOKAHEAD_SEGMENTS: segments spoken ahead of the one that is being sent."""
    max_flight_bytes: int = 256 * 1024 * 1024
    """SEIKETSU_MAX_FLIGHT_BYTES: audio held by all provider calls of a process, in bytes."""


class GatewaySettings(msgspec.Struct, frozen=True):
    """The edge."""

    host: str = "127.0.0.1"
    """SEIKETSU_HOST: address to listen on; without keys only loopback is allowed."""
    port: int = 8000
    """SEIKETSU_PORT: port to listen on."""
    api_keys: tuple[str, ...] = ()
    """SEIKETSU_API_KEYS: accepted keys, separated by commas, each `KEY` or `TENANT:KEY`."""
    max_body_bytes: int = 64 * 1024
    """SEIKETSU_MAX_BODY_BYTES: largest request body, in bytes."""
    request_timeout_s: float = 10.0
    """SEIKETSU_REQUEST_TIMEOUT: longest time a whole request may take to arrive, the handshake of a
    session too, in seconds; then it is answered with 408."""
    max_requests: int = 400
    """SEIKETSU_MAX_REQUESTS: synthesis requests under way in one process; the next is refused."""
    send_stall_s: float = 30.0
    """SEIKETSU_SEND_STALL: longest time one piece may wait for a client that does not read, in
    seconds; then the connection is closed."""
    max_sessions: int = 2000
    """SEIKETSU_MAX_SESSIONS: WebSocket sessions open in one process; the next is refused."""
    max_sessions_per_key: int = 1000
    """SEIKETSU_MAX_SESSIONS_PER_KEY: sessions that one API key may have open in one process."""
    session_idle_s: float = 600.0
    """SEIKETSU_SESSION_IDLE: a session that nobody sends anything in is closed after this, in
    seconds."""
    session_queue: int = 8
    """SEIKETSU_SESSION_QUEUE: texts of one session that may wait behind the one being spoken."""
    max_frame_bytes: int = 64 * 1024
    """SEIKETSU_MAX_FRAME_BYTES: largest message from a session's client, in bytes."""
    signing_key: str = ""
    """SEIKETSU_SIGNING_KEY: signs audio links; empty: made once and kept in the state database."""
    drain_s: float = 8.0
    """SEIKETSU_DRAIN: how long running replies may go on after the request to end, in seconds."""
    drain_notice_s: float = 1.0
    """SEIKETSU_DRAIN_NOTICE: how long a process that ends still takes requests while it says that
    it is not ready, so that a balancer turns away from it, in seconds."""


class CommandSettings(msgspec.Struct, frozen=True):
    """The commands that talk to a running gateway."""

    url: str = ""
    """SEIKETSU_URL: the gateway that commands talk to; empty: SEIKETSU_PORT on this computer."""
    key: str = ""
    """SEIKETSU_KEY: the key that commands send; empty: the first of SEIKETSU_API_KEYS."""


class JobSettings(msgspec.Struct, frozen=True):
    """Work in the background."""

    ttl_s: int = 24 * 3600
    """SEIKETSU_JOB_TTL: how long a job, its texts and its audio are kept, in seconds from its
    creation."""
    max_texts: int = 1000
    """SEIKETSU_MAX_BULK_TEXTS: texts that one job may hold."""
    max_body_bytes: int = 1024 * 1024
    """SEIKETSU_MAX_BULK_BODY_BYTES: largest body of a bulk request, in bytes."""
    concurrency: int = 4
    """SEIKETSU_WORKER_CONCURRENCY: texts that one worker speaks at once."""
    audio_bytes: int = 512 * 1024 * 1024
    """SEIKETSU_JOB_AUDIO_BYTES: audio of a tenant's jobs in the state database, in bytes."""
    time_zone: str = "UTC"
    """SEIKETSU_TIME_ZONE: where it is 02:00 for the maintenance, 08:00 and 17:00 for warm-ups."""


class MonitoringSettings(msgspec.Struct, frozen=True):
    """Where figures are sent to."""

    api_key: str = ""
    """TWENTYONEDEV_API_KEY: key of the monitoring service; empty: nothing is sent."""
    base_url: str = "https://api.21dev.ai/v1"
    """TWENTYONEDEV_BASE_URL: its address, with its `/v1`."""


class Settings(msgspec.Struct, frozen=True):
    """All settings."""

    data_dir: Path = Path(".seiketsu")
    """SEIKETSU_DATA_DIR: sockets and our own databases."""
    log_level: str = "info"
    """SEIKETSU_LOG_LEVEL: debug, info, warning or error."""
    trim_every_s: float = 30.0
    """SEIKETSU_TRIM_EVERY: seconds between two times that free memory is given back to the system;
    0: never."""
    gateway: GatewaySettings = msgspec.field(default_factory=GatewaySettings)
    speech: SpeechSettings = msgspec.field(default_factory=SpeechSettings)
    upstream: UpstreamSettings = msgspec.field(default_factory=UpstreamSettings)
    voices: VoiceServerSettings = msgspec.field(default_factory=VoiceServerSettings)
    redis: RedisSettings = msgspec.field(default_factory=RedisSettings)
    cache: CacheSettings = msgspec.field(default_factory=CacheSettings)
    jobs: JobSettings = msgspec.field(default_factory=JobSettings)
    command: CommandSettings = msgspec.field(default_factory=CommandSettings)
    monitoring: MonitoringSettings = msgspec.field(default_factory=MonitoringSettings)

    @property
    def voice_socket(self) -> Path:
        """Where the local voice server listens."""
        return Path(self.voices.socket) if self.voices.socket else self.data_dir / "voices.sock"


_MS_FIELDS = {"SEIKETSU_CACHE_TIMEOUT_MS", "SEIKETSU_STATE_TIMEOUT_MS"}

VARIABLES: dict[str, tuple[str, str]] = {
    "SEIKETSU_DATA_DIR": ("", "data_dir"),
    "SEIKETSU_LOG_LEVEL": ("", "log_level"),
    "SEIKETSU_TRIM_EVERY": ("", "trim_every_s"),
    "SEIKETSU_HOST": ("gateway", "host"),
    "SEIKETSU_PORT": ("gateway", "port"),
    "SEIKETSU_API_KEYS": ("gateway", "api_keys"),
    "SEIKETSU_MAX_BODY_BYTES": ("gateway", "max_body_bytes"),
    "SEIKETSU_REQUEST_TIMEOUT": ("gateway", "request_timeout_s"),
    "SEIKETSU_MAX_REQUESTS": ("gateway", "max_requests"),
    "SEIKETSU_SEND_STALL": ("gateway", "send_stall_s"),
    "SEIKETSU_MAX_SESSIONS": ("gateway", "max_sessions"),
    "SEIKETSU_MAX_SESSIONS_PER_KEY": ("gateway", "max_sessions_per_key"),
    "SEIKETSU_SESSION_IDLE": ("gateway", "session_idle_s"),
    "SEIKETSU_SESSION_QUEUE": ("gateway", "session_queue"),
    "SEIKETSU_MAX_FRAME_BYTES": ("gateway", "max_frame_bytes"),
    "SEIKETSU_SIGNING_KEY": ("gateway", "signing_key"),
    "SEIKETSU_DRAIN": ("gateway", "drain_s"),
    "SEIKETSU_DRAIN_NOTICE": ("gateway", "drain_notice_s"),
    "SEIKETSU_URL": ("command", "url"),
    "SEIKETSU_KEY": ("command", "key"),
    "VOICE_RESPONSE_TIMEOUT_MS": ("speech", "response_timeout_ms"),
    "VOICE_QUALITY_BITRATE": ("speech", "mp3_kbps"),
    "SEIKETSU_FALLBACK_RESERVE_MS": ("speech", "fallback_reserve_ms"),
    "SEIKETSU_MAX_TEXT_CHARS": ("speech", "max_text_chars"),
    "SEIKETSU_MAX_SEGMENT_CHARS": ("speech", "max_segment_chars"),
    "SEIKETSU_LOOKAHEAD_SEGMENTS": ("speech", "lookahead_segments"),
    "SEIKETSU_MAX_FLIGHT_BYTES": ("speech", "max_flight_bytes"),
    "ELEVEN_LABS_API_KEY": ("upstream", "api_key"),
    "ELEVEN_LABS_BASE_URL": ("upstream", "base_url"),
    "ELEVEN_LABS_ACCOUNT": ("upstream", "account"),
    "ELEVEN_LABS_TIMEOUT": ("upstream", "timeout_s"),
    "ELEVEN_LABS_PLAN": ("upstream", "plan"),
    "ELEVEN_LABS_MAX_CONCURRENT": ("upstream", "max_concurrent"),
    "ELEVEN_LABS_QUEUE_LIMIT": ("upstream", "queue_limit"),
    "ELEVEN_LABS_STALL_TIMEOUT": ("upstream", "stall_timeout_s"),
    "ELEVEN_LABS_TRIES": ("upstream", "tries"),
    "ELEVEN_LABS_WEBSOCKET": ("upstream", "websocket"),
    "SEIKETSU_VOICE_SOCKET": ("voices", "socket"),
    "SEIKETSU_VOICE_PROCESSES": ("voices", "processes"),
    "SEIKETSU_VOICE_SLOW_PROCESSES": ("voices", "slow_processes"),
    "SEIKETSU_VOICE_QUEUE_LIMIT": ("voices", "queue_limit"),
    "SEIKETSU_KOKORO_MODEL": ("voices", "kokoro_model"),
    "TWENTYONEDEV_API_KEY": ("monitoring", "api_key"),
    "TWENTYONEDEV_BASE_URL": ("monitoring", "base_url"),
    "REDIS_URL": ("redis", "state_url"),
    "CACHE_REDIS_URL": ("redis", "cache_url"),
    "SEIKETSU_CACHE_TIMEOUT_MS": ("redis", "timeout_s"),
    "SEIKETSU_STATE_TIMEOUT_MS": ("redis", "state_timeout_s"),
    "SEIKETSU_EMBEDDED_CACHE_BYTES": ("redis", "embedded_cache_bytes"),
    "SEIKETSU_MEMORY_CACHE_BYTES": ("cache", "memory_bytes"),
    "SEIKETSU_CACHE_TTL": ("cache", "ttl_s"),
    "SEIKETSU_COMMON_TTL": ("cache", "common_ttl_s"),
    "SEIKETSU_RESULT_TTL": ("cache", "result_ttl_s"),
    "SEIKETSU_JOB_TTL": ("jobs", "ttl_s"),
    "SEIKETSU_MAX_BULK_TEXTS": ("jobs", "max_texts"),
    "SEIKETSU_MAX_BULK_BODY_BYTES": ("jobs", "max_body_bytes"),
    "SEIKETSU_WORKER_CONCURRENCY": ("jobs", "concurrency"),
    "SEIKETSU_JOB_AUDIO_BYTES": ("jobs", "audio_bytes"),
    "SEIKETSU_TIME_ZONE": ("jobs", "time_zone"),
}
"""Environment variable to (section, field); an empty section is the root."""


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from an environment.

    An empty variable counts as not set.

    Raises:
        ConfigurationError: a value cannot be read, is out of range, or is at odds with another.
            The message names the variable and never repeats a secret.
    """
    tree: dict[str, Any] = {}
    for variable, (section, field) in VARIABLES.items():
        other_spelling = variable.replace("TWENTYONEDEV", "TWENTYONE_DEV")
        raw = (environ.get(variable) or environ.get(other_spelling, "")).strip()
        if not raw:
            continue
        value: Any = raw
        if variable == "SEIKETSU_API_KEYS":
            value = [key.strip() for key in raw.split(",") if key.strip()]
        elif variable == "SEIKETSU_DATA_DIR":
            value = Path(raw)
        elif variable in _MS_FIELDS:
            try:
                value = float(raw) / 1000
            except ValueError as error:
                raise ConfigurationError(f"{variable} is not a number of milliseconds.") from error
        (tree.setdefault(section, {}) if section else tree)[field] = value
        try:
            msgspec.convert(tree, Settings, strict=False)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{variable} cannot be read: {_reason(error)}.") from error
    settings = msgspec.convert(tree, Settings, strict=False)
    check(settings, VARIABLES, _MS_FIELDS)
    return settings


def _reason(error: msgspec.ValidationError) -> str:
    return str(error).split(" - at ")[0].split(", got ")[0]
