"""Many texts at once: spoken while the caller waits, or as a job; and an agent's phrases."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any, Final

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler, post
from litestar.openapi.datastructures import ResponseSpec

from core.agents import languages_of
from core.audio.formats import resolve
from core.bulk import BulkSpeaker
from core.cache.envelope import RenditionEntry
from core.errors import InvalidRequest, StoreError, TooManyTexts
from core.job_start import check_texts
from core.jobs import ItemResult, JobSpec
from core.phrases import phrases_of
from core.results import ResultStore
from core.speech import SpeechPlan, SpeechRequest
from gateway.bodies import AnyRequest, caller, json_body
from gateway.edge import Edge
from gateway.errors import ErrorBody, new_request_id
from gateway.http import ClientGone
from gateway.messages_jobs import (
    BulkReply,
    BulkRequest,
    JobStarted,
    PregenerateReply,
    PregenerateRequest,
    result_reply,
    started,
)
from gateway.streaming import while_connected

MAX_FOREGROUND: Final = 50
"""Texts that a caller may wait for."""
_AT_ONCE: Final = 4
"""Texts of one foreground request spoken at once."""
_BUSY_PATIENCE_S: Final = 10.0
"""How long one of them is tried again where there is no room."""
_MAX_INLINE_BYTES: Final = 8 * 1024 * 1024
"""Audio in one reply while it cannot be kept behind links."""

_bulk = msgspec.json.Decoder(BulkRequest)
_pregenerate = msgspec.json.Decoder(PregenerateRequest)

REFUSED: Final = {
    401: ResponseSpec(ErrorBody, description="No key, or not one of this gateway's"),
    403: ResponseSpec(ErrorBody, description="Without keys: not from this computer"),
}
_REFUSED: Final = {
    **REFUSED,
    400: ResponseSpec(ErrorBody, description="The body is not valid"),
    404: ResponseSpec(ErrorBody, description="No such voice agent"),
    409: ResponseSpec(ErrorBody, description="The audio of your jobs takes all its room"),
    413: ResponseSpec(ErrorBody, description="The body is too large"),
    415: ResponseSpec(ErrorBody, description="The body is not JSON"),
    422: ResponseSpec(ErrorBody, description="Too many texts, or they cannot be spoken as asked"),
    429: ResponseSpec(ErrorBody, description="Too many unfinished jobs"),
    503: ResponseSpec(ErrorBody, description="No room now, or the state database is away"),
}
SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"xiApiKey": []}, {}]


def bulk_routes(edge: Edge) -> list[HTTPRouteHandler]:
    """`POST /streaming/synthesize/bulk` and `POST /streaming/pregenerate`."""
    common: dict[str, Any] = {"guards": [edge.gate.guard], "security": SECURITY}

    @post(
        "/streaming/synthesize/bulk",
        name="synthesize_bulk",
        operation_id="synthesizeBulk",
        tags=["Speech"],
        summary="Speak many texts",
        description=f"Up to {MAX_FOREGROUND} texts are spoken while the caller waits; a text that "
        "fails is a failed result and not a failed request. With `background_processing` a job is "
        "made for up to 1,000 texts (the operator's limit), and the reply is 202 with its id. The "
        "body (`application/json`) is a `BulkRequest`.",
        status_code=200,
        responses={**_REFUSED, 202: ResponseSpec(JobStarted, description="A job was made")},
        **common,
    )
    async def synthesize_bulk(request: AnyRequest) -> Response[BulkReply | JobStarted]:
        asked = await json_body(request, _bulk, edge.settings.jobs.max_body_bytes)
        tenant = caller(edge, request).tenant
        _check(edge, tenant, asked)
        if asked.background_processing:
            spec = JobSpec(
                "bulk",
                asked.voice_agent_id,
                asked.language,
                asked.output_format,
                asked.quickly,
            )
            ref = await edge.jobs.start(tenant, spec, asked.texts)
            return Response(started(ref.job_id, len(asked.texts)), status_code=202)
        with edge.place():
            try:
                reply = await while_connected(request.receive, _foreground(edge, tenant, asked))
            except ClientGone as error:
                raise InvalidRequest("The caller left.") from error
        return Response(reply, headers={"cache-control": "no-store"})

    @post(
        "/streaming/pregenerate",
        name="pregenerate",
        operation_id="pregenerate",
        tags=["Speech"],
        summary="Speak an agent's phrases into the cache",
        description="One job for each language. What is spoken is kept for a week (the operator's "
        "figure). The body (`application/json`) is a `PregenerateRequest`.",
        status_code=202,
        responses=_REFUSED,
        **common,
    )
    async def pregenerate(request: AnyRequest) -> PregenerateReply:
        asked = await json_body(request, _pregenerate, edge.settings.gateway.max_body_bytes)
        tenant = caller(edge, request).tenant
        runtime = edge.runtime
        agent = runtime.agent_store.snapshot.get(tenant, asked.voice_agent_id)
        # All are read before a job is made: half of a request would be repeated as a whole.
        sets = {
            language: await phrases_of(runtime.phrases, tenant, agent.id, language)
            for language in languages_of(agent, asked.language)
        }
        made: list[JobStarted] = []
        for language, phrases in sets.items():
            spec = JobSpec("pregenerate", agent.id, language)
            ref = await edge.jobs.start(tenant, spec, phrases)
            made.append(started(ref.job_id, len(phrases)))
        return PregenerateReply(
            "queued", made[0].job_id, sum(one.total for one in made), made[0].status_url, made
        )

    return [synthesize_bulk, pregenerate]


def _check(edge: Edge, tenant: str, asked: BulkRequest) -> None:
    """Refuse what no single text could be blamed for.

    Raises:
        TooManyTexts, TextTooLong, UnsupportedFormat, UnsupportedLanguage, UnknownAgent: it cannot
            be done as asked.
    """
    limits = edge.settings
    if asked.background_processing:
        most, advice = limits.jobs.max_texts, "A job holds {most} texts at the most."
    else:
        most = MAX_FOREGROUND
        advice = "More than {most} texts are spoken with `background_processing` only."
    if len(asked.texts) > most:
        raise TooManyTexts(advice.format(most=most))
    resolve(asked.output_format, limits.speech.mp3_kbps)
    languages_of(
        edge.runtime.agent_store.snapshot.get(tenant, asked.voice_agent_id), asked.language
    )
    check_texts(asked.texts, limits.speech.max_text_chars)


class _Kept:
    """The audio of one reply: behind links, or in the reply itself while the store is away."""

    def __init__(self, results: ResultStore) -> None:
        self._results = results
        self._left_bytes = _MAX_INLINE_BYTES
        self.inline: dict[int, bytes] = {}

    async def keep(self, index: int, plan: SpeechPlan, entry: RenditionEntry) -> str | None:
        """The signed id of the text's audio; None where it goes into the reply.

        Raises:
            StoreError: there is no link, and the reply is full.
        """
        try:
            return await self._results.put(plan.tenant, plan.agent_id, plan.rendition_key, entry)
        except StoreError as error:
            if len(entry.audio) > self._left_bytes:
                raise StoreError(
                    "The audio cannot be kept just now, and the reply holds no more of it: send "
                    "fewer texts at once.",
                    retry_after_s=1,
                ) from error
        self._left_bytes -= len(entry.audio)
        self.inline[index] = entry.audio
        return None


async def _foreground(edge: Edge, tenant: str, asked: BulkRequest) -> BulkReply:
    """Speak all texts, a few at once. Leaves no task behind when it is cancelled."""
    began_s = time.monotonic()
    runtime = edge.runtime
    speaker = BulkSpeaker(runtime.service, runtime.recorder)
    kept = _Kept(runtime.results)
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(index: int, text: str) -> ItemResult:
        async with places:
            request = SpeechRequest(
                tenant=tenant,
                text=text,
                agent_id=asked.voice_agent_id,
                language=asked.language,
                output_format=asked.output_format,
                optimize_for_speed=asked.quickly,
                origin="bulk",
            )
            keep = partial(kept.keep, index)
            return await speaker.speak(request, new_request_id(), keep, patience_s=_BUSY_PATIENCE_S)

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(one(index, text), name="bulk-text")
            for index, text in enumerate(asked.texts)
        ]
    results = [task.result() for task in tasks]
    succeeded = sum(result.state == "done" for result in results)
    failed = len(results) - succeeded
    return BulkReply(
        status="success" if not failed else "partial" if succeeded else "failed",
        results=[
            result_reply(index, result, kept.inline.get(index))
            for index, result in enumerate(results)
        ],
        total=len(results),
        succeeded=succeeded,
        failed=failed,
        processing_time_ms=round((time.monotonic() - began_s) * 1000, 3),
    )
