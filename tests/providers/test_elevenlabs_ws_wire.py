"""What goes over the sockets to ElevenLabs, against a server that does as a test says."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadAudio, ProviderRejected, ProviderUnavailable, StreamTruncated
from core.providers.elevenlabs_frames import error_of_close, frame_of
from core.providers.elevenlabs_pool import SocketPool
from core.providers.elevenlabs_words import AlignedSpeech
from core.providers.elevenlabs_ws import ElevenLabsWebSocket
from core.settings import UpstreamSettings
from core.speech import Attempt, AudioChunk, SegmentPlan, VoiceSettings, WordTiming
from tests.contract.test_provider import call_of
from tests.fakes import tone

TEXT = "Hello, dear world."
ATTEMPT = Attempt(
    "elevenlabs", "", "some/voice", "eleven_flash_v2_5", "en", VoiceSettings(speed=1.1), "key"
)
SEGMENT = SegmentPlan(0, TEXT, 0, len(TEXT), range(len(TEXT) + 1), (ATTEMPT,))

Answer = Callable[[web.WebSocketResponse, dict[str, Any]], Awaitable[None]]


class Far:
    """The server: every message is noted, and `answer` gets it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.closed: list[int | None] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.raw_path)
        self.headers.append(dict(request.headers))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            self.messages.append(json.loads(message.data))
            await self.answer(socket, self.messages[-1])
        self.closed.append(socket.close_code)
        return socket


@asynccontextmanager
async def served(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], **pool_options: float
) -> AsyncIterator[ElevenLabsWebSocket]:
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        pool = SocketPool(url, "secret", stall_s=0.4, max_sockets=4, **pool_options)
        provider = ElevenLabsWebSocket(pool, UpstreamSettings(stall_timeout_s=0.4))
        stack.push_async_callback(provider.aclose)
        yield provider


async def heard(provider: ElevenLabsWebSocket) -> list[AudioChunk]:
    return [chunk async for chunk in provider.stream(TEXT, SEGMENT, call_of())]


def audio_frame(context: str, pcm: bytes, text: str = "") -> str:
    steps = range(0, 50 * len(text), 50)
    alignment = {"chars": list(text), "charStartTimesMs": list(steps)}
    alignment["charDurationsMs"] = [50] * len(text)
    return json.dumps(
        {
            "audio": base64.b64encode(pcm).decode(),
            "alignment": alignment if text else None,
            "contextId": context,
        }
    )


def final_frame(context: str) -> str:
    return json.dumps({"audio": None, "isFinal": True, "context_id": context})


async def speak(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    """Two frames, the second one's times from 0 again, as the vendor sends them."""
    if message.get("close_context"):
        await socket.send_str(audio_frame(message["context_id"], tone(400), "Hello, "))
        await socket.send_str(audio_frame(message["context_id"], tone(600), "dear world. "))
        await socket.send_str(json.dumps({"flush_done": True, "context_id": "c1"}))
        await socket.send_str(final_frame(message["context_id"]))


async def test_a_context_opens_with_its_settings_and_is_flushed_and_closed() -> None:
    far = Far(speak)
    async with served(far.handle) as provider:
        words = [word for chunk in await heard(provider) for word in chunk.words]
    assert far.messages == [
        {"text": " ", "context_id": "c1", "voice_settings": {"speed": 1.1}},
        {"text": TEXT + " ", "context_id": "c1", "flush": True},
        {"context_id": "c1", "close_context": True},
    ]
    (path,) = far.paths
    assert path.startswith("/v1/text-to-speech/some%2Fvoice/multi-stream-input?")
    assert far.headers[0]["xi-api-key"] == "secret"
    assert "Sec-WebSocket-Extensions" not in far.headers[0]
    assert far.closed == [1000]
    assert words == [
        WordTiming("Hello,", 0, 300, 0, 6),
        WordTiming("dear", 400, 600, 7, 11),
        WordTiming("world.", 650, 950, 12, 18),
    ]


async def test_a_frame_of_megabytes_is_heard() -> None:
    pcm = tone(30_000)

    async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message.get("close_context"):
            await socket.send_str(audio_frame("c1", pcm, TEXT))
            await socket.send_str(final_frame("c1"))

    async with served(Far(answer).handle) as provider:
        assert b"".join(chunk.pcm for chunk in await heard(provider)) == pcm


async def test_a_reader_that_stands_still_fails_alone() -> None:
    async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message.get("close_context") and message["context_id"] == "c1":
            for _ in range(300):
                await socket.send_str(audio_frame("c1", tone(20)))
        await speak(socket, message)

    far = Far(answer)
    async with served(far.handle) as provider:
        slow = provider.stream(TEXT, SEGMENT, call_of())
        await anext(slow)
        other = await heard(provider)
        assert [word.text for chunk in other for word in chunk.words] == TEXT.split()
        with pytest.raises(StreamTruncated):
            async for _ in slow:
                pass
    assert len(far.paths) == 1


async def test_a_context_that_never_ends_costs_its_socket_but_no_neighbour() -> None:
    async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["context_id"] == "c1":
            if message.get("close_context"):
                await socket.send_str(audio_frame("c1", tone(100), "Hel"))
            return
        if message.get("close_context"):
            await socket.send_str(audio_frame("c2", tone(300), "Hello, "))
            await asyncio.sleep(0.3)
        await speak(socket, message)

    far = Far(answer)
    async with served(far.handle, left_s=0.1) as provider:
        left = provider.stream(TEXT, SEGMENT, call_of())
        await anext(left)
        neighbour = asyncio.create_task(heard(provider))
        await asyncio.sleep(0.02)
        await left.aclose()
        assert provider.pool.contexts == 2
        assert await neighbour
        assert (provider.pool.sockets, provider.pool.contexts) == (0, 0)


async def test_a_redirect_carries_neither_key_nor_text_elsewhere() -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=307, headers={"location": "/somewhere/else"})

    async with served(elsewhere) as provider:
        with pytest.raises(ProviderRejected):
            await heard(provider)
    assert len(asked) == 1


async def test_callers_that_wait_for_a_handshake_share_it() -> None:
    far = Far(speak)

    async def late(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return await far.handle(request)

    async with served(late) as provider:
        replies = [asyncio.create_task(heard(provider)) for _ in range(3)]
        await asyncio.sleep(0.01)
        replies[0].cancel()
        assert all(await asyncio.gather(*replies[1:]))
    assert len(far.paths) == 1


async def test_closing_during_a_handshake_leaves_nothing_behind() -> None:
    over = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    async with served(never) as provider:
        reply = asyncio.create_task(heard(provider))
        await asyncio.sleep(0.02)
        await provider.aclose()
        with pytest.raises(ProviderUnavailable):
            await reply
        over.set()


@pytest.mark.parametrize(
    ("code", "reason", "vendor_code", "kind"),
    [
        (1008, "Your key sk_secret is wrong.", "invalid_api_key", ProviderRejected),
        (1008, "Some new sentence.", "some_new_code", ProviderRejected),
        (1008, "We are sorry, something went wrong.", None, ProviderUnavailable),
        (1011, "", None, ProviderUnavailable),
        (None, "", None, ProviderUnavailable),
    ],
)
def test_a_close_is_understood_by_code_and_its_reason_is_not_repeated(
    code: int | None, reason: str, vendor_code: str | None, kind: type[Exception]
) -> None:
    error = error_of_close(code, reason, vendor_code)
    assert type(error) is kind
    assert error.vendor_code == vendor_code
    assert not reason or reason not in str(error)


def test_recorded_frames_are_understood() -> None:
    frame = frame_of(
        '{"audio":"AAAA","isFinal":null,"alignment":{"chars":["H","e"],"charStartTimesMs":[0,116],'
        '"charsDurationsMs":[116,151]},"normalizedAlignment":{"chars":[" "]},"contextId":"c"}'
    )
    assert list(frame.characters(1.0) or ()) == [("H", 1.0, 1.116), ("e", 1.116, 1.267)]
    assert (frame.context, frame.final, frame.audio) == ("c", False, b"\0\0\0")
    for broken in ("not json", '{"audio": 5}', '{"audio": "?"}', b"\xff"):
        with pytest.raises(BadAudio):
            frame_of(broken)


GROWING = [TEXT, "a1, b2! c3; d4 e5", "你好，AI 助手真的3.5 元。好！", "it's 3.50 $ - ok"]


@given(st.sampled_from(GROWING), st.lists(st.integers(0, 20), max_size=6), st.booleans())
def test_words_do_not_depend_on_how_the_text_and_its_times_arrive(
    text: str, cuts: list[int], text_first: bool
) -> None:
    def aligned(start: int, end: int) -> list[tuple[str, float, float]]:
        return [(text[at], at / 10, (at + 1) / 10) for at in range(start, end)]

    at_once = AlignedSpeech(text)
    whole = at_once.feed(tone(5_000), aligned(0, len(text)))
    growing = AlignedSpeech(text if text_first else "")
    words: list[WordTiming] = []
    start = 0
    for end in [*sorted(min(cut, len(text)) for cut in cuts), len(text)]:
        if not text_first:
            growing.extend(text[start:end])
        # The vendor adds a blank to each piece.
        chunk = growing.feed(tone(5_000), [*aligned(start, end), (" ", end / 10, end / 10)])
        words += chunk.words if chunk is not None else ()
        start = end
    last, expected = growing.finish(), at_once.finish()
    assert whole is not None
    words += last.words if last is not None else ()
    assert words == [*whole.words, *(expected.words if expected is not None else ())]
