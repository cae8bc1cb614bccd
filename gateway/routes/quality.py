"""`POST /streaming/quality/analyze`: speaks a text anew, measures it, says what to do."""

from __future__ import annotations

import time
from typing import Final

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler, post
from litestar.openapi.datastructures import ResponseSpec

from core.analytics.quality_check import QualityCheck
from core.errors import InvalidRequest
from core.speech import SpeechRequest
from gateway.bodies import AnyRequest, caller, json_body
from gateway.edge import Edge
from gateway.errors import ErrorBody, new_request_id
from gateway.http import ClientGone
from gateway.messages_quality import AnalyzeReply, AnalyzeRequest, analyze_reply
from gateway.routes.agents import SECURITY, UNKNOWN, WRITING
from gateway.streaming import while_connected

_decoder = msgspec.json.Decoder(AnalyzeRequest)

_RESPONSES: Final = {
    **WRITING,
    **UNKNOWN,
    422: ResponseSpec(ErrorBody, description="The text cannot be spoken as asked"),
    502: ResponseSpec(ErrorBody, description="No provider could speak the text"),
    503: ResponseSpec(ErrorBody, description="No room now; see Retry-After"),
    504: ResponseSpec(ErrorBody, description="Speech did not start in time"),
}


def quality_route(edge: Edge) -> HTTPRouteHandler:
    """Judging the speech of a text."""

    @post(
        "/streaming/quality/analyze",
        operation_id="analyzeQuality",
        tags=["Speech"],
        summary="Judge the speech of a text",
        description="The text is spoken anew, never taken from a cache, and measured. Where the "
        "score misses the threshold the other profiles speak it, too: up to five calls of the "
        "provider in all.",
        status_code=200,
        guards=[edge.gate.guard],
        security=SECURITY,
        responses=_RESPONSES,
    )
    async def analyze(request: AnyRequest) -> Response[AnalyzeReply]:
        began_s = time.monotonic()
        body = await json_body(request, _decoder, edge.settings.gateway.max_body_bytes)
        request_id = new_request_id()
        check = QualityCheck(edge.runtime.service, edge.runtime.recorder.record)
        asked = SpeechRequest(
            tenant=caller(edge, request).tenant,
            text=body.text,
            agent_id=body.voice_agent_id,
            language=body.language,
        )
        with edge.place():
            try:
                found = await while_connected(
                    request.receive, check.analyse(asked, request_id, body.threshold)
                )
            except ClientGone as error:
                raise InvalidRequest("The caller left.") from error
        took_ms = (time.monotonic() - began_s) * 1000
        return Response(
            analyze_reply(found, body.threshold, took_ms),
            headers={"cache-control": "no-store", "x-request-id": request_id},
        )

    return analyze
