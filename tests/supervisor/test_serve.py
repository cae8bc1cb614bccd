"""`seiketsu serve`: how it ends and how its processes are replaced, on a real port under load."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from core.embedded import EmbeddedRedis
from tests.supervisor.running import Running, all_gone, port_is_closed, running

pytestmark = pytest.mark.alone

LONG = " ".join(f"This is sentence number {n} of a long reply." for n in range(1, 25))


class Served:
    """A `seiketsu serve` that runs."""

    def __init__(self, process: Running) -> None:
        self.process = process
        self.port = int(self.logged("gateway_listens")["port"])
        self.base = f"http://127.0.0.1:{self.port}"
        self.voice = f"{self.base}/api/v1/voice"

    def logged(self, event: str, seconds: float = 20.0, *, count: int = 1) -> dict[str, Any]:
        """The first of `count` log lines of that event."""
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            lines = [json.loads(line) for line in self.process.errors if line.startswith("{")]
            found[:] = [line for line in lines if line["event"] == event]
            return len(found) >= count

        self.until(seen, seconds)
        return found[0]

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert self.process.process.poll() is None, self.process.errors
            assert time.monotonic() < until, self.process.errors
            time.sleep(0.02)

    def gateways(self) -> list[psutil.Process]:
        """The processes that serve."""
        return psutil.Process(self.process.process.pid).children()

    async def ready(self, http: aiohttp.ClientSession) -> int:
        """The status of /health/ready, over a connection of its own."""
        headers = {"Connection": "close"}
        async with http.get(f"{self.base}/health/ready", headers=headers) as reply:
            await reply.read()
            return reply.status

    async def until_ready(self, http: aiohttp.ClientSession) -> None:
        until = time.monotonic() + 20
        while await self.ready(http) != 200:
            assert time.monotonic() < until
            await asyncio.sleep(0.02)


@pytest.fixture
def env(
    clean_environment: dict[str, str],
    redis_state: EmbeddedRedis,
    redis_cache: EmbeddedRedis,
    voice_server: Path,
    tmp_path: Path,
) -> dict[str, str]:
    return {
        **clean_environment,
        "SEIKETSU_DATA_DIR": str(tmp_path),
        "REDIS_URL": redis_state.url,
        "CACHE_REDIS_URL": redis_cache.url,
        "SEIKETSU_VOICE_SOCKET": str(voice_server),
        "SEIKETSU_DRAIN_NOTICE": "0.5",
    }


@contextmanager
def _serving(env: dict[str, str], repository: Path, *options: str) -> Iterator[Served]:
    command = ("-m", "gateway.cli", "serve", "--port", "0", *options)
    with running(command, env, repository) as process:
        yield Served(process)


async def _speak(http: aiohttp.ClientSession, url: str, text: str) -> tuple[bytes, bool]:
    """The whole audio and whether the connection is to be closed; a truncated reply raises."""
    body = {"text": text, "voice_agent_id": "agent_123", "format": "ulaw", "language": "en"}
    async with http.post(f"{url}/streaming/synthesize/streaming", json=body) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.read(), reply.headers.get("Connection") == "close"


@pytest.mark.timeout(90)
async def test_no_reply_is_lost_while_the_processes_are_replaced(
    env: dict[str, str], repository: Path
) -> None:
    with _serving(env, repository, "--processes", "2") as served:
        async with aiohttp.ClientSession() as http:
            await served.until_ready(http)
            await asyncio.to_thread(served.logged, "gateway_process_ready", count=2)
            before = served.gateways()
            whole, _ = await _speak(http, served.voice, "Good morning.")
            over = asyncio.Event()
            sizes: list[int] = []

            async def keep_asking(number: int) -> None:
                turn = 0
                while not over.is_set():
                    turn += 1
                    text = "Good morning." if turn % 2 else f"This is {number} and {turn}."
                    audio, _ = await _speak(http, served.voice, text)
                    if turn % 2:
                        assert audio == whole
                    sizes.append(len(audio))
                    await asyncio.sleep(0.01)

            async with asyncio.TaskGroup() as callers:
                for number in range(4):
                    callers.create_task(keep_asking(number))
                served.process.process.send_signal(signal.SIGHUP)
                await asyncio.to_thread(served.logged, "gateway_roll_done", 40)
                await asyncio.sleep(0.5)
                over.set()
            assert len(sizes) > 50
            assert min(sizes) > 1000
            assert not {p.pid for p in before} & {p.pid for p in served.gateways()}
            assert all_gone(before, 0.5)
            assert len(served.gateways()) == 2
        below = served.process.descendants()
        served.process.process.send_signal(signal.SIGTERM)
        assert served.process.wait() == 0
        assert all_gone(below, 0.5)
        assert port_is_closed(served.port)


async def test_a_process_that_dies_is_started_again(env: dict[str, str], repository: Path) -> None:
    with _serving({**env, "SEIKETSU_DRAIN_NOTICE": "0"}, repository, "--processes", "2") as served:
        async with aiohttp.ClientSession() as http:
            await served.until_ready(http)
            await asyncio.to_thread(served.logged, "gateway_process_ready", count=2)
            victim = served.gateways()[0]
            victim.kill()
            await asyncio.to_thread(served.logged, "gateway_process_ready", count=3)
            assert served.logged("gateway_process_ended")["code"] == -signal.SIGKILL
            assert len([p for p in served.gateways() if p.pid != victim.pid]) == 2
            assert await served.ready(http) == 200
        served.process.process.send_signal(signal.SIGTERM)
        assert served.process.wait() == 0


async def test_ending_says_not_ready_first_and_lets_replies_end(
    env: dict[str, str], repository: Path
) -> None:
    with _serving(env, repository) as served:
        async with aiohttp.ClientSession() as http:
            await served.until_ready(http)
            body = {"text": LONG, "voice_agent_id": "agent_123", "format": "ulaw"}
            url = f"{served.voice}/streaming/synthesize/streaming"
            async with http.post(url, json=body) as long:
                first = await long.content.readany()
                assert first
                served.process.process.send_signal(signal.SIGTERM)
                until = time.monotonic() + 0.4
                while await served.ready(http) != 503:
                    assert time.monotonic() < until, "it never said so"
                _, closes = await _speak(http, served.voice, "A last word.")
                assert closes
                rest = await long.read()
            assert len(first + rest) > 8000 * 30, "24 sentences are more than 30 s of speech"
        assert await asyncio.to_thread(served.process.wait) == 0
        assert port_is_closed(served.port)


async def test_a_connection_that_is_silent_does_not_hold_the_end_up(
    env: dict[str, str], repository: Path
) -> None:
    with _serving({**env, "SEIKETSU_DRAIN_NOTICE": "0.1"}, repository) as served:
        async with aiohttp.ClientSession() as http:
            await served.until_ready(http)
        with socket.create_connection(("127.0.0.1", served.port)):
            started = time.monotonic()
            served.process.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(served.process.wait) == 0
            assert time.monotonic() - started < 3


async def test_a_conversation_is_closed_in_order_after_what_it_was_saying(
    env: dict[str, str], repository: Path
) -> None:
    with _serving(env, repository) as served:
        async with aiohttp.ClientSession() as http:
            await served.until_ready(http)
        url = f"ws://127.0.0.1:{served.port}/api/v1/voice/streaming/stream/s1"
        async with connect(f"{url}?voice_agent_id=agent_123", compression=None) as socket:
            await socket.send(json.dumps({"type": "synthesize", "text": "A last word to you."}))
            heard = [json.loads(await socket.recv())["type"]]
            served.process.process.send_signal(signal.SIGTERM)
            with suppress(ConnectionClosed):
                while True:
                    heard.append(json.loads(await socket.recv())["type"])
            assert "audio_response" in heard
            assert heard[-1] == "going_away"
            assert socket.close_code == 1012
        assert await asyncio.to_thread(served.process.wait) == 0


def test_a_host_of_the_command_line_needs_keys_too(
    env: dict[str, str], repository: Path, tmp_path: Path
) -> None:
    command = ("-m", "gateway.cli", "serve", "--host", "0.0.0.0", "--processes", "2")  # noqa: S104
    with running(command, env, repository) as refused:
        assert refused.wait() == 1
    assert "SEIKETSU_API_KEYS" in refused.errors[-1]
