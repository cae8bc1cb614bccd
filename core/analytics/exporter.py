"""Sends what happened to the monitoring service (21dev.ai), in batches, felt by no request.

The service has no public documentation. Paths and shapes are those that platforms send to it:
`POST {base}/analytics/batch` with `{organization_id, events[], timestamp, source}`, each event
`{event_type, timestamp, service, data}`, and `Authorization: Bearer KEY`. Texts are never sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Literal

import aiohttp
import msgspec
import structlog

from core.settings import MonitoringSettings
from core.speech import SpeechTrace

log = structlog.get_logger(__name__)

EVENT: Final = "voice_synthesis"
_SOURCE: Final = "seiketsu-voice"
_SERVICE: Final = "elevenlabs"
_MOST_HELD: Final = 5000
"""Events that wait while the service is away; then the oldest are dropped."""
_MOST_SENT: Final = 500
_EVERY_S: Final = 10.0
_ANSWER_S: Final = 5.0
_LATER: Final = (401, 403, 408, 429)
"""Refusals that may end: of load, or of a key that somebody will set right."""
_LAST_S: Final = 2.0
"""Longest wait at the end for what was not sent yet."""


class Exporter:
    """Holds events and sends them. Open it with `open_exporter`."""

    def __init__(self, settings: MonitoringSettings, http: aiohttp.ClientSession) -> None:
        self.sent = 0
        self.dropped = 0
        self._url = f"{settings.base_url.rstrip('/')}/analytics/batch"
        self._headers = {
            "Authorization": f"Bearer {settings.api_key}",
            "Content-Type": "application/json",
        }
        self._http = http
        self._events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=_MOST_HELD)
        self._failing = False

    def offer(self, trace: SpeechTrace) -> None:
        """Take a finished request; never waits. Of too many the oldest are dropped."""
        self._put(trace.tenant, _event(trace))

    async def run(self, every_s: float = _EVERY_S) -> None:
        """Send what is there, again and again, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.flush()

    async def flush(self) -> None:
        """Send everything that is there now. What cannot be sent just now stays for the next time;
        what the service refuses for good is dropped."""
        waiting: dict[str, deque[dict[str, Any]]] = {}
        for tenant, event in self._events:
            waiting.setdefault(tenant, deque()).append(event)
        self._events.clear()
        try:
            for tenant, events in waiting.items():
                while events:
                    batch = list(islice(events, _MOST_SENT))
                    outcome = await self._send(tenant, batch)
                    if outcome == "later":
                        return
                    for _ in batch:
                        events.popleft()
                    if outcome == "taken":
                        self.sent += len(batch)
                    else:
                        self.dropped += len(batch)
        finally:  # when it is cancelled, too
            newer = list(self._events)
            self._events.clear()
            for tenant, events in waiting.items():
                for event in events:
                    self._put(tenant, event)
            for tenant, event in newer:
                self._put(tenant, event)

    def _put(self, tenant: str, event: dict[str, Any]) -> None:
        if len(self._events) == _MOST_HELD:
            self.dropped += 1
        self._events.append((tenant, event))

    async def _send(
        self, tenant: str, events: list[dict[str, Any]]
    ) -> Literal["taken", "refused", "later"]:
        body = {
            "organization_id": tenant,
            "events": events,
            "timestamp": _now(),
            "source": _SOURCE,
        }
        status = 0
        try:
            async with (
                asyncio.timeout(_ANSWER_S),
                self._http.post(
                    self._url,
                    data=msgspec.json.encode(body),
                    headers=self._headers,
                    allow_redirects=False,
                ) as reply,
            ):
                status = reply.status
                reason = f"status {status}"
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = type(error).__name__
        taken = 200 <= status < 300
        if taken == self._failing:  # said once when it goes, and once when it is back
            self._failing = not taken
            if self._failing:
                log.warning("monitoring_does_not_take", reason=reason)
            else:
                log.info("monitoring_back")
        if taken:
            return "taken"
        return "refused" if 300 <= status < 500 and status not in _LATER else "later"


def _event(trace: SpeechTrace) -> dict[str, Any]:
    return {
        "event_type": EVENT,
        "timestamp": _now(),
        "service": _SERVICE,
        "data": {
            "request_id": trace.request_id,
            "origin": trace.origin,
            "voice_agent_id": trace.agent_id,
            "language": trace.language,
            "format": trace.output_format,
            "provider": trace.provider,
            "voice_id": trace.voice,
            "model": trace.model,
            "characters": trace.characters,
            "first_audio_ms": trace.first_audio_ms,
            "processing_time_ms": trace.processing_ms,
            "duration_ms": trace.duration_ms,
            "quality_score": trace.quality_score,
            "cached": trace.cached,
            "fallback": trace.fallback,
            "error": trace.error_code,
        },
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@asynccontextmanager
async def open_exporter(settings: MonitoringSettings) -> AsyncIterator[Exporter | None]:
    """The exporter with its task; `None` without a key. What is left is sent at the end."""
    if not settings.api_key:
        yield None
        return
    async with aiohttp.ClientSession(trust_env=False) as http:
        exporter = Exporter(settings, http)
        task = asyncio.create_task(exporter.run(), name="monitoring")
        try:
            yield exporter
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            try:
                async with asyncio.timeout(_LAST_S):
                    await exporter.flush()
            except TimeoutError:
                log.warning("monitoring_not_told", events=len(exporter._events))
