"""The reply of `GET /streaming/health/detailed`, as structs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Status = Literal["healthy", "degraded", "unhealthy"]


class VoiceProcessing(msgspec.Struct, frozen=True):
    """What makes speech in this process."""

    status: Status
    local_voice: bool
    state_store: bool
    cache_store: bool
    requests_under_way: int
    under_way: Annotated[
        dict[str, int], Meta(description="Calls, audio and places in use at this moment.")
    ]


class ProviderHealth(msgspec.Struct, frozen=True):
    """The voice provider as this process knows it; no call is made to find out."""

    status: Annotated[
        Literal["healthy", "degraded", "unknown", "not_configured"],
        Meta(description="`degraded`: its last call failed or was too slow. `unknown`: not used."),
    ]
    configured: bool
    last_success_unix_s: float | None
    last_failure_unix_s: float | None
    last_failure_code: str | None
    failures_in_a_row: int


class OverallHealth(msgspec.Struct, frozen=True):
    """The parts, and the worst of them."""

    overall_status: Status
    voice_processing: VoiceProcessing
    elevenlabs_service: ProviderHealth


class StreamingConnection(msgspec.Struct, frozen=True, gc=False):
    """One open session of your tenant."""

    session_id: str
    voice_agent_id: str
    language: str
    connected_at: Annotated[str, Meta(description="UTC, ISO 8601.")]
    requests: int
    process: str


class StreamingConnections(msgspec.Struct, frozen=True):
    """The open sessions of all processes."""

    active_count: Annotated[int, Meta(description="Of all tenants.")]
    connections: Annotated[
        list[StreamingConnection],
        Meta(
            description="Your tenant's in all processes, up to 10,000. Those of this process are "
            "as they are now, others up to a second old; in each process the newest come first."
        ),
    ]
    listed: Annotated[int, Meta(description="How many these are.")]
    truncated: Annotated[
        bool,
        Meta(description="There may be more of yours: over 10,000, or a database did not answer."),
    ]


class PerformanceSummary(msgspec.Struct, frozen=True):
    """All processes together, since each began."""

    target_response_time_ms: int
    average_response_time_ms: Annotated[
        float | None, Meta(description="Mean time to the first audio; null: nothing was asked.")
    ]
    cache_hit_rate: Annotated[
        float | None, Meta(description="Percent of the replies; null: nothing was asked.")
    ]


class AgentPerformance(msgspec.Struct, frozen=True):
    """One voice agent of your tenant, in all processes together since each began."""

    voice_agent_id: Annotated[
        str, Meta(description="`other`: agents for which a process had no place.")
    ]
    requests: int
    errors: int
    error_rate: Annotated[float | None, Meta(description="Percent of the requests.")]
    cached: int
    cache_hit_rate: Annotated[
        float | None, Meta(description="Percent of the replies; null: there was none.")
    ]
    first_audio_p95_ms: float | None


class ProcessSummary(msgspec.Struct, frozen=True):
    """One gateway or worker that told of itself within five seconds."""

    process: str
    host: str
    process_id: int
    started_at: str
    active_connections: int
    requests: Annotated[int, Meta(description="A worker's are the texts that it has ended.")]
    kind: Literal["gateway", "worker"] = "gateway"
    jobs_under_way: Annotated[
        int, Meta(description="Jobs that a worker is at, of all tenants.")
    ] = 0
    jobs: Annotated[list[str], Meta(description="Your tenant's among them, by `job_id`.")] = []


class DetailedHealth(msgspec.Struct, frozen=True):
    """How the installation is."""

    overall_health: OverallHealth
    streaming_connections: StreamingConnections
    performance_summary: PerformanceSummary
    agents: Annotated[
        list[AgentPerformance],
        Meta(description="Your tenant's, the most asked first; pre-generation is not counted."),
    ]
    processes: list[ProcessSummary]


class ClusterPerformance(msgspec.Struct, frozen=True):
    """All gateways together; what they measured, and what the workers did."""

    processes: Annotated[int, Meta(description="Gateway processes.")]
    active_connections: int
    measured: Annotated[
        dict[str, Any],
        Meta(description="Includes the texts that workers spoke for jobs, as requests of theirs."),
    ]
