"""What is sent to the monitoring service, over a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from core.analytics.exporter import Exporter, open_exporter
from core.analytics.recorder import Recorder
from core.settings import MonitoringSettings, load_settings
from core.speech import SpeechTrace


class Monitoring:
    """The service, with knobs."""

    def __init__(self) -> None:
        self.status = 200
        self.answers = asyncio.Event()
        self.answers.set()
        self.batches: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.url = ""

    async def batch(self, request: web.Request) -> web.Response:
        await self.answers.wait()
        if self.status == 200:
            self.keys.append(request.headers["Authorization"])
            self.batches.append(await request.json())
        return web.Response(status=self.status)


@pytest.fixture
async def service() -> AsyncIterator[Monitoring]:
    made = Monitoring()
    app = web.Application()
    app.router.add_post("/v1/analytics/batch", made.batch)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield made
    made.answers.set()
    await runner.cleanup()


def settings_of(service: Monitoring) -> MonitoringSettings:
    return MonitoringSettings("a-key", service.url)


def trace(tenant: str = "acme", number: int = 0) -> SpeechTrace:
    made = SpeechTrace(f"r{number}", tenant, "agent_123", language="es", characters=31)
    made.first_audio_ms, made.provider, made.quality_score = 321.0, "elevenlabs", 0.93
    return made


async def test_requests_are_sent_by_tenant_without_their_texts(service: Monitoring) -> None:
    async with open_exporter(settings_of(service)) as exporter:
        assert exporter is not None
        recorder = Recorder()
        recorder.tell = exporter.offer
        for number, tenant in enumerate(("acme", "other", "acme")):
            recorder.record(trace(tenant, number))
        assert not service.batches
    # Whoever leaves sends what is left.
    sent = {batch["organization_id"]: batch for batch in service.batches}
    assert {name: len(batch["events"]) for name, batch in sent.items()} == {"acme": 2, "other": 1}
    event = sent["acme"]["events"][0]
    assert (event["event_type"], event["service"]) == ("voice_synthesis", "elevenlabs")
    assert event["data"]["first_audio_ms"] == 321.0
    assert event["data"]["request_id"] == "r0"
    assert "text" not in event["data"]
    assert service.keys == ["Bearer a-key"] * 2


async def test_while_the_service_is_away_events_wait_and_are_sent_once(service: Monitoring) -> None:
    async with open_exporter(settings_of(service)) as exporter:
        assert exporter is not None
        service.status = 503
        for number in range(7):
            exporter.offer(trace(number=number))
        await exporter.flush()
        assert (exporter.sent, service.batches) == (0, [])
        service.status = 200
        exporter.offer(trace(number=7))
        await exporter.flush()
    names = [event["data"]["request_id"] for batch in service.batches for event in batch["events"]]
    assert names == [f"r{number}" for number in range(8)]


async def test_a_failure_loses_no_other_tenants_events(service: Monitoring) -> None:
    async with open_exporter(settings_of(service)) as exporter:
        assert exporter is not None
        service.status = 503
        for tenant in ("a", "b", "c"):
            exporter.offer(trace(tenant))
        await exporter.flush()
        service.answers.clear()
        flushing = asyncio.create_task(exporter.flush())
        await asyncio.sleep(0.05)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
        service.answers.set()
        service.status = 200
    assert {batch["organization_id"] for batch in service.batches} == {"a", "b", "c"}
    assert exporter.dropped == 0


async def test_what_is_refused_for_good_holds_up_nobody(service: Monitoring) -> None:
    async with open_exporter(settings_of(service)) as exporter:
        assert exporter is not None
        service.status = 400
        exporter.offer(trace("a"))
        await exporter.flush()
        assert exporter.dropped == 1
        service.status = 200
        exporter.offer(trace("b"))
        await exporter.flush()
        assert exporter.sent == 1


async def test_what_waits_is_bounded_and_the_oldest_goes(service: Monitoring) -> None:
    async with open_exporter(settings_of(service)) as exporter:
        assert exporter is not None
        for number in range(5003):
            exporter.offer(trace(number=number))
        assert exporter.dropped == 3
    first = service.batches[0]["events"][0]["data"]["request_id"]
    assert first == "r3"
    assert sum(len(batch["events"]) for batch in service.batches) == 5000


async def test_a_service_that_hangs_holds_up_nobody_for_long(service: Monitoring) -> None:
    service.answers.clear()
    loop = asyncio.get_running_loop()
    async with open_exporter(settings_of(service)) as exporter:
        assert exporter is not None
        exporter.offer(trace())
        began_s = loop.time()
    assert loop.time() - began_s < 3.5


async def test_without_a_key_there_is_none() -> None:
    async with open_exporter(MonitoringSettings()) as exporter:
        assert exporter is None


def test_both_spellings_of_the_variables_are_known() -> None:
    for name in ("TWENTYONEDEV", "TWENTYONE_DEV"):
        read = load_settings({f"{name}_API_KEY": "k", f"{name}_BASE_URL": "http://x/v1"})
        assert read.monitoring == MonitoringSettings("k", "http://x/v1")


async def test_sending_goes_on_by_itself(service: Monitoring) -> None:
    async with open_exporter(settings_of(service)) as exporter:
        assert isinstance(exporter, Exporter)
        task = asyncio.create_task(exporter.run(every_s=0.02))
        exporter.offer(trace())
        async with asyncio.timeout(5):
            while not service.batches:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
