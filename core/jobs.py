"""Jobs: work that nobody waits for, as the gateway asks for it and a worker finds it.

The queue carries ids alone. Texts, results and progress are in the job's own keys
(`core.job_store`) and expire with it.
"""

from __future__ import annotations

import secrets
from typing import Any, Final, Literal

import msgspec

from core.speech import Origin

BULK_VOICE_SYNTHESIS: Final = "bulk_voice_synthesis"
PREGENERATE_AGENT_VOICES: Final = "pregenerate_agent_voices"
VOICE_CACHE_MAINTENANCE: Final = "voice_cache_maintenance"
WARM_UP_VOICES: Final = "warm_up_voices"

JobKind = Literal["bulk", "pregenerate"]
JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]
"""`done`: every item has ended and at least one was spoken; `failed`: none was."""
ItemState = Literal["queued", "running", "done", "failed", "cancelled"]

TASK_OF_KIND: Final[dict[JobKind, str]] = {
    "bulk": BULK_VOICE_SYNTHESIS,
    "pregenerate": PREGENERATE_AGENT_VOICES,
}
ORIGIN_OF_KIND: Final[dict[JobKind, Origin]] = {"bulk": "bulk", "pregenerate": "warmup"}

RUN_EXPIRES_S: Final = 120
"""A call for a worker that found none in this time is dropped; the sweeper makes another."""


_TEXTS_PER_RUN: Final = 25
_MOST_RUNS: Final = 4


def runs_for(texts: int) -> int:
    """How many workers are called to a new job; each run takes texts until none is left."""
    return min(_MOST_RUNS, -(-texts // _TEXTS_PER_RUN))


class JobRef(msgspec.Struct, frozen=True):
    """Names a job: all that the queue carries."""

    tenant: str
    job_id: str

    def __str__(self) -> str:
        return f"{self.tenant}:{self.job_id}"

    @classmethod
    def parse(cls, text: str) -> JobRef:
        """The reverse of `str`; a tenant's name holds no colon."""
        tenant, _, job_id = text.partition(":")
        return cls(tenant, job_id)


class JobSpec(msgspec.Struct, frozen=True):
    """What a job is to do; its texts are kept apart."""

    kind: JobKind
    agent_id: str
    language: str | None = None
    output_format: str = "mp3"
    optimize_for_speed: bool = True

    @property
    def keeps_audio(self) -> bool:
        """Whether its audio is kept for whoever made it, or only goes into the cache."""
        return self.kind == "bulk"


class JobCounts(msgspec.Struct, frozen=True):
    """How many items are where; their sum is `total`."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int


class JobRecord(msgspec.Struct, frozen=True):
    """A job as it stands."""

    ref: JobRef
    spec: JobSpec
    status: JobStatus
    counts: JobCounts
    created_unix_s: float
    finished_unix_s: float | None
    expires_unix_s: float


class ItemResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one text ended."""

    state: Literal["done", "failed"]
    audio_id: str | None = None
    """The signed id of its audio; None for audio that is only cached, and for failures."""
    duration_ms: int | None = None
    cached: bool = False
    quality_score: float | None = None
    provider: str | None = None
    fallback: bool = False
    characters: int = 0
    processing_time_ms: float = 0.0
    error_code: str | None = None
    error_message: str | None = None
    retryable: bool = False
    error_action: str | None = None


class JobItem(msgspec.Struct, frozen=True):
    """One text of a job: its place and how it stands."""

    index: int
    state: ItemState
    result: ItemResult | None = None


class Lease(msgspec.Struct, frozen=True):
    """One text handed to one worker. Only who holds the token may write its result."""

    index: int
    token: str
    text: str
    taken: int
    """How often it was handed out, this time included; tries that failed for now do not count."""
    failing_s: float = 0.0
    """How long it has only failed, or how long nothing of its job was spoken but failed."""


class PutOff(msgspec.Struct, frozen=True):
    """No text may be tried now: all that wait have just failed."""

    seconds: float
    """Until the first may."""


def new_job_id() -> str:
    """A name for a job that cannot be guessed."""
    return "job_" + secrets.token_hex(12)


def audio_name(ref: JobRef, index: int) -> bytes:
    """Names the audio of a job's text in the result store: 16 bytes, the same at each try."""
    return bytes.fromhex(ref.job_id.removeprefix("job_")) + index.to_bytes(4, "big")


def encode(value: dict[str, Any]) -> bytes:
    """What arq puts into Redis for a task or its result; a failure is kept as its type's name."""
    return _encoder.encode(value)


def decode(blob: bytes) -> dict[str, Any]:
    """The reverse of `encode`.

    Raises:
        msgspec.DecodeError: it was not made by `encode`.
    """
    return _decoder.decode(blob)


def _plain(value: object) -> object:
    # An error's own words may quote what a caller wrote.
    if isinstance(value, BaseException):
        return {"error_type": type(value).__name__}
    raise NotImplementedError(f"{type(value).__name__} cannot be kept in the queue.")


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder = msgspec.msgpack.Decoder(dict[str, Any])
