"""What the keys of a job say (`core.job_scripts`), as structs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from core.jobs import (
    ItemResult,
    ItemState,
    JobCounts,
    JobItem,
    JobRecord,
    JobRef,
    JobSpec,
    JobStatus,
)


def item_of(index: int, blob: bytes | None, held: bool, status: JobStatus) -> JobItem:
    """A job's item: its result where there is one, and whether somebody holds it."""
    if blob is not None:
        result = msgspec.msgpack.decode(blob, type=ItemResult)
        return JobItem(index, result.state, result)
    state: ItemState = "running" if held else "cancelled" if status == "cancelled" else "queued"
    return JobItem(index, state)


def record_of(ref: JobRef, fields: Mapping[bytes, bytes], held: int) -> JobRecord:
    """A job as it stands: the fields of its hash, and how many of its texts somebody holds."""
    total, succeeded, failed = (int(fields[n]) for n in (b"total", b"succeeded", b"failed"))
    status = cast("JobStatus", fields[b"status"].decode())
    left = total - succeeded - failed
    running = min(held, left)
    cancelled = left - running if status == "cancelled" else 0
    finished = fields.get(b"finished")
    return JobRecord(
        ref=ref,
        spec=msgspec.msgpack.decode(fields[b"spec"], type=JobSpec),
        status=status,
        counts=JobCounts(
            total=total,
            queued=left - running - cancelled,
            running=running,
            succeeded=succeeded,
            failed=failed,
            cancelled=cancelled,
        ),
        created_unix_s=int(fields[b"created"]) / 1000,
        finished_unix_s=None if finished is None else int(finished) / 1000,
        expires_unix_s=int(fields[b"ends"]) / 1000,
    )
