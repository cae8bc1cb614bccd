"""What callers send and get about many texts at once and about jobs."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from core.jobs import ItemResult, ItemState, JobItem, JobKind, JobRecord, JobStatus
from gateway.routes.audio import audio_path

JOBS_PATH = "/api/v1/voice/jobs"
DEFAULT_FORMAT: Final = "mp3"

_Agent = Annotated[
    str, Meta(min_length=1, max_length=128, description="The voice agent, e.g. `agent_123`.")
]
_Language = Annotated[
    str,
    Meta(min_length=2, max_length=35, description="`en`, `es`, `zh`, a regional form, or `auto`."),
]


class BulkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to speak, each for itself. Null counts as left out."""

    texts: Annotated[
        list[str],
        Meta(min_length=1, description="Up to 50, or 1,000 with `background_processing`."),
    ]
    voice_agent_id: _Agent
    language: _Language | None = None
    format: Annotated[
        Annotated[str, Meta(min_length=1, max_length=32)] | None,
        Meta(description="As for a single text."),
    ] = DEFAULT_FORMAT
    optimize_for_speed: Annotated[
        bool | None, Meta(description="True: the fast model; false: the profile's own. Same voice.")
    ] = True
    background_processing: Annotated[
        bool | None, Meta(description="True: a job is made and the reply comes at once.")
    ] = False

    @property
    def output_format(self) -> str:
        """The format, by name."""
        return self.format or DEFAULT_FORMAT

    @property
    def quickly(self) -> bool:
        """Whether the fast model is to speak."""
        return self.optimize_for_speed is not False


class PregenerateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent whose phrases shall be in the cache."""

    voice_agent_id: _Agent
    language: Annotated[
        _Language | None, Meta(description="Null: every language of the agent.")
    ] = None


class ItemError(msgspec.Struct, frozen=True):
    """Why a text was not spoken."""

    code: str
    message: str
    retryable: bool
    action: Annotated[str, Meta(description="What to do now, one sentence.")] = ""


class ItemReply(msgspec.Struct, frozen=True):
    """One text: where its audio is, or why there is none."""

    index: Annotated[int, Meta(description="Its place among the texts, from 0.")]
    status: Literal["success", "failed", "queued", "running", "cancelled"]
    audio_url: Annotated[
        str | None, Meta(description="Null where there is none, and for pre-generated audio.")
    ] = None
    audio_base64: Annotated[
        str | None,
        Meta(description="The audio itself where it could not be kept behind a link just now."),
    ] = None
    duration_ms: int | None = None
    cached: bool | None = None
    quality_score: float | None = None
    provider: str | None = None
    fallback: bool | None = None
    processing_time_ms: float | None = None
    error: ItemError | None = None


class BulkReply(msgspec.Struct, frozen=True):
    """Every text spoken, or why not."""

    status: Annotated[
        Literal["success", "partial", "failed"],
        Meta(description="`partial`: some texts failed; `failed`: all did."),
    ]
    results: list[ItemReply]
    total: int
    succeeded: int
    failed: int
    processing_time_ms: float


class JobStarted(msgspec.Struct, frozen=True):
    """A job that was made."""

    status: Literal["queued"]
    job_id: str
    total: int
    status_url: Annotated[str, Meta(description="Path of the job on this host.")]


class PregenerateReply(msgspec.Struct, frozen=True):
    """The jobs that were made, one for each language; the first one's fields stand alone, too."""

    status: Literal["queued"]
    job_id: str
    total: Annotated[int, Meta(description="Phrases of all jobs.")]
    status_url: str
    jobs: list[JobStarted]


class JobSummary(msgspec.Struct, frozen=True):
    """A job as it stands."""

    job_id: str
    kind: JobKind
    status: JobStatus
    voice_agent_id: str
    language: str | None
    format: str
    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    created_unix_s: float
    finished_unix_s: float | None
    expires_unix_s: Annotated[float, Meta(description="The job and its audio are kept until then.")]
    status_url: str


class JobReply(JobSummary, frozen=True):
    """A job and a page of its items."""

    items: list[ItemReply]
    offset: int
    limit: int


class JobList(msgspec.Struct, frozen=True):
    """A page of jobs, the newest first."""

    jobs: list[JobSummary]
    total: int
    offset: int
    limit: int


def job_path(job_id: str) -> str:
    """The path of a job."""
    return f"{JOBS_PATH}/{job_id}"


def started(job_id: str, total: int) -> JobStarted:
    """What tells of a job that was made."""
    return JobStarted("queued", job_id, total, job_path(job_id))


def summary_of(record: JobRecord) -> JobSummary:
    """A job as callers see it in a list."""
    return JobSummary(**_summary(record))


def job_reply(record: JobRecord, items: list[JobItem], offset: int, limit: int) -> JobReply:
    """A job as callers see it, with a page of its items."""
    return JobReply(
        **_summary(record),
        items=[item_of(item) for item in items],
        offset=offset,
        limit=limit,
    )


def _summary(record: JobRecord) -> dict[str, Any]:
    spec, counts = record.spec, record.counts
    return {
        "job_id": record.ref.job_id,
        "kind": spec.kind,
        "status": record.status,
        "voice_agent_id": spec.agent_id,
        "language": spec.language,
        "format": spec.output_format,
        "total": counts.total,
        "queued": counts.queued,
        "running": counts.running,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "created_unix_s": record.created_unix_s,
        "finished_unix_s": record.finished_unix_s,
        "expires_unix_s": record.expires_unix_s,
        "status_url": job_path(record.ref.job_id),
    }


def item_of(item: JobItem) -> ItemReply:
    """A job's item as callers see it."""
    if item.result is None:
        return ItemReply(item.index, _waiting(item.state))
    return result_reply(item.index, item.result)


def result_reply(index: int, result: ItemResult, audio: bytes | None = None) -> ItemReply:
    """A text that has come to its end; `audio` is what is not kept behind a link."""
    if result.state == "failed":
        return ItemReply(
            index,
            "failed",
            processing_time_ms=result.processing_time_ms,
            error=ItemError(
                result.error_code or "internal_error",
                result.error_message or "",
                result.retryable,
                result.error_action or "",
            ),
        )
    return ItemReply(
        index,
        "success",
        audio_url=None if result.audio_id is None else audio_path(result.audio_id),
        audio_base64=None if audio is None else base64.b64encode(audio).decode(),
        duration_ms=result.duration_ms,
        cached=result.cached,
        quality_score=result.quality_score,
        provider=result.provider,
        fallback=result.fallback,
        processing_time_ms=result.processing_time_ms,
    )


def _waiting(state: ItemState) -> Literal["queued", "running", "cancelled"]:
    if state == "running" or state == "cancelled":
        return state
    return "queued"
