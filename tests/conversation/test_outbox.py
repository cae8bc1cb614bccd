"""Events on their way to a client that may be slow, gone or never reading."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import count

import pytest

from core.conversation.events import Pong
from core.conversation.outbox import ClientLost, Outbox, Turn


class Client:
    """Takes frames as long as it is open."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()
        self.gone = False
        self.lost = 0

    async def take(self, data: bytes, *, binary: bool) -> None:
        await self.open.wait()
        if self.gone:
            raise ConnectionResetError
        self.heard.append(data)

    def on_lost(self) -> None:
        self.lost += 1


def outbox_of(client: Client, slow_s: float = 5.0) -> Outbox:
    numbers = count(1)
    return Outbox(
        client.take, slow_s=slow_s, next_sequence=lambda: next(numbers), on_lost=client.on_lost
    )


async def put(outbox: Outbox, data: bytes, turn: Turn | None = None) -> int:
    return await outbox.put(lambda _: data, len(data), turn=turn)


async def put_all(outbox: Outbox, frames: list[bytes]) -> None:
    for frame in frames:
        await put(outbox, frame)


async def test_frames_arrive_in_order_and_a_quiet_box_has_no_task() -> None:
    client = Client()
    outbox = outbox_of(client)
    before = asyncio.all_tasks()
    await put_all(outbox, [str(number).encode() for number in range(100)])
    await outbox.flush()
    assert client.heard == [str(number).encode() for number in range(100)]
    assert asyncio.all_tasks() == before
    await outbox.aclose()


async def test_events_are_numbered_in_the_order_they_leave() -> None:
    client = Client()
    outbox = outbox_of(client)
    await asyncio.gather(
        *(outbox.tell(Pong(server_time_unix_s=1.0), size=300_000) for _ in range(50))
    )
    await outbox.flush()
    assert [json.loads(frame)["sequence"] for frame in client.heard] == list(range(1, 51))
    await outbox.aclose()


async def test_whoever_puts_waits_while_it_is_full() -> None:
    client = Client()
    outbox = outbox_of(client)
    client.open.clear()
    putting = asyncio.create_task(put_all(outbox, [b"x" * 400_000] * 5))
    await asyncio.sleep(0.02)
    assert not putting.done()
    client.open.set()
    await asyncio.wait_for(putting, 1)
    await outbox.flush()
    assert len(client.heard) == 5
    await outbox.aclose()


async def test_one_frame_of_any_size_may_pass() -> None:
    client = Client()
    outbox = outbox_of(client)
    await put(outbox, b"x" * 5_000_000)
    await outbox.flush()
    assert len(client.heard) == 1
    await outbox.aclose()


async def test_a_client_that_takes_nothing_is_too_slow_and_told_once() -> None:
    client = Client()
    outbox = outbox_of(client, slow_s=0.05)
    client.open.clear()
    await put(outbox, b"1")
    await asyncio.sleep(0.1)
    assert (outbox.lost, outbox.too_slow, client.lost) == (True, True, 1)
    with pytest.raises(ClientLost):
        await put(outbox, b"2")
    await outbox.aclose()
    assert client.lost == 1


async def test_a_client_that_takes_every_frame_late_is_too_slow_in_the_end() -> None:
    client = Client()

    async def late(data: bytes, *, binary: bool) -> None:
        await asyncio.sleep(0.02)
        await client.take(data, binary=binary)

    numbers = count(1)
    outbox = Outbox(late, slow_s=0.1, next_sequence=lambda: next(numbers), on_lost=client.on_lost)
    with pytest.raises(ClientLost):
        await put_all(outbox, [b"x"] * 100)
    assert outbox.too_slow
    assert 2 <= len(client.heard) <= 8
    await outbox.aclose()


async def test_a_full_box_of_a_lost_client_frees_whoever_waits() -> None:
    client = Client()
    outbox = outbox_of(client)
    client.open.clear()
    putting = asyncio.create_task(put_all(outbox, [b"x" * 600_000] * 3))
    await asyncio.sleep(0.02)
    client.gone = True
    client.open.set()
    with pytest.raises(ClientLost):
        await asyncio.wait_for(putting, 1)
    assert (client.lost, outbox.too_slow) == (1, False)
    await outbox.aclose()


async def test_dropping_leaves_what_is_no_speech_and_says_where_audio_ends() -> None:
    client = Client()
    outbox = outbox_of(client)
    client.open.clear()
    for number, turn in enumerate([Turn(1, 0.0), None, Turn(1, 200.0), Turn(2), Turn(2, 0.0)]):
        await put(outbox, b"%d" % number, turn)
    await asyncio.sleep(0.01)  # the writer waits with the first in its hands
    assert outbox.drop_turns() == {1: 0.0, 2: 0.0}
    await put(outbox, b"after")
    client.open.set()
    await outbox.flush()
    assert client.heard == [b"1", b"after"]
    assert outbox.drop_turns() == {}
    await outbox.aclose()


async def test_dropping_makes_room() -> None:
    client = Client()
    outbox = outbox_of(client)
    client.open.clear()
    await put(outbox, b"x" * 900_000, Turn(1, 0.0))
    putting = asyncio.create_task(put(outbox, b"x" * 900_000))
    await asyncio.sleep(0.01)
    assert not putting.done()
    outbox.drop_turns()
    await asyncio.wait_for(putting, 1)
    client.open.set()
    await outbox.flush()
    assert len(client.heard) == 1
    await outbox.aclose()


async def test_answers_do_not_wait_for_audio() -> None:
    client = Client()
    outbox = outbox_of(client)
    client.open.clear()
    speech = [asyncio.create_task(put(outbox, b"x", Turn(1, float(n)))) for n in range(40)]
    await asyncio.sleep(0.01)
    assert sum(task.done() for task in speech) < 40
    for _ in range(8):
        await asyncio.wait_for(put(outbox, b"answer"), 0.1)
    client.open.set()
    await asyncio.gather(*speech)
    await outbox.flush()
    assert len(client.heard) == 48
    await outbox.aclose()


async def test_a_process_that_was_held_up_does_not_blame_its_client() -> None:
    client = Client()
    outbox = outbox_of(client, slow_s=0.05)
    client.open.clear()
    await put(outbox, b"first")
    await put(outbox, b"second")
    await asyncio.sleep(0.01)
    time.sleep(0.25)  # noqa: ASYNC251 - nothing else of the process is to run
    asyncio.get_running_loop().call_later(0.02, client.open.set)
    await outbox.flush()
    await asyncio.sleep(0.2)
    assert client.heard == [b"first", b"second"]
    assert (client.lost, outbox.too_slow, outbox.lost) == (0, False, False)
    await outbox.aclose()


async def test_a_client_that_takes_nothing_is_too_slow_though_the_process_was_held_up() -> None:
    client = Client()
    outbox = outbox_of(client, slow_s=0.05)
    client.open.clear()
    await put(outbox, b"first")
    await asyncio.sleep(0.01)
    time.sleep(0.25)  # noqa: ASYNC251 - nothing else of the process is to run
    await asyncio.sleep(0.3)
    assert (client.lost, outbox.too_slow, outbox.lost) == (1, True, True)
    await outbox.aclose()
