"""`GET /streaming/health/detailed`: the whole installation, as far as this process can tell."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from litestar import Request
from litestar.handlers import HTTPRouteHandler, get
from litestar.openapi.datastructures import ResponseSpec

from core.analytics.agents import AgentCounts
from core.analytics.recorder import Recorder
from core.cluster import Look, ProcessReport, total
from core.cluster_sessions import OpenSession
from gateway.edge import Edge
from gateway.errors import ErrorBody
from gateway.messages_health import (
    AgentPerformance,
    ClusterPerformance,
    DetailedHealth,
    OverallHealth,
    PerformanceSummary,
    ProcessSummary,
    ProviderHealth,
    Status,
    StreamingConnection,
    StreamingConnections,
    VoiceProcessing,
)

_READY_S = 2.0
_PROVIDER = "elevenlabs"
_AT_ONCE = 500
"""Sessions put into the answer before others have their turn."""


def detailed_route(edge: Edge) -> HTTPRouteHandler:
    """`GET /streaming/health/detailed`."""

    @get(
        "/streaming/health/detailed",
        operation_id="getDetailedHealth",
        tags=["Monitoring"],
        summary="How the installation is: parts, sessions, performance, agents",
        description="Sessions, performance and agents are those of all gateway processes that "
        "share the state database; performance and agents include the texts that workers spoke for "
        "jobs. It calls no provider and answers 200 whatever it finds; a "
        "balancer asks `/health/ready`.",
        guards=[edge.gate.guard],
        security=[{"bearer": []}, {"xiApiKey": []}, {}],
        responses={
            401: ResponseSpec(ErrorBody, description="No key, or not one of this gateway's"),
            403: ResponseSpec(ErrorBody, description="Without keys: not from this computer"),
        },
    )
    async def detailed(request: Request[Any, Any, Any]) -> DetailedHealth:
        tenant = edge.gate.admit(dict(request.scope["headers"])).tenant
        checks, seen = await asyncio.gather(_checks(edge), edge.cluster.look(tenant))
        reports, together = seen.processes, total(seen.processes)
        return DetailedHealth(
            overall_health=_overall(edge, checks),
            streaming_connections=await _connections(seen),
            performance_summary=_performance(edge, together),
            agents=[_agent(name, one) for name, one in together.agents.of(tenant).items()],
            processes=[_process(report, tenant) for report in reports],
        )

    return detailed


async def cluster_performance(edge: Edge) -> ClusterPerformance:
    """What all gateways and workers have measured together."""
    reports = await edge.cluster.processes()
    return ClusterPerformance(
        processes=sum(report.kind == "gateway" for report in reports),
        active_connections=sum(report.active_sessions for report in reports),
        measured=total(reports).snapshot(),
    )


async def _checks(edge: Edge) -> dict[str, bool]:
    try:
        async with asyncio.timeout(_READY_S):
            return await edge.runtime.ready()
    except TimeoutError:
        return {}


def _overall(edge: Edge, checks: dict[str, bool]) -> OverallHealth:
    voice = VoiceProcessing(
        status=_voice_status(checks),
        local_voice=checks.get("local_voice", False),
        state_store=checks.get("state_store", False),
        cache_store=checks.get("cache_store", False),
        requests_under_way=edge.under_way,
        under_way=edge.runtime.gauges(),
    )
    provider = _provider(edge)
    overall = voice.status
    if overall == "healthy" and provider.status == "degraded":
        overall = "degraded"
    return OverallHealth(overall, voice, provider)


def _voice_status(checks: dict[str, bool]) -> Status:
    if not checks.get("local_voice", False):
        return "unhealthy"
    return "healthy" if all(checks.values()) else "degraded"


def _provider(edge: Edge) -> ProviderHealth:
    seen = edge.runtime.recorder.providers[_PROVIDER]
    configured = edge.settings.upstream.enabled
    used = seen.last_success_unix_s is not None or seen.last_failure_unix_s is not None
    return ProviderHealth(
        status=(
            "not_configured"
            if not configured
            else "unknown"
            if not used
            else "degraded"
            if seen.failures_in_a_row
            else "healthy"
        ),
        configured=configured,
        last_success_unix_s=seen.last_success_unix_s,
        last_failure_unix_s=seen.last_failure_unix_s,
        last_failure_code=seen.last_failure_code,
        failures_in_a_row=seen.failures_in_a_row,
    )


async def _connections(seen: Look) -> StreamingConnections:
    listed = []
    for start in range(0, len(seen.sessions), _AT_ONCE):
        listed += [_connection(*one) for one in seen.sessions[start : start + _AT_ONCE]]
        await asyncio.sleep(0)
    return StreamingConnections(
        active_count=sum(report.active_sessions for report in seen.processes),
        connections=listed,
        listed=len(listed),
        truncated=seen.truncated,
    )


def _connection(process: str, one: OpenSession) -> StreamingConnection:
    return StreamingConnection(
        session_id=one.session_id,
        voice_agent_id=one.voice_agent_id,
        language=one.language,
        connected_at=_iso(one.connected_unix_s),
        requests=one.requests,
        process=process,
    )


def _performance(edge: Edge, together: Recorder) -> PerformanceSummary:
    measured = together.snapshot()
    rate = measured["cache_hit_rate"]
    return PerformanceSummary(
        target_response_time_ms=edge.settings.speech.response_timeout_ms,
        average_response_time_ms=measured["first_audio_ms"]["mean"],
        cache_hit_rate=None if rate is None else round(rate * 100, 1),
    )


def _agent(agent_id: str, one: AgentCounts) -> AgentPerformance:
    p95_ms = one.first_audio.quantile(0.95)
    return AgentPerformance(
        voice_agent_id=agent_id,
        requests=one.requests,
        errors=one.errors,
        error_rate=_percent(one.errors, one.requests),
        cached=one.cached,
        cache_hit_rate=_percent(one.cached, one.served),
        first_audio_p95_ms=None if p95_ms is None else round(p95_ms, 3),
    )


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def _process(report: ProcessReport, tenant: str) -> ProcessSummary:
    return ProcessSummary(
        process=report.name,
        host=report.host,
        process_id=report.process_id,
        started_at=_iso(report.started_unix_s),
        active_connections=report.active_sessions,
        requests=report.figures.counts.get("requests", 0),
        kind=report.kind,
        jobs_under_way=len(report.jobs),
        jobs=[ref.job_id for ref in report.jobs if ref.tenant == tenant],
    )


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
