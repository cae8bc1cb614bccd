"""Single flight: one call, any number of listeners, each with the whole."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from core.deadline import Deadline
from core.errors import Busy, ProviderUnavailable, SeiketsuError, SpeechError, StreamTruncated
from core.resilience.race import Race
from core.synthesis.flight import Flight, FlightBoard, Keep, Listener
from core.synthesis.limiter import Limited, Limiter
from tests.fakes import FakeVoice, segment_of, tone

LIMIT = 10_000_000


class Kept:
    def __init__(self) -> None:
        self.flights: list[Flight] = []

    async def __call__(self, flight: Flight) -> None:
        self.flights.append(flight)


def board_of(voice: FakeVoice, max_bytes: int = LIMIT) -> FlightBoard:
    return FlightBoard(Race([voice], reserve_s=1.0), max_bytes=max_bytes)


def deadline(first_audio_s: float = 2.0) -> Deadline:
    return Deadline.after(first_audio_s=first_audio_s, whole_s=5.0)


def join(board: FlightBoard, keep: Keep | None, *, key: str = "k1", share: bool = True) -> Listener:
    return board.join(segment_of(key=key), deadline(), work_class="live", share=share, keep=keep)


async def hear(listener: Listener, *, leave_after: int | None = None) -> bytes:
    got: list[bytes] = []
    try:
        async with aclosing(listener.chunks(deadline())) as chunks:
            async for chunk in chunks:
                got.append(chunk.pcm)
                if len(got) == leave_after:
                    break
    finally:
        listener.close()
    return b"".join(got)


async def settled(board: FlightBoard) -> None:
    async with asyncio.timeout(2):
        while len(board):
            await asyncio.sleep(0.005)


async def test_twenty_equal_requests_make_one_call() -> None:
    voice, kept = FakeVoice(between_s=0.01), Kept()
    board = board_of(voice)
    heard = await asyncio.gather(*(hear(join(board, kept)) for _ in range(20)))
    await settled(board)
    assert voice.calls == 1
    assert set(heard) == {b"".join(voice.pieces)}
    assert len(kept.flights) == 1
    assert board.held_bytes == 0


async def test_a_late_follower_replays_from_the_first_byte() -> None:
    voice, kept = FakeVoice(), Kept()
    voice.gate = asyncio.Event()
    board = board_of(voice)
    first = asyncio.create_task(hear(join(board, kept)))
    await asyncio.sleep(0.05)
    follower = join(board, kept)
    assert follower.joined
    second = asyncio.create_task(hear(follower))
    await asyncio.sleep(0.02)
    voice.gate.set()
    assert await first == await second == b"".join(voice.pieces)


@pytest.mark.parametrize("leaver", range(3))
async def test_whoever_leaves_the_others_hear_everything(leaver: int) -> None:
    voice, kept = FakeVoice(between_s=0.03), Kept()
    board = board_of(voice)
    tasks = [asyncio.create_task(hear(join(board, kept))) for _ in range(3)]
    await asyncio.sleep(0.02)
    tasks[leaver].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results.pop(leaver), asyncio.CancelledError)
    assert results == [b"".join(voice.pieces)] * 2
    assert voice.calls == 1


async def test_a_paid_flight_runs_on_and_is_kept_when_all_left() -> None:
    voice, kept = FakeVoice(between_s=0.03), Kept()
    board = board_of(voice)
    assert await hear(join(board, kept), leave_after=1) == voice.pieces[0]
    assert voice.open == 1
    await settled(board)
    assert [len(f.chunks) for f in kept.flights] == [3]
    assert board.held_bytes == 0


async def test_a_private_flight_stops_when_its_listener_leaves() -> None:
    voice = FakeVoice(between_s=0.05)
    board = board_of(voice)
    await hear(join(board, None, share=False), leave_after=1)
    await settled(board)
    assert (voice.open, voice.closed_early) == (0, 1)
    assert board.held_bytes == 0


async def test_private_flights_neither_join_nor_lead() -> None:
    voice, kept = FakeVoice(between_s=0.01), Kept()
    board = board_of(voice)
    private = [join(board, None, share=False) for _ in range(2)]
    shared = join(board, kept)
    assert not shared.joined
    await asyncio.gather(*(hear(listener) for listener in [*private, shared]))
    assert voice.calls == 3


async def test_a_failure_is_an_error_for_all_and_not_kept() -> None:
    voice, kept = FakeVoice(error_before=[ProviderUnavailable("x", provider="elevenlabs")]), Kept()
    voice.first_after_s = 0.02
    board = board_of(voice)
    listeners = [join(board, kept) for _ in range(5)]
    results = await asyncio.gather(*(hear(item) for item in listeners), return_exceptions=True)
    assert all(isinstance(result, SpeechError) for result in results)
    await settled(board)
    assert not kept.flights
    assert await hear(join(board, kept)) == b"".join(voice.pieces)


async def test_truncation_is_an_error_for_all_and_not_kept() -> None:
    voice, kept = FakeVoice(error_after=StreamTruncated("cut", provider="elevenlabs")), Kept()
    voice.gate = asyncio.Event()
    board = board_of(voice)
    listeners = [join(board, kept) for _ in range(3)]
    tasks = [asyncio.create_task(hear(item)) for item in listeners]
    await asyncio.sleep(0.02)
    voice.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [StreamTruncated] * 3
    assert not kept.flights


async def test_a_cancelled_flight_is_told_apart_from_an_end() -> None:
    voice, kept = FakeVoice(), Kept()
    voice.gate = asyncio.Event()
    board = board_of(voice)
    task = asyncio.create_task(hear(join(board, kept)))
    await asyncio.sleep(0.02)
    await board.aclose()
    with pytest.raises(SpeechError):
        await task
    assert not kept.flights
    assert voice.open == 0


async def test_a_listener_that_comes_to_a_failed_flight_hears_nothing_of_it() -> None:
    voice, kept = FakeVoice(error_after=StreamTruncated("cut", provider="elevenlabs")), Kept()
    board = board_of(voice)
    listener = join(board, kept)
    await asyncio.sleep(0.05)
    with pytest.raises(StreamTruncated):
        await anext(listener.chunks(deadline()))
    listener.close()


async def test_the_audio_a_process_holds_is_bounded() -> None:
    voice, kept = FakeVoice(pieces=[tone(1000)] * 3), Kept()
    board = board_of(voice, max_bytes=100_000)
    with pytest.raises(SeiketsuError):
        await hear(join(board, kept))
    await settled(board)
    assert board.held_bytes == 0
    blocked = board_of(voice, max_bytes=0)
    with pytest.raises(Busy):
        join(blocked, kept)


async def test_joining_and_leaving_in_one_breath_leaves_nothing() -> None:
    voice = FakeVoice()
    board = board_of(voice)
    for share in (False, True):
        for _ in range(5):
            join(board, None, share=share).close()
    await settled(board)
    assert voice.open == 0
    assert await hear(join(board, Kept())) == b"".join(voice.pieces)
    await settled(board)


async def test_a_flight_that_is_being_stopped_is_not_joined() -> None:
    voice, kept = FakeVoice(), Kept()
    voice.gate = asyncio.Event()
    board = board_of(voice)
    await hear(join(board, None), leave_after=1)
    late = join(board, kept)
    assert not late.joined
    voice.gate.set()
    assert await hear(late) == b"".join(voice.pieces)
    await settled(board)


async def test_what_no_provider_was_asked_for_yet_is_not_bought_for_nobody() -> None:
    voice, kept = FakeVoice(), Kept()
    voice.gate = asyncio.Event()
    limiter = Limiter("test", limit=1, cap=1, queue_limit=9)
    board = FlightBoard(Race([Limited(voice, limiter)], reserve_s=1.0), max_bytes=LIMIT)
    first = asyncio.create_task(hear(join(board, kept, key="first")))
    await asyncio.sleep(0.02)
    for number in range(4):
        join(board, kept, key=f"later-{number}").close()
    await asyncio.sleep(0.02)
    voice.gate.set()
    await first
    await settled(board)
    assert voice.calls == 1


async def test_a_speech_without_end_is_an_error() -> None:
    voice = FakeVoice(pieces=[tone(30_000)] * 5)
    board = board_of(voice, max_bytes=100_000_000)
    with pytest.raises(SpeechError):
        await hear(join(board, Kept()))
    await settled(board)
    assert board.held_bytes == 0


async def test_newcomers_are_refused_before_those_under_way_are_cut() -> None:
    voice, kept = FakeVoice(pieces=[tone(1000)] * 3), Kept()
    voice.gate = asyncio.Event()
    board = board_of(voice, max_bytes=60_000 * 3)
    running = [asyncio.create_task(hear(join(board, kept, key=f"{n}"))) for n in range(3)]
    await asyncio.sleep(0.05)
    with pytest.raises(Busy):
        join(board, kept, key="new")
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await board.aclose()
