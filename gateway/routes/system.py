"""Health and measurements of this process."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from litestar import Response
from litestar.handlers import HTTPRouteHandler, get
from litestar.openapi.datastructures import ResponseSpec

from gateway.edge import Edge
from gateway.errors import ErrorBody
from gateway.messages import Health, Performance
from gateway.routes.detailed import cluster_performance

READY_TIMEOUT_S: Final = 2.0
STORES: Final = ("state_store", "cache_store")
"""Checks whose failure only degrades: speech goes on without a store."""


def health_routes(edge: Edge) -> list[HTTPRouteHandler]:
    """`/health/live` and `/health/ready`; open to everyone, they tell nothing about callers."""

    @get("/health/live", tags=["Health"], summary="Whether the process runs")
    async def live() -> Health:
        return Health("live")

    @get(
        "/health/ready",
        tags=["Health"],
        summary="Whether the process can make speech",
        responses={503: ResponseSpec(Health, description="It cannot")},
    )
    async def ready() -> Response[Health]:
        if edge.draining.is_set():
            return Response(Health("draining"), status_code=503)
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                checks = await edge.runtime.ready()
        except TimeoutError:
            return Response(Health("unavailable"), status_code=503)
        if all(checks.values()):
            return Response(Health("ready", checks))
        if all(ok for name, ok in checks.items() if name not in STORES):
            return Response(Health("degraded", checks))
        return Response(Health("unavailable", checks), status_code=503)

    return [live, ready]


def performance_route(edge: Edge) -> HTTPRouteHandler:
    """`GET /performance`."""

    @get(
        "/performance",
        operation_id="getPerformance",
        tags=["Monitoring"],
        summary="What this process has measured, and all of them together",
        description="Percentiles are within 1 % of a measured value and count from the start of "
        "the process (`since_unix_s`). Warm-ups are not counted as demand.",
        guards=[edge.gate.guard],
        security=[{"bearer": []}, {"xiApiKey": []}, {}],
        responses={
            401: ResponseSpec(ErrorBody, description="No key, or not one of this gateway's"),
            403: ResponseSpec(ErrorBody, description="Without keys: not from this computer"),
        },
    )
    async def performance() -> Performance:
        return Performance(
            target_response_time_ms=edge.settings.speech.response_timeout_ms,
            requests_under_way=edge.under_way,
            under_way=edge.runtime.gauges(),
            process_id=os.getpid(),
            measured=edge.runtime.recorder.snapshot(),
            cluster=await cluster_performance(edge),
        )

    return performance
