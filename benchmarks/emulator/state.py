"""Settings of an emulator, and everything that lives as long as it runs."""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import Any, Final

import msgspec
from aiohttp import web

from benchmarks.emulator.account import Account
from benchmarks.emulator.calls import CallLog
from benchmarks.emulator.faults import FaultBook, FaultRule
from benchmarks.emulator.latency import JITTER, LatencyName
from benchmarks.emulator.sockets.log import SocketLog
from benchmarks.emulator.speakers import AudioKind, open_speaker


class EmulatorSettings(msgspec.Struct, frozen=True):
    """What an emulator is started with; the command line has one option for each."""

    plan: str = "creator"
    concurrency: int | None = None
    """Requests at once for every family of models, instead of the plan's."""
    audio: AudioKind = "words"
    seed: int = 0
    latency: LatencyName = "recorded"
    jitter: float = JITTER
    keys: tuple[str, ...] = ()
    """Accepted keys; none: any key is good, but there must be one."""
    credit_limit: int | None = None
    """Credits of the period, instead of the plan's."""
    queue_ms: int = 50
    """How long a request over the limit waits before it is refused."""
    close_ms: int = 800
    """From a socket's last frame to its close frame, as recorded."""
    region: str = "europe-west4"
    faults: tuple[FaultRule, ...] = ()


class Emulator:
    """The state behind the routes."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self.settings = settings
        self.account = Account(
            settings.plan,
            keys=frozenset(settings.keys),
            concurrency=settings.concurrency,
            credit_limit=settings.credit_limit,
            queue_s=settings.queue_ms / 1000,
        )
        self.calls = CallLog()
        self.sockets = SocketLog()
        self.faults = FaultBook(settings.faults, settings.seed)
        self.speaker = open_speaker(settings.audio)
        self.rng = random.Random(settings.seed)
        self.stopping = False
        self.serving: set[asyncio.Task[Any]] = set()
        """Handlers of open sockets, which would outlast all requests."""

    def transport_headers(self) -> dict[str, str]:
        """On every answer, errors too."""
        return {
            "server": "uvicorn",
            "via": "1.1 google",
            "alt-svc": 'h3=":443"; ma=2592000,h3-29=":443"; ma=2592000',
            "strict-transport-security": "max-age=31536000; includeSubDomains",
            "access-control-allow-origin": "*",
            "x-region": self.settings.region,
            "x-trace-id": secrets.token_hex(16),
        }

    def answer(self, value: Any, http_status: int = 200) -> web.Response:
        """A JSON answer with the transport headers."""
        return web.Response(
            body=msgspec.json.encode(value),
            status=http_status,
            content_type="application/json",
            headers=self.transport_headers(),
        )


STATE: Final = web.AppKey("emulator", Emulator)


def state_of(request: web.Request) -> Emulator:
    """The emulator that a request came to."""
    return request.app[STATE]
