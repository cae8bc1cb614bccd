"""The voice server as a real process on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import statistics
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from core.audio.pcm import RATE_HZ
from core.children import Child
from core.errors import Busy, ProviderError, ProviderUnavailable, StreamTruncated
from core.providers.base import WorkClass
from core.providers.local import LocalProvider
from core.resilience.retry import Retry
from core.voices import protocol
from core.voices.process import VoiceServerProcess
from core.voices.protocol import Failed, Speak
from tests.recogniser import Recogniser, spoken_words, word_error_rate
from tests.voices.server import (
    SENTENCES,
    SLOW_TEXT,
    TEN_WORDS,
    VOICE,
    alive,
    call_of,
    segment_of,
    speak,
    wait_status,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[VoiceServerProcess]:
    """A server with one child and a queue of two, for one test to hurt."""
    async with VoiceServerProcess(tmp_path / "v.sock", 1, queue_limit=2) as process:
        yield process


@pytest.fixture
async def own(server: VoiceServerProcess) -> AsyncIterator[LocalProvider]:
    """A client of `server`."""
    provider = LocalProvider(server.socket)
    yield provider
    await provider.aclose()


async def test_ten_sentences_are_understood(local: LocalProvider, recogniser: Recogniser) -> None:
    wrong = total = 0.0
    for text in SENTENCES:
        pcm, words = await speak(local, text)
        assert [word.text for word in words] == text.split()
        assert [(w.char_start, w.char_end) for w in words] == [
            (w.char_start, w.char_start + len(w.text)) for w in words
        ]
        assert all(text[w.char_start : w.char_end] == w.text for w in words)
        heard = await asyncio.to_thread(recogniser.transcribe, pcm, RATE_HZ)
        count = len(spoken_words(text))
        wrong += word_error_rate(text, heard) * count
        total += count
    print(f"word error rate {wrong / total:.3f} over {total:.0f} words")
    assert wrong / total <= 0.03


async def test_first_chunk_of_ten_words_comes_at_once(local: LocalProvider) -> None:
    times_ms = []
    for seed in range(20):
        started = time.perf_counter()
        async with aclosing(
            local.stream(TEN_WORDS, segment_of(TEN_WORDS, seed=seed), call_of())
        ) as chunks:
            await anext(chunks)
            times_ms.append((time.perf_counter() - started) * 1000)
            async for _ in chunks:
                pass
    print(f"first chunk p50 {statistics.median(times_ms):.1f} ms, max {max(times_ms):.1f} ms")
    assert statistics.median(times_ms) < 80


async def test_word_times_run_on_over_sentences(local: LocalProvider) -> None:
    text = " ".join(SENTENCES[:4])
    pcm, words = await speak(local, text)
    assert [word.text for word in words] == text.split()
    times = [t for word in words for t in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
    assert times[-1] <= len(pcm) // 2 * 1000 / RATE_HZ


async def test_a_word_travels_with_the_chunk_it_starts_in(local: LocalProvider) -> None:
    start_ms = 0.0
    async with aclosing(local.stream(TEN_WORDS, segment_of(TEN_WORDS), call_of())) as chunks:
        async for chunk in chunks:
            end_ms = start_ms + len(chunk.pcm) / 2 * 1000 / RATE_HZ
            assert all(start_ms <= word.start_ms < end_ms for word in chunk.words)
            start_ms = end_ms


async def test_same_words_same_audio_in_every_child(tmp_path: Path) -> None:
    async with VoiceServerProcess(tmp_path / "v.sock", 2) as process:
        provider = LocalProvider(process.socket)
        results = await asyncio.gather(*(speak(provider, TEN_WORDS) for _ in range(6)))
        assert len({pcm for pcm, _ in results}) == 1
        await provider.aclose()


async def test_a_crash_is_a_retryable_error_and_the_child_is_replaced(
    server: VoiceServerProcess, own: LocalProvider
) -> None:
    before = await own.status()
    speaking = asyncio.create_task(speak(own, SLOW_TEXT))
    await wait_status(own, lambda status: status.quick.working == 1)
    os.kill(before.quick.child_pids[0], signal.SIGKILL)
    with pytest.raises(ProviderUnavailable) as caught:
        await speaking
    assert caught.value.retryable
    assert caught.value.vendor_code == "crashed"
    pcm, _ = await speak(own, TEN_WORDS)
    assert len(pcm) > RATE_HZ
    after = await wait_status(own, lambda status: status.quick.ready == 1)
    assert after.quick.restarts == 1
    assert after.quick.child_pids != before.quick.child_pids
    assert not alive(before.quick.child_pids[0])


async def test_a_crash_costs_one_retry(server: VoiceServerProcess, own: LocalProvider) -> None:
    retry, call = Retry(own, tries=2, pause_s=0.01), call_of()
    text = "= " * 150
    speaking = asyncio.create_task(speak(retry, text, call=call))
    status = await wait_status(own, lambda status: status.quick.working == 1)
    os.kill(status.quick.child_pids[0], signal.SIGKILL)
    pcm, words = await speaking
    assert len(pcm) > RATE_HZ
    assert len(words) == 150
    assert call.trace.attempts[0].tries == 2


async def test_a_crash_after_the_first_chunk_is_a_truncation(
    server: VoiceServerProcess, own: LocalProvider
) -> None:
    status = await own.status()
    async with aclosing(own.stream(SLOW_TEXT, segment_of(SLOW_TEXT), call_of())) as chunks:
        await anext(chunks)
        os.kill(status.quick.child_pids[0], signal.SIGKILL)
        with pytest.raises(StreamTruncated):
            async for _ in chunks:
                pass


async def test_the_queue_is_bounded(server: VoiceServerProcess, own: LocalProvider) -> None:
    speaking = [asyncio.create_task(speak(own, SLOW_TEXT))]
    await wait_status(own, lambda status: status.quick.working == 1)
    speaking += [asyncio.create_task(speak(own, TEN_WORDS)) for _ in range(2)]
    await wait_status(own, lambda status: status.quick.queued == 2)
    with pytest.raises(Busy) as caught:
        await speak(own, TEN_WORDS)
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 5
    speaking[0].cancel()
    await asyncio.gather(*speaking, return_exceptions=True)
    assert not speaking[1].exception()
    assert not speaking[2].exception()


async def test_live_goes_before_bulk_and_takes_its_place(
    server: VoiceServerProcess, own: LocalProvider
) -> None:
    order: list[str] = []

    async def run(name: str, work_class: WorkClass) -> None:
        try:
            await speak(own, TEN_WORDS, call=call_of(work_class=work_class))
            order.append(name)
        except Busy:
            order.append(f"{name} refused")

    blocking = asyncio.create_task(speak(own, SLOW_TEXT))
    await wait_status(own, lambda status: status.quick.working == 1)
    tasks = [asyncio.create_task(run("bulk 1", "bulk"))]
    await wait_status(own, lambda status: status.quick.queued == 1)
    tasks.append(asyncio.create_task(run("bulk 2", "bulk")))
    await wait_status(own, lambda status: status.quick.queued == 2)
    tasks.append(asyncio.create_task(run("live", "live")))
    async with asyncio.timeout(5):
        await tasks[1]
    assert order == ["bulk 2 refused"]
    blocking.cancel()
    await asyncio.gather(blocking, *tasks, return_exceptions=True)
    assert order == ["bulk 2 refused", "live", "bulk 1"]


async def test_who_leaves_is_cancelled(server: VoiceServerProcess, own: LocalProvider) -> None:
    """`SLOW_TEXT` is 6 s of work; the child is free soon after its listener has left."""
    async with aclosing(own.stream(SLOW_TEXT, segment_of(SLOW_TEXT), call_of())) as chunks:
        await anext(chunks)
        waiting = asyncio.create_task(speak(own, TEN_WORDS))
        await wait_status(own, lambda status: status.quick.queued == 1)
        waiting.cancel()
        await wait_status(own, lambda status: status.quick.queued == 0, timeout_s=1)
    left = time.monotonic()
    await wait_status(own, lambda status: status.quick.working == 0)
    assert time.monotonic() - left < 3
    assert (await own.status()).quick.restarts == 0


async def test_the_parent_answers_while_the_children_compute(tmp_path: Path) -> None:
    async with VoiceServerProcess(tmp_path / "v.sock", 2) as process:
        provider = LocalProvider(process.socket)
        tasks = [asyncio.create_task(speak(provider, SLOW_TEXT)) for _ in range(4)]
        await wait_status(
            provider, lambda status: status.quick.working == 2 and status.quick.queued == 2
        )
        times_ms = []
        for _ in range(100):
            started = time.perf_counter()
            status = await provider.status()
            times_ms.append((time.perf_counter() - started) * 1000)
            assert status.quick.working == 2
            await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await provider.aclose()
    p95 = statistics.quantiles(times_ms, n=20)[-1]
    print(f"status under load p50 {statistics.median(times_ms):.1f} ms, p95 {p95:.1f} ms")
    assert p95 < 50


async def gone(pids: tuple[int, ...], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while any(map(alive, pids)):
            await asyncio.sleep(0.01)


async def test_killing_the_server_leaves_no_children_and_its_socket_can_be_taken(
    tmp_path: Path,
) -> None:
    path = tmp_path / "v.sock"
    first = VoiceServerProcess(path, 2)
    first.start()
    status = await first.wait_ready()
    provider = LocalProvider(path)
    speaking = asyncio.create_task(speak(provider, SLOW_TEXT))
    await wait_status(provider, lambda status: status.quick.working == 1)
    os.kill(first.pid, signal.SIGKILL)
    with pytest.raises(ProviderUnavailable):
        await speaking
    await gone(status.quick.child_pids)
    await first.stop()
    assert path.exists()
    async with VoiceServerProcess(path, 1):
        assert (await speak(provider, TEN_WORDS))[0]
    await provider.aclose()


async def test_a_live_socket_is_not_taken(server: VoiceServerProcess, own: LocalProvider) -> None:
    second = VoiceServerProcess(server.socket, 1)
    second.start()
    await ended(second)
    assert second.returncode == 1
    assert (await own.status()).pid == server.pid


async def ended(process: VoiceServerProcess) -> None:
    async with asyncio.timeout(10):
        while process.returncode is None:
            await asyncio.sleep(0.01)


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "v.sock"
    path.write_text("mine", encoding="utf-8")
    process = VoiceServerProcess(path, 1)
    process.start()
    await ended(process)
    assert process.returncode == 1
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_everything_cleanly(
    server: VoiceServerProcess, own: LocalProvider, number: signal.Signals
) -> None:
    status = await own.status()
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o600
    speaking = asyncio.create_task(speak(own, SLOW_TEXT))
    await wait_status(own, lambda status: status.quick.working == 1)
    os.kill(server.pid, number)
    with pytest.raises(ProviderError):
        await speaking
    await ended(server)
    assert server.returncode == 0
    assert not server.socket.exists()
    assert not any(map(alive, status.quick.child_pids))


async def test_children_that_cannot_start_end_the_server(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('broken')\n", encoding="utf-8")
    command = [sys.executable, "-m", "core.voices", "--socket", str(tmp_path / "v.sock")]
    with (tmp_path / "log").open("wb") as output:
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        child = Child([*command, "--processes", "1"], env=env, output=output)
    try:
        async with asyncio.timeout(30):
            assert await child.wait() == 1
    finally:
        child.kill()
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert "voice_server_cannot_start" in log
    assert "broken" in log


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", protocol.MAX_FRAME_BYTES + 1),
        struct.pack(">I", 5) + b"\xff\xff\xff\xff\xff",
        protocol.frame(Failed("busy")),
    ],
    ids=["http", "too long", "garbage", "a server's frame"],
)
async def test_what_is_no_request_is_answered_and_cut_off(
    voice_server: Path, local: LocalProvider, sent: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(voice_server)
    writer.write(sent)
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert protocol.decode_from_server(answer[protocol.LENGTH_BYTES :]) == Failed("bad_request")
    writer.close()
    await writer.wait_closed()
    assert (await local.status()).quick.ready == 1


async def test_a_second_request_on_a_busy_connection_is_cut_off(
    voice_server: Path, local: LocalProvider
) -> None:
    reader, writer = await asyncio.open_unix_connection(voice_server)
    request = protocol.frame(Speak(VOICE, SLOW_TEXT))
    writer.write(request + request)
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(2):  # the request itself would take 6 s
            while await reader.read(65_536):
                pass
    writer.close()
    await wait_status(local, lambda status: status.quick.working == 0)


async def test_a_client_that_reads_nothing_holds_no_child(
    server: VoiceServerProcess, own: LocalProvider
) -> None:
    reader, writer = await asyncio.open_unix_connection(server.socket, limit=1024)
    writer.write(protocol.frame(Speak(VOICE, " ".join(SENTENCES * 5))))
    await wait_status(own, lambda status: status.quick.served == 1)
    assert (await speak(own, TEN_WORDS))[0]
    writer.transport.abort()
    del reader
