"""The listener's clock: synthetic streams whose every time is known, then a real port."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from benchmarks import listener, wordcode
from benchmarks.listener import Listening, Pace, Piece, listen, play
from core.audio.pcm import AUDIBLE_AMPLITUDE
from tests.instruments import wire


def _tone(ms: int, rate_hz: int = 24_000) -> bytes:
    at = np.arange(rate_hz * ms // 1000) / rate_hz
    return (8_000 * np.sin(2 * np.pi * 440 * at)).astype("<i2").tobytes()


def _silence(ms: int) -> bytes:
    return bytes(2 * (24 * ms))


def _wav(pcm: bytes, *, declared: int | None = None) -> bytes:
    size = len(pcm) if declared is None else declared
    layout = struct.pack("<HHIIHH", 1, 1, 24_000, 48_000, 2, 16)
    junk = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    head = b"RIFF" + struct.pack("<I", min(0xFFFFFFFF, size + 48)) + b"WAVE" + junk
    return head + b"fmt " + struct.pack("<I", 16) + layout + b"data" + struct.pack("<I", size) + pcm


def _timed(*parts: tuple[float, bytes], audio_format: str = "pcm_24000") -> Listening:
    return play([Piece(at_s, data) for at_s, data in parts], 0.0, audio_format)


def test_first_audio_is_the_first_audible_sample_and_not_the_first_byte() -> None:
    heard = _timed((0.1, _silence(50)), (0.2, _silence(50)), (0.25, _silence(30) + _tone(100)))
    assert heard.first_audio_ms == pytest.approx(250)
    assert heard.lead_silence_ms == pytest.approx(130, abs=1)
    assert heard.duration_ms == pytest.approx(230)


def test_the_threshold_is_minus_45_dbfs() -> None:
    at = np.full(2_400, AUDIBLE_AMPLITUDE, "<i2").tobytes()
    over = np.full(2_400, -AUDIBLE_AMPLITUDE - 1, "<i2").tobytes()
    assert _timed((0.1, at)).first_audio_ms is None
    assert _timed((0.1, at), (0.2, over)).first_audio_ms == pytest.approx(200)


def test_gaps_and_underruns_follow_the_playback_clock() -> None:
    heard = _timed(
        (1.00, _tone(500)),  # lasts until 1.50
        (1.60, _tone(500)),  # 100 ms late: until 2.10
        (1.70, _tone(500)),  # early: until 2.60
        (3.00, _tone(100)),  # 400 ms late: until 3.10
        (3.10, _tone(100)),  # in time
    )
    assert [(round(g.at_ms), round(g.lasts_ms)) for g in heard.gaps] == [(500, 100), (1500, 400)]
    assert [round(g.lasts_ms) for g in heard.underruns] == [400]
    assert heard.duration_ms == pytest.approx(1700)


def test_a_stream_that_is_always_ahead_has_no_gap() -> None:
    assert _timed(*[(0.1 * n, _tone(100)) for n in range(10)]).gaps == ()


def test_an_odd_byte_waits_for_its_other_half() -> None:
    pcm = _silence(10) + _tone(50)
    heard = _timed((0.1, pcm[:481]), (0.2, pcm[481:]))
    assert heard.pcm == pcm
    assert heard.error is None
    assert _timed((0.1, pcm[:-1])).error is not None


def test_mp3_samples_are_there_with_the_piece_that_completes_their_frame() -> None:
    body = wire.mp3(_tone(1_000), 24_000, 128)
    frame = 384  # bytes of one frame of 576 samples at 128 kbit/s
    heard = _timed(
        (0.1, body[: frame * 3 - 1]), (0.2, body[frame * 3 - 1 :]), audio_format="audio/mpeg"
    )
    early = play([Piece(0.1, body[: frame * 3 - 1])], 0.0, "mp3", whole=False)
    assert early.duration_ms == pytest.approx(48)
    assert heard.error is None
    assert heard.duration_ms == pytest.approx(1_000, abs=100)


def test_mp3_in_single_bytes_with_an_id3_tag_decodes_the_same() -> None:
    body = wire.mp3(wordcode.encode("one two three four")[0], 24_000, 48)
    tagged = b"ID3\x04\0\0\0\0\x01\x05" + bytes(133) + body
    pieces = [(0.001 * at, tagged[at : at + 1]) for at in range(len(tagged))]
    heard = _timed(*pieces, audio_format="mp3_24000_48")
    assert heard.error is None
    assert heard.pcm == _timed((0.0, body), audio_format="mp3").pcm
    verdict = wordcode.matches("one two three four", wordcode.decode(heard.pcm, heard.rate_hz))
    assert verdict.ok


def test_wav_of_known_and_of_unknown_length() -> None:
    pcm = _silence(20) + _tone(200)
    for declared in (None, 0xFFFFFFFF, 0):
        body = _wav(pcm, declared=declared)
        pieces = [(at / 1e4, body[at : at + 7]) for at in range(0, len(body), 7)]
        heard = _timed(*pieces, audio_format="audio/wav")
        assert (heard.error, heard.pcm, heard.rate_hz) == (None, pcm, 24_000)


def test_wav_shorter_than_declared_is_an_error() -> None:
    heard = _timed((0.1, _wav(_tone(100), declared=9_600)), audio_format="wav")
    assert heard.error is not None
    assert "4800 bytes fewer" in heard.error


@pytest.mark.parametrize("audio_format", ["mp3", "wav"])
def test_noise_bytes_are_an_error(audio_format: str) -> None:
    noise = np.random.default_rng(1).bytes(20_000)
    assert _timed((0.1, noise), audio_format=audio_format).error is not None


def test_a_truncated_mp3_is_an_error() -> None:
    body = wire.mp3(_tone(500), 24_000, 128)
    assert _timed((0.1, body[:2_000]), audio_format="mp3").error is not None


def test_ulaw() -> None:
    pcm = wire.resample(_silence(100) + _tone(400), 24_000, 8_000)
    heard = _timed((0.1, wire.ulaw(pcm)), audio_format="ulaw_8000")
    assert heard.rate_hz == 8_000
    assert heard.duration_ms == pytest.approx(500)
    assert heard.lead_silence_ms == pytest.approx(100, abs=10)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.2, handler_cancellation=True)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        return f"http://{host}:{port}/"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


def _stream(parts: Sequence[tuple[float, bytes]], *, abort: bool = False) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "audio/pcm"})
        await response.prepare(request)
        for wait_s, data in parts:
            await asyncio.sleep(wait_s)
            await response.write(data)
        if abort:
            assert request.transport is not None
            request.transport.abort()
        return response

    return handler


async def test_listening_on_a_real_port(serve: Serve, session: aiohttp.ClientSession) -> None:
    url = await serve(_stream([(0.05, _silence(40)), (0.15, _tone(40)), (0.5, _tone(400))]))
    heard = await listen(session, "POST", url, json={"text": "x"})
    assert (heard.status, heard.complete, heard.error) == (200, True, None)
    assert heard.first_byte_ms == pytest.approx(50, abs=40)
    result = heard.listening()
    assert result.first_audio_ms == pytest.approx(200, abs=60)
    assert len(result.underruns) == 1
    assert result.duration_ms == pytest.approx(480)


async def test_an_aborted_reply_is_truncated(serve: Serve, session: aiohttp.ClientSession) -> None:
    url = await serve(_stream([(0.0, _tone(100))], abort=True))
    heard = await listen(session, "GET", url)
    assert (heard.truncated, heard.complete, heard.status) == (True, False, 200)
    assert heard.error == "ClientPayloadError"


async def test_a_refused_connection_and_silence_are_told_apart(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    url = await serve(_stream([(5.0, b"")]))
    silent = await listen(session, "GET", url, timeout_s=0.2)
    assert (silent.timed_out, silent.truncated, silent.pieces) == (True, False, [])
    refused = await listen(session, "GET", "http://127.0.0.1:1/", timeout_s=2)
    assert (refused.status, refused.truncated) == (None, True)


async def test_a_client_that_leaves(serve: Serve, session: aiohttp.ClientSession) -> None:
    gone = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(1_000))
                await asyncio.sleep(0.005)
        finally:
            gone.set()

    heard = await listen(session, "GET", await serve(endless), pace=Pace(leave_after_bytes=3_000))
    assert heard.left
    assert not heard.complete
    assert sum(len(p.data) for p in heard.pieces) >= 3_000
    await asyncio.wait_for(gone.wait(), 1.0)


async def test_a_slow_reader_is_felt_by_the_server(serve: Serve) -> None:
    finished_after: list[float] = []

    async def large(request: web.Request) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(bytes(64 * 1024))
        finished_after.append(loop.time() - began)
        return response

    url = await serve(large)
    async with listener.narrow_session() as narrow:
        heard = await listen(
            narrow, "GET", url, pace=Pace(read_bytes=4_096, pause_s=0.02), timeout_s=1.0
        )
    assert heard.timed_out
    assert finished_after == []
