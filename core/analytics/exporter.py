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
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

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
        if len(self._events) == _MOST_HELD:
            self.dropped += 1
        self._events.append((trace.tenant, _event(trace)))

    async def run(self, every_s: float = _EVERY_S) -> None:
        """Send what is there, again and again, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.flush()

    async def flush(self) -> None:
        """Send everything that is there now; what is not taken stays for the next time."""
        while self._events:
            batch = [self._events.popleft() for _ in range(min(_MOST_SENT, len(self._events)))]
            batch.sort(key=itemgetter(0))
            for tenant, events in groupby(batch, key=itemgetter(0)):
                told = [event for _, event in events]
                if not await self._send(tenant, told):
                    self._put_back(tenant, told)
                    return
                self.sent += len(told)

    def _put_back(self, tenant: str, events: list[dict[str, Any]]) -> None:
        room = _MOST_HELD - len(self._events)
        self.dropped += max(0, len(events) - room)
        self._events.extendleft(
            (tenant, event) for event in reversed(events[-room:] if room else [])
        )

    async def _send(self, tenant: str, events: list[dict[str, Any]]) -> bool:
        body = {
            "organization_id": tenant,
            "events": events,
            "timestamp": _now(),
            "source": _SOURCE,
        }
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
                taken = reply.status < 300
                reason = f"status {reply.status}"
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            taken, reason = False, type(error).__name__
        if taken == self._failing:  # said once when it goes, and once when it is back
            self._failing = not taken
            if self._failing:
                log.warning("monitoring_unreachable", reason=reason)
            else:
                log.info("monitoring_back")
        return taken


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
