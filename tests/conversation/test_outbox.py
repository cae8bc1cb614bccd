"""Events on their way to a client that may be slow, gone or never reading."""

from __future__ import annotations

import asyncio

import pytest

from core.conversation.outbox import ClientLost, Outbox


class Client:
    """Takes frames as long as it is open."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()
        self.gone = False
        self.lost = 0

    async def take(self, frame: bytes) -> None:
        await self.open.wait()
        if self.gone:
            raise ConnectionResetError
        self.heard.append(frame)

    def on_lost(self) -> None:
        self.lost += 1


def outbox_of(client: Client, stall_s: float = 5.0) -> Outbox:
    return Outbox(client.take, stall_s=stall_s, on_lost=client.on_lost)


async def test_frames_arrive_in_order_and_a_quiet_box_has_no_task() -> None:
    client = Client()
    outbox = outbox_of(client)
    before = asyncio.all_tasks()
    for number in range(100):
        await outbox.put(str(number).encode())
    await outbox.flush()
    assert client.heard == [str(number).encode() for number in range(100)]
    assert asyncio.all_tasks() == before
    await outbox.aclose()


async def test_whoever_puts_waits_while_it_is_full() -> None:
    client = Client()
    outbox = outbox_of(client)
    client.open.clear()
    putting = asyncio.create_task(_put_all(outbox, [b"x" * 400_000] * 5))
    await asyncio.sleep(0.02)
    assert not putting.done()
    client.open.set()
    await asyncio.wait_for(putting, 1)
    await outbox.flush()
    assert len(client.heard) == 5
    await outbox.aclose()


async def _put_all(outbox: Outbox, frames: list[bytes]) -> None:
    for frame in frames:
        await outbox.put(frame)


async def test_one_frame_of_any_size_may_pass() -> None:
    client = Client()
    outbox = outbox_of(client)
    await outbox.put(b"x" * 5_000_000)
    await outbox.flush()
    assert len(client.heard) == 1
    await outbox.aclose()


async def test_a_client_that_takes_nothing_is_lost_and_told_once() -> None:
    client = Client()
    outbox = outbox_of(client, stall_s=0.05)
    client.open.clear()
    await outbox.put(b"1")
    await asyncio.sleep(0.1)
    assert (outbox.lost, client.lost) == (True, 1)
    with pytest.raises(ClientLost):
        await outbox.put(b"2")
    await outbox.aclose()
    assert client.lost == 1


async def test_a_full_box_of_a_lost_client_frees_whoever_waits() -> None:
    client = Client()
    outbox = outbox_of(client)
    client.open.clear()
    putting = asyncio.create_task(_put_all(outbox, [b"x" * 600_000] * 3))
    await asyncio.sleep(0.02)
    client.gone = True
    client.open.set()
    with pytest.raises(ClientLost):
        await asyncio.wait_for(putting, 1)
    assert client.lost == 1
    await outbox.aclose()
