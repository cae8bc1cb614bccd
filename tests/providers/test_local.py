"""The client of the voice server: its promises to the pipeline, and what it makes of failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from core.deadline import Deadline
from core.errors import (
    BadAudio,
    Busy,
    DeadlineExceeded,
    ProviderRejected,
    ProviderSilent,
    ProviderUnavailable,
    StreamTruncated,
)
from core.providers.base import SpeechCall, SpeechProvider
from core.providers.local import LocalProvider
from core.speech import SegmentTrace
from core.text.words import words_of
from core.voices import protocol
from core.voices.protocol import Audio, Done, Failed, Speak
from tests.voices.server import (
    SENTENCES,
    SLOW_TEXT,
    TEN_WORDS,
    call_of,
    segment_of,
    speak,
    wait_status,
)


@pytest.fixture
async def local(voice_server: Path) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(voice_server)
    yield provider
    await provider.aclose()


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def odd_server(path: Path, answer: Answer) -> AsyncIterator[LocalProvider]:
    """A server that answers every request as the test says, then closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(protocol.LENGTH_BYTES)
        await reader.readexactly(protocol.length_of(head))
        await answer(writer)
        writer.close()

    server = await asyncio.start_unix_server(handle, path)
    provider = LocalProvider(path)
    try:
        yield provider
    finally:
        await provider.aclose()
        server.close()
        await server.wait_closed()


def sends(*messages: protocol.FromServer, cut: int = 0) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        data = b"".join(map(protocol.frame, messages))
        writer.write(data[: len(data) - cut])

    return answer


async def test_is_a_provider(local: LocalProvider) -> None:
    provider: SpeechProvider = local
    assert provider.name == "local"


async def test_the_trace_says_what_happened(local: LocalProvider) -> None:
    call = call_of()
    await speak(local, TEN_WORDS, call=call)
    (record,) = call.trace.attempts
    assert (record.provider, record.voice, record.tries) == ("local", "hibari/heart", 1)
    assert record.first_chunk_ms is not None
    assert 0 < record.first_chunk_ms <= call.trace.now_ms()


async def test_settings_and_seed_are_honoured(local: LocalProvider) -> None:
    plain, _ = await speak(local, TEN_WORDS)
    slow, _ = await speak(local, TEN_WORDS, segment=segment_of(TEN_WORDS, speed=0.7))
    seeded, _ = await speak(local, TEN_WORDS, segment=segment_of(TEN_WORDS, seed=3))
    assert len(slow) > 1.2 * len(plain)
    assert len(seeded) == len(plain)
    assert seeded != plain
    assert await speak(local, TEN_WORDS) == await speak(local, TEN_WORDS)


async def test_a_connection_is_used_again(local: LocalProvider) -> None:
    await speak(local, "One.")
    (connection,) = local._idle
    await speak(local, "Two.")
    assert local._idle == [connection]


async def pieces_of(text: str, size: int) -> AsyncGenerator[str, None]:
    for start in range(0, len(text), size):
        await asyncio.sleep(0)
        yield text[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_text_in_pieces_is_spoken_whole(local: LocalProvider, size: int) -> None:
    text = "Dr. Smith is here now. " + "  ".join(SENTENCES[:3]) + " And that is"
    pcm, words = await speak(local, text, spoken=pieces_of(text, size))
    assert [word.text for word in words] == text.split()
    assert all(text[word.char_start : word.char_end] == word.text for word in words)
    times = [t for word in words for t in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
    assert times[-1] <= len(pcm) // 48


async def test_a_sentence_is_spoken_before_the_next_is_written(local: LocalProvider) -> None:
    written = asyncio.Event()

    async def writing() -> AsyncGenerator[str, None]:
        yield SENTENCES[0] + " And "
        await written.wait()
        yield "then more."

    text = SENTENCES[0] + " And then more."
    words = 0
    async with aclosing(local.stream(writing(), segment_of(text), call_of())) as chunks:
        async for chunk in chunks:
            words += len(chunk.words)
            if words == len(SENTENCES[0].split()):
                written.set()
    assert words == len(text.split())


async def test_no_server_is_unavailable(tmp_path: Path) -> None:
    provider = LocalProvider(tmp_path / "nobody.sock")
    with pytest.raises(ProviderUnavailable) as caught:
        await speak(provider, TEN_WORDS)
    assert caught.value.retryable
    with pytest.raises(ProviderUnavailable):
        await provider.status()


async def test_an_unknown_voice_is_rejected(local: LocalProvider) -> None:
    for voice in ("hibari/emma", "nobody/heart", "", "hibari"):
        with pytest.raises(ProviderRejected) as caught:
            await speak(local, TEN_WORDS, segment=segment_of(TEN_WORDS, voice=voice))
        assert caught.value.vendor_code == "unknown_voice"
        assert not caught.value.retryable


async def test_too_long_or_too_fast_is_rejected(local: LocalProvider) -> None:
    with pytest.raises(ProviderRejected):
        await speak(local, "a " * 5000)
    with pytest.raises(ProviderRejected):
        await speak(local, TEN_WORDS, segment=segment_of(TEN_WORDS, speed=9.0))
    assert (await speak(local, TEN_WORDS))[0]


@pytest.mark.parametrize("text", ["", "  ", "😀 🎉", "...", "你好", "\ud800"])
async def test_nothing_to_speak_is_bad_audio(local: LocalProvider, text: str) -> None:
    with pytest.raises(BadAudio):
        await speak(local, text)


@pytest.mark.parametrize(
    "text", ["word " * 600, "a" * 5000, "[a](/b/) [x](//)", "①你 1" + "1" * 60, "a \ud800 b"]
)
async def test_odd_texts_are_spoken(local: LocalProvider, text: str) -> None:
    pcm, words = await speak(local, text)
    assert pcm
    told = text.replace("\ud800", "?")
    assert [word.text for word in words] == [word.text for word in words_of(told)]


async def test_a_deadline_that_is_over_needs_no_call(local: LocalProvider) -> None:
    with pytest.raises(DeadlineExceeded):
        await speak(local, TEN_WORDS, call=call_of(first_audio_s=0.0))


async def test_silence_until_the_deadline(local: LocalProvider) -> None:
    """The first step of this text takes 0.5 s."""
    with pytest.raises(ProviderSilent):
        await speak(local, SLOW_TEXT, call=call_of(first_audio_s=0.3))
    await wait_status(local, lambda status: status.quick.working == 0)


async def test_the_end_of_the_deadline_is_a_truncation(local: LocalProvider) -> None:
    with pytest.raises(StreamTruncated):
        await speak(local, SLOW_TEXT, call=call_of(first_audio_s=1.9, whole_s=2.0))
    await wait_status(local, lambda status: status.quick.working == 0)


async def test_a_text_that_is_never_written_is_silence(local: LocalProvider) -> None:
    async def never() -> AsyncGenerator[str, None]:
        await asyncio.sleep(3600)
        yield ""

    with pytest.raises(ProviderSilent):
        await speak(local, "x", spoken=never(), call=call_of(first_audio_s=0.1))


async def test_closing_early_cancels_at_once(local: LocalProvider) -> None:
    async with aclosing(local.stream(SLOW_TEXT, segment_of(SLOW_TEXT), call_of())) as chunks:
        await anext(chunks)
    assert not local._idle
    await wait_status(local, lambda status: status.quick.working == 0, timeout_s=3)


PCM = bytes(9600)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (sends(), ProviderUnavailable),
        (sends(Done(0)), BadAudio),
        (sends(Failed("busy", retryable=True, retry_after_s=0.5)), Busy),
        (sends(Failed("crashed", retryable=True)), ProviderUnavailable),
        (sends(Failed("unavailable", retryable=True, retry_after_s=5.0)), ProviderUnavailable),
        (sends(Failed("switched_off")), ProviderRejected),
        (sends(Failed("stalled")), ProviderRejected),
        (sends(Audio(PCM)), StreamTruncated),
        (sends(Audio(PCM), Audio(PCM), cut=100), StreamTruncated),
        (sends(Audio(PCM), Failed("crashed", retryable=True)), StreamTruncated),
        (sends(Audio(PCM), Done(4801)), StreamTruncated),
    ],
)
async def test_failures_have_names(tmp_path: Path, answer: Answer, error: type[Exception]) -> None:
    async with odd_server(tmp_path / "s", answer) as provider:
        with pytest.raises(error) as caught:
            await speak(provider, TEN_WORDS)
        assert type(caught.value) is error


async def test_the_server_is_told_when_audio_is_due(tmp_path: Path) -> None:
    asked: list[protocol.FromClient] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(protocol.LENGTH_BYTES)
                body = await reader.readexactly(protocol.length_of(head))
                asked.append(protocol.decode_from_client(body))
                writer.write(protocol.frame(Audio(PCM * 10)) + protocol.frame(Done(48_000)))
        writer.close()

    async with await asyncio.start_unix_server(handle, tmp_path / "s") as server:
        provider = LocalProvider(tmp_path / "s")
        text = SENTENCES[0] + " " + SENTENCES[1]
        await speak(provider, text, spoken=pieces_of(text, 9), call=call_of(first_audio_s=1.5))
        patient = Deadline.after(first_audio_s=5, whole_s=30, patience_s=8)
        await speak(provider, text, call=SpeechCall(patient, SegmentTrace()))
        await provider.aclose()
        server.close()
    first, second, later = asked
    assert isinstance(first, Speak)
    assert isinstance(second, Speak)
    assert isinstance(later, Speak)
    assert [first.refuse_late, second.refuse_late, later.refuse_late] == [True, False, False]
    assert first.due_ms is not None
    assert 1_000 < first.due_ms <= 1_500
    assert second.due_ms is not None
    assert 1_500 < second.due_ms <= 2_000  # two seconds of audio were sent
    assert later.due_ms is not None
    assert 4_000 < later.due_ms <= 5_000


async def test_a_server_that_talks_nonsense(tmp_path: Path) -> None:
    async def nonsense(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with odd_server(tmp_path / "s", nonsense) as provider:
        with pytest.raises(ProviderUnavailable):
            await speak(provider, TEN_WORDS)
        with pytest.raises(ProviderUnavailable):
            await provider.status()


async def test_a_connection_that_the_server_closed_is_not_used(tmp_path: Path) -> None:
    async with odd_server(tmp_path / "s", sends(Audio(PCM), Done(4800))) as provider:
        for _ in range(3):
            assert (await speak(provider, TEN_WORDS))[0] == PCM
            await asyncio.sleep(0.05)
