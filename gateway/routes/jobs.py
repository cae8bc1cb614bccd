"""`/jobs`: what the caller has in the background, and how far it is."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from litestar.handlers import HTTPRouteHandler, delete, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter

from core.errors import JobNotFound
from core.job_store import MAX_PAGE
from core.jobs import JobRef
from gateway.bodies import AnyRequest, caller
from gateway.edge import Edge
from gateway.errors import ErrorBody, JobUnfinished
from gateway.messages_jobs import JobList, JobReply, job_reply, summary_of
from gateway.routes.bulk import REFUSED, SECURITY

_PAGE: Final = 50
_ID: Final = re.compile(r"job_[0-9a-f]{24}")

JobId = Annotated[str, PathParameter(description="`job_id` of the reply.", max_length=64)]
Offset = Annotated[int, QueryParameter(ge=0, le=1_000_000, description="Entries to pass over.")]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE, description="Entries of the page.")]
Remove = Annotated[
    bool, QueryParameter(description="True: remove a job that has ended, and its audio.")
]

_STORE: Final = {503: ResponseSpec(ErrorBody, description="The state database does not answer")}
_CONFLICT: Final = {
    409: ResponseSpec(ErrorBody, description="It has ended; with `remove`: it is unfinished")
}
_UNKNOWN: Final = {404: ResponseSpec(ErrorBody, description="No such job of the caller")}


def job_routes(edge: Edge) -> list[HTTPRouteHandler]:
    """Listing, reading, cancelling and removing jobs."""
    common: dict[str, Any] = {
        "guards": [edge.gate.guard],
        "tags": ["Jobs"],
        "security": SECURITY,
    }

    @get(
        "/jobs",
        operation_id="listJobs",
        summary="The caller's jobs, the newest first",
        responses={**REFUSED, **_STORE},
        **common,
    )
    async def list_jobs(request: AnyRequest, offset: Offset = 0, limit: Limit = _PAGE) -> JobList:
        tenant = caller(edge, request).tenant
        records, total = await edge.jobs.store.page(tenant, offset, limit)
        return JobList([summary_of(record) for record in records], total, offset, limit)

    @get(
        "/jobs/{job_id:str}",
        operation_id="getJob",
        summary="A job and a page of its items",
        description="`audio_url`s live as long as the job.",
        responses={**REFUSED, **_UNKNOWN, **_STORE},
        **common,
    )
    async def get_job(
        request: AnyRequest, job_id: JobId, offset: Offset = 0, limit: Limit = _PAGE
    ) -> JobReply:
        record = await edge.jobs.store.read(_ref(edge, request, job_id))
        items = await edge.jobs.store.items(record, offset, limit)
        return job_reply(record, items, offset, limit)

    @delete(
        "/jobs/{job_id:str}",
        operation_id="cancelJob",
        summary="Cancel a job; with `remove`, remove one that has ended",
        description="Cancelling begins no further text; those that are being spoken come to their "
        "end. A job that has ended stays as it is (409 `job_ended`). With `remove=true` a job that "
        "has ended, cancelled or not, goes with its audio, which makes room for more; an "
        "unfinished one stays (409 `job_unfinished`).",
        responses={**REFUSED, **_UNKNOWN, **_CONFLICT, **_STORE},
        **common,
    )
    async def cancel_job(request: AnyRequest, job_id: JobId, remove: Remove = False) -> None:
        ref = _ref(edge, request, job_id)
        if not remove:
            await edge.jobs.store.cancel(ref)
        elif not await edge.jobs.store.remove(ref):
            raise JobUnfinished()

    return [list_jobs, get_job, cancel_job]


def _ref(edge: Edge, request: AnyRequest, job_id: str) -> JobRef:
    """The caller's own job of that name; another tenant's has another key.

    Raises:
        JobNotFound: no job can have that name.
    """
    if not _ID.fullmatch(job_id):
        raise JobNotFound()
    return JobRef(caller(edge, request).tenant, job_id)
