"""Worker processes as children, on the databases and voices of an open stack."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.stack import EMULATOR_KEY, Stack
from core.children import Child
from core.settings import VARIABLES

JOBS = "/api/v1/voice/jobs"
BULK = "/api/v1/voice/streaming/synthesize/bulk"
PREGENERATE = "/api/v1/voice/streaming/pregenerate"
BY_MODULE = (sys.executable, "-m", "workers.main")
BY_ARQ = (sys.executable, "-m", "arq", "workers.main.WorkerSettings")


class WorkerProcess:
    """One worker; `log` is what it wrote."""

    def __init__(
        self,
        stack: Stack,
        name: str,
        command: Sequence[str] = BY_MODULE,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.log = stack.log.with_name(f"{name}.log")
        own = {key: value for key, value in os.environ.items() if key not in VARIABLES}
        settings = {
            "SEIKETSU_DATA_DIR": str(stack.log.parent),
            "REDIS_URL": stack.state.url,
            "CACHE_REDIS_URL": stack.cache.url,
            "SEIKETSU_VOICE_SOCKET": str(stack.voices.socket),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        }
        if stack.emulator is not None:
            settings["ELEVEN_LABS_API_KEY"] = EMULATOR_KEY
            settings["ELEVEN_LABS_BASE_URL"] = f"{stack.emulator.url}/v1"
        with self.log.open("ab") as output:
            self.child = Child(command, env={**own, **settings, **(env or {})}, output=output)

    async def ready(self, seconds: float = 15.0) -> None:
        """Wait until it works."""
        until = time.monotonic() + seconds
        while b"worker_ready" not in self.log.read_bytes():
            assert self.child.returncode is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        """SIGTERM, and SIGKILL if that takes longer than it may."""
        await self.child.end(15.0)


async def start_job(http: aiohttp.ClientSession, stack: Stack, texts: list[str]) -> str:
    """A background job in English; its id."""
    body = {
        "texts": texts,
        "voice_agent_id": "agent_123",
        "language": "en",
        "background_processing": True,
    }
    async with http.post(stack.base_url + BULK, json=body) as reply:
        assert reply.status == 202, await reply.text()
        found = await reply.json()
    assert found["status_url"] == f"{JOBS}/{found['job_id']}"
    return str(found["job_id"])


async def read_job(
    http: aiohttp.ClientSession, stack: Stack, job_id: str, offset: int = 0, limit: int = 1
) -> dict[str, Any]:
    """The job as the API shows it."""
    query = f"?offset={offset}&limit={limit}"
    async with http.get(f"{stack.base_url}{JOBS}/{job_id}{query}") as reply:
        found: dict[str, Any] = await reply.json()
    if reply.status == 503:  # while the test restarts the database
        return {"succeeded": 0, "failed": 0, **found}
    assert reply.status == 200, found
    return found


async def wait_for_job(
    http: aiohttp.ClientSession,
    stack: Stack,
    job_id: str,
    *,
    ended: int,
    seconds: float,
) -> dict[str, Any]:
    """Wait until so many of its texts have ended."""
    until = time.monotonic() + seconds
    while True:
        job = await read_job(http, stack, job_id)
        if job["succeeded"] + job["failed"] >= ended:
            return job
        assert time.monotonic() < until, {**job, "items": ...}
        await asyncio.sleep(0.1)


async def all_items(
    http: aiohttp.ClientSession, stack: Stack, job_id: str, total: int
) -> list[dict[str, Any]]:
    """Every item, page by page."""
    found: list[dict[str, Any]] = []
    while len(found) < total:
        page = (await read_job(http, stack, job_id, len(found), 200))["items"]
        assert page
        found += page
    return found
