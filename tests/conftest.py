"""What every test may use: real Redis servers, the voice server, free ports, and a check for tasks
that a test left running; and the order of the files."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import blockbuster
import pytest
from redis.asyncio import Redis

from core.embedded import EmbeddedRedis, Role
from core.redis import open_redis
from core.sockets import private_directory, socket_path

if TYPE_CHECKING:  # it takes a while, and few need it
    from tests.recogniser import Recogniser

T = TypeVar("T")

os.putenv("ORT_DISABLE_TELEMETRY", "1")
"""onnxruntime would keep a file about this machine in the home directory."""


LONGEST_FIRST = (
    "voices/test_pitch.py",
    "voices/test_server.py",
    "workers/test_processes.py",
    "supervisor/test_up.py",
    "voices/test_pico_commands.py",
    "voices/test_kokoro.py",
    "commands/test_commands.py",
    "e2e/test_languages.py",
    "e2e/test_resume.py",
    "emulator/test_load.py",
    "voices/test_hibari.py",
    "providers/test_elevenlabs_http.py",
    "voices/test_pico.py",
    "e2e/test_malformed.py",
)
"""Files that take ten seconds or more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: begun last, one would be waited for by the other process."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def no_leaked_tasks(request: pytest.FixtureRequest) -> None:
    """After an async test and all its fixtures, no task of its event loop is left."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_task_check")


@pytest.fixture
async def _task_check() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = _left_since(before)
    if left:  # what was cancelled just now may need a few turns of the loop to end
        await asyncio.wait(left, timeout=0.2)
        left = _left_since(before)
    names = [f"{task.get_name()}: {task.get_coro()}" for task in left]
    for task in left:
        task.cancel()
    if names:
        pytest.fail(f"tasks left running: {names}", pytrace=False)


def _left_since(before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    this = asyncio.current_task()
    return {task for task in asyncio.all_tasks() - before if task is not this and not task.done()}


@pytest.fixture
def never_blocks() -> Iterator[blockbuster.BlockBuster]:
    """Any blocking call inside the event loop raises `blockbuster.BlockingError`."""
    with blockbuster.blockbuster_ctx() as watch:
        yield watch


@pytest.fixture
def free_port() -> int:
    """A loopback port that was free a moment ago; prefer port 0 where the server can say which."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
async def redis_state(_state_server: EmbeddedRedis) -> EmbeddedRedis:
    """The state database, running and empty; a test may stop, kill, start or SIGSTOP it."""
    await _make_ready(_state_server)
    return _state_server


@pytest.fixture
async def redis_cache(_cache_server: EmbeddedRedis) -> EmbeddedRedis:
    """The audio database (64 MiB), running and empty; a test may do the same with it."""
    await _make_ready(_cache_server)
    return _cache_server


@pytest.fixture(scope="session")
def _state_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    yield from _server("state", tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def _cache_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    yield from _server("cache", tmp_path_factory.mktemp("redis"))


def _server(role: Role, directory: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(role, directory, max_memory_bytes=64 * 1024 * 1024)
    _complete(server.start())
    yield server
    server.kill()


def _complete(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in a loop of its own, for fixtures that outlive the loop of one test."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


@pytest.fixture
async def state(redis_state: EmbeddedRedis) -> AsyncIterator[Redis]:
    """A client of the state database."""
    client = open_redis(redis_state.url, timeout_s=2.0, max_connections=16)
    yield client
    await client.aclose()


async def _make_ready(server: EmbeddedRedis) -> None:
    if server.child is not None and server.running:
        server.child.signal(signal.SIGCONT)
    await server.start()
    client = open_redis(server.url, timeout_s=5.0, max_connections=1)
    try:
        await client.flushall()
    finally:
        await client.aclose()


@pytest.fixture(scope="session")
def voice_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a local voice server with one child process, shared by the whole run."""
    from core.voices.process import VoiceServerProcess

    where = socket_path(tmp_path_factory.mktemp("voices"), "voices.sock")
    private_directory(where.parent)
    server = VoiceServerProcess(where, 1)
    server.start()
    try:
        _complete(server.wait_ready())
        yield where
    finally:
        _complete(server.stop())


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    """The recogniser, loaded once."""
    from tests.recogniser import Recogniser

    return Recogniser()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    """This process's environment without any variable of the product."""
    from core.settings import VARIABLES

    return {name: value for name, value in os.environ.items() if name not in VARIABLES}
