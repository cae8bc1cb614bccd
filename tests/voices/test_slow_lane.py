"""The slow lane with its real voice: Mandarin by Kokoro, in real children."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from core.children import Child
from core.errors import Busy, ProviderUnavailable
from core.providers.local import LocalProvider
from core.resilience.audible import Audible
from core.sockets import private_directory, socket_path
from core.voices.process import VoiceServerProcess
from tests.voices.server import TEN_WORDS, call_of, segment_of, speak, wait_status

pytestmark = pytest.mark.alone

VOICE = "kokoro/zf_xiaobei"


async def test_a_slow_lane_that_cannot_start_is_said_once_and_ends_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "v.sock"
    command = [sys.executable, "-m", "core.voices", "--socket", str(path), "--processes", "1"]
    missing = ("--slow-processes", "1", "--kokoro-model", str(tmp_path / "nowhere.onnx"))
    with (tmp_path / "log").open("wb") as output:
        child = Child([*command, *missing], output=output)
    provider = LocalProvider(path)
    try:
        async with asyncio.timeout(30):
            while not path.exists():
                await asyncio.sleep(0.02)
        await wait_status(provider, lambda status: status.slow.restarts >= 2, timeout_s=30)
        mandarin = segment_of("您好。", voice=VOICE)
        with pytest.raises(ProviderUnavailable) as caught:
            await speak(provider, "您好。", segment=mandarin)
        assert caught.value.vendor_code == "unavailable"
        assert (await speak(provider, TEN_WORDS))[0]
        child.signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await child.wait() == 0
    finally:
        await provider.aclose()
        child.kill()
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert log.count("voice_lane_cannot_start") == 1
    assert "nowhere.onnx" in log


@pytest.fixture(scope="module")
def mandarin_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a server with two slow children."""
    where = socket_path(tmp_path_factory.mktemp("mandarin"), "v.sock")
    private_directory(where.parent)
    server = VoiceServerProcess(where, 1, slow_processes=2)
    server.start()
    try:
        asyncio.run(server.wait_ready(timeout_s=50))
        yield where
    finally:
        asyncio.run(server.stop())


@pytest.fixture
async def mandarin(mandarin_server: Path) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(mandarin_server)
    await wait_status(provider, lambda status: not status.slow.working)
    yield provider
    await provider.aclose()


async def first_audio(provider: LocalProvider, text: str) -> tuple[float, Busy | None]:
    """Seconds until the first audible sample, or until the refusal; hears it all."""
    segment = segment_of(text, voice=VOICE)
    began_s = time.monotonic()
    stream = Audible(provider).stream(text, segment, call_of(first_audio_s=2.0, whole_s=30.0))
    try:
        async with aclosing(stream) as chunks:
            await anext(chunks)
            heard_s = time.monotonic() - began_s
            async for _ in chunks:
                pass
    except Busy as busy:
        return time.monotonic() - began_s, busy
    return heard_s, None


async def test_of_four_callers_at_once_each_is_in_time_or_refused_at_once(
    mandarin: LocalProvider,
) -> None:
    texts = (
        "您好，这套公寓有两间卧室和一个大阳台。",
        "请问您星期六上午方便来看房子吗？",
        "房子的租金包括暖气和水费。",
        "附近有学校、超市和地铁站。",
    )
    ends = await asyncio.gather(*(first_audio(mandarin, text) for text in texts))
    print(
        "first audio or refusal:", [(round(s, 3), busy and busy.retry_after_s) for s, busy in ends]
    )
    heard = [s for s, busy in ends if busy is None]
    assert len(heard) >= 2
    assert max(heard) < 2.0
    for refused_s, busy in ends:
        if busy is not None:
            assert refused_s < 0.2
            assert busy.retry_after_s is not None
            assert 0.1 <= busy.retry_after_s < 10


async def test_two_callers_are_both_heard_and_the_third_when_told(mandarin: LocalProvider) -> None:
    text = "请稍等，我查一下可以看房的日期。"
    speaking = [asyncio.create_task(first_audio(mandarin, text)) for _ in range(2)]
    await wait_status(mandarin, lambda status: status.slow.working == 2)
    took_s, busy = await first_audio(mandarin, text)
    assert busy is not None
    assert took_s < 0.2
    assert busy.retry_after_s is not None
    await asyncio.sleep(busy.retry_after_s)
    assert (await first_audio(mandarin, text))[1] is None
    assert all(refusal is None for _, refusal in await asyncio.gather(*speaking))
