"""The load of many sessions: its mix, what it hears, and that it tells good from bad."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from benchmarks.budgets import load
from benchmarks.listener import Piece
from benchmarks.report import section, section_of, with_section
from benchmarks.sessions import CI, circumstances, rows_of
from benchmarks.sessions_client import Talker, Turn
from benchmarks.sessions_load import ENVIRONMENT, Found, Load
from benchmarks.sessions_mix import Ask, Talk, talks, tokens_of
from benchmarks.wordcode import encode
from core.conversation.audio_frames import AudioPiece, Header
from tests.instruments.wire import ulaw

TEXT = "The house at one two three is free now."
ASK = Ask(due_s=0.0, text=TEXT, fresh=True, written=False, interrupt_ms=None)
SIZE = Load(1, 5.0, memory=False)
Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


def a_turn(**fields: Any) -> Turn:
    turn = Turn("t0", ASK, "en", "ulaw", started_s=0.0, late_ms=0.0, kept=True)
    for name, value in {"over": True, "provider": "elevenlabs", **fields}.items():
        setattr(turn, name, value)
    return turn


def at(offset_ms: int, duration_ms: int = 200) -> Header:
    return Header(1, 0, 1, offset_ms == 0, False, duration_ms, 1, 1, offset_ms)


def frames(text: str) -> list[bytes]:
    """The text in the word code, as frames of 200 ms."""
    audio = ulaw(encode(text, 8_000)[0])
    return [
        AudioPiece("t0", 1, "binary", place + 1, place * 200, len(part) // 8, part).encode(place)
        for place, part in enumerate(audio[i : i + 1600] for i in range(0, len(audio), 1600))
    ]


def test_the_mix_has_the_shares_that_it_promises_and_new_texts_are_new() -> None:
    asked = talks(1000, 60.0, seed=5)
    assert asked == talks(1000, 60.0, seed=5)
    assert Counter(talk.language for talk in asked) == {"en": 700, "es": 200, "zh": 100}
    assert Counter(talk.format for talk in asked) == {"ulaw": 500, "mp3": 500}
    asks = [ask for talk in asked for ask in talk.asks]
    assert len(asks) == 12_000
    fresh = [ask.text for ask in asks if ask.fresh]
    assert len(set(fresh)) == len(fresh) == pytest.approx(3600, rel=0.1)
    assert len({ask.text for ask in asks if not ask.fresh}) < 30
    assert sum(ask.interrupt_ms is not None for ask in asks) == pytest.approx(600, rel=0.2)
    starts = sorted(talk.asks[0].due_s for talk in asked)
    assert starts[0] == 0
    assert starts[-1] == pytest.approx(5.0, abs=0.01)


@pytest.mark.parametrize(("text", "count"), [("¿Sí? Claro, por favor.", 4), ("您好，请问", 5)])
def test_tokens_are_the_text(text: str, count: int) -> None:
    tokens = tokens_of(text, "zh" if count == 5 else "es")
    assert "".join(tokens) == text
    assert len(tokens) == count


def test_a_pause_over_300_ms_is_an_underrun_and_a_shorter_one_is_none() -> None:
    turn = a_turn(over=False)
    for at_s, offset_ms in ((1.0, 0), (1.1, 200), (1.65, 400), (2.16, 600)):
        turn.hear(at_s, at(offset_ms), b"x")
    assert turn.underruns_ms == pytest.approx([310.0])
    assert turn.error is None


def test_audio_that_is_missing_or_comes_twice_is_an_error() -> None:
    for offset_ms in (0, 400):
        turn = a_turn(over=False)
        turn.hear(1.0, at(0), b"x")
        turn.hear(1.1, at(offset_ms), b"x")
        assert turn.error is not None


@pytest.mark.parametrize(
    ("spoken", "kept"), [(TEXT, True), ("The house at one three is free now.", False), ("", False)]
)
def test_a_turn_is_good_only_with_every_word_of_its_text(spoken: str, kept: bool) -> None:
    audio = ulaw(encode(spoken, 8_000)[0]) if spoken else bytes([0xFF]) * 8000
    found = Found(turns=[a_turn(pieces=[Piece(0.25, audio)])], seconds=1.0)
    first, failed = rows_of(SIZE, found, load().sessions)[:2]
    assert failed.kept is kept, failed
    assert first.kept is bool(spoken), first
    if spoken:
        assert "250.0" in first.measured


def test_late_audio_underruns_and_frames_after_an_interruption_break_their_budgets() -> None:
    audio = ulaw(encode(TEXT, 8_000)[0])
    late = a_turn(pieces=[Piece(2.1, audio)], underruns_ms=[301.0], stray=1)
    rows = rows_of(SIZE, Found(turns=[late], seconds=1.0), load().sessions)
    assert [row.kept for row in rows if row.budget] == [False, True, False, False]


@pytest.mark.parametrize(("kilobytes", "kept"), [(40, True), (41, False)])
def test_memory_of_an_idle_session_has_a_budget_where_it_is_measured(
    kilobytes: int, kept: bool
) -> None:
    before = 200 * 2**20
    idle = before + 1000 * kilobytes * 2**10
    found = Found(seconds=1.0, rss_before=before, rss_quiet=before, rss_idle=idle)
    rows = rows_of(Load(1000, 120.0), found, load().sessions)
    (row,) = [row for row in rows if row.budget and "memory" in row.what]
    assert row.kept is kept, row
    small = rows_of(CI, found, load().sessions)
    assert not [row for row in small if "memory" in row.what]


def test_the_section_says_under_which_settings_it_was_measured() -> None:
    told = section("Many sessions", [], "python", 1.0, circumstances()).splitlines()[3]
    for name, value in ENVIRONMENT.items():
        assert f"{name}={value} (default " in told
    assert "one clause" in told


def test_a_section_is_written_beside_what_stands_there_and_again_in_its_place() -> None:
    whole = with_section("# Results\n\n## Formats\n\nx\n", "Sessions", "## Sessions\n\nold\n")
    again = with_section(whole, "Sessions", "## Sessions\n\nnew\n")
    assert again == "# Results\n\n## Formats\n\nx\n\n## Sessions\n\nnew\n"
    assert section_of(again, "Formats") == "## Formats\n\nx\n\n"
    assert section_of(again, "Nothing") == ""


@asynccontextmanager
async def gateway(serve: Serve) -> AsyncIterator[str]:
    """Greets, and does what `serve` does with the socket then."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "connection_established", "sequence": 1})
        await serve(socket)
        return socket

    app = web.Application()
    app.router.add_get("/api/v1/voice/streaming/stream/{id}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def heard(serve: Serve, ask: Ask) -> tuple[Turn, Talker]:
    """One turn of one session with that gateway."""
    turns: list[Turn] = []
    talker = Talker(Talk(0, "en", "ulaw", (ask,)), turns.append)
    async with gateway(serve) as url, aiohttp.ClientSession() as http:
        await talker.opened(http, url)
        reading = asyncio.create_task(talker.read())
        async with asyncio.timeout(3):
            await talker.ask_all(asyncio.get_running_loop().time())
            while talker.open_turns and talker.lost is None:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        reading.cancel()
        await talker.aclose()
        await asyncio.gather(reading, return_exceptions=True)
    return turns[0], talker


async def speak(socket: web.WebSocketResponse, text: str, until: int | None = None) -> None:
    await socket.send_json({"type": "speech_started", "utterance_id": "t0", "utterance": 1})
    for frame in frames(text)[:until]:
        await socket.send_bytes(frame)


async def test_a_written_text_comes_token_by_token_and_its_speech_is_heard() -> None:
    written: list[str] = []

    async def serve(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            command = message.json()
            if command["type"] == "end":
                break
            written.append(command["text"])
        await speak(socket, "".join(written))
        metadata = {"provider": "elevenlabs"}
        await socket.send_json(
            {"type": "speech_finished", "utterance_id": "t0", "metadata": metadata}
        )
        await socket.receive()

    ask = msgspec.structs.replace(ASK, written=True)
    turn, _ = await heard(serve, ask)
    assert written == tokens_of(TEXT, "en")
    rows = rows_of(SIZE, Found(turns=[turn], seconds=1.0), load().sessions)
    assert all(row.kept for row in rows), rows
    assert (turn.provider, turn.stray, turn.heard_ms > 2000) == ("elevenlabs", 0, True)


@pytest.mark.parametrize("polite", [True, False])
async def test_audio_after_an_interruption_is_counted_and_a_wrong_split_is_an_error(
    polite: bool,
) -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await speak(socket, TEXT, until=5)
        assert (await socket.receive()).json()["type"] == "interrupt"
        rest = TEXT[9:] if polite else TEXT[10:]
        split = {"spoken_text": TEXT[:9], "remaining_text": rest}
        await socket.send_json({"type": "interrupted", "utterance_id": "t0", **split})
        if not polite:
            await socket.send_bytes(frames(TEXT)[5])
        await socket.send_json({"type": "accepted"})
        await socket.receive()

    turn, _ = await heard(serve, msgspec.structs.replace(ASK, interrupt_ms=50.0))
    assert turn.answered_ms is not None
    assert turn.answered_ms < 1000
    assert (turn.stray, turn.error is None) == ((0, True) if polite else (1, False))


async def test_a_session_that_the_gateway_ends_is_lost_and_its_turn_has_failed() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.close(code=1011)

    turn, talker = await heard(serve, ASK)
    assert (talker.lost, turn.error) == ("closed: 1011", "closed: 1011")
