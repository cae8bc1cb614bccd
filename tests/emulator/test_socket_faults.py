"""Each fault of the WebSockets as a client feels it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import numpy as np
import pytest

from benchmarks.emulator.errors import ERRORS
from benchmarks.emulator.process import EmulatorProcess
from tests.emulator.conftest import KEY, RACHEL
from tests.emulator.sockets import (
    FLASH,
    MULTI,
    SINGLE,
    Client,
    Frame,
    audio_of,
    connected,
    says,
    settled,
    socket_url,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november"


async def _ask(client: Client, context_id: str = "c") -> None:
    await client.say(
        {"text": " ", "context_id": context_id},
        {"text": TEXT, "context_id": context_id, "flush": True},
        {"context_id": context_id, "close_context": True},
    )


async def _fault(emulator: EmulatorProcess, kind: str, **fields: Any) -> None:
    await emulator.set_fault(kind, routes=[SINGLE, MULTI], **fields)


def _audio_frames(frames: list[Frame]) -> int:
    return sum(bool(frame.get("audio")) for frame in frames)


@pytest.mark.parametrize("code", ["system_busy", "internal_error", "unauthorized", "plain_error"])
async def test_a_code_refuses_the_handshake(
    emulator: EmulatorProcess, http: aiohttp.ClientSession, code: str
) -> None:
    await _fault(emulator, code, count=1)
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(socket_url(emulator))
    assert caught.value.status == ERRORS[code].http_status
    async with connected(http, socket_url(emulator)) as client:
        await _ask(client)
        assert says(await client.until_final(), TEXT)
    assert [note.status for note in await emulator.sockets()] == [caught.value.status, 101]


async def test_an_upgrade_may_be_left_unanswered(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await _fault(emulator, "unanswered")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await http.ws_connect(socket_url(emulator))
    await _fault(emulator, "unanswered", delay_ms=100)
    began_s = time.monotonic()
    async with connected(http, socket_url(emulator)):
        assert time.monotonic() - began_s > 0.09
    late, good = await settled(emulator)
    assert (late.status, good.status, good.fault) == (None, 101, "unanswered")


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("kind", ["reset", "truncate"])
async def test_a_cut_socket_has_no_close_frame(
    emulator: EmulatorProcess, http: aiohttp.ClientSession, kind: str, after: int
) -> None:
    await _fault(emulator, kind, after_frames=after)
    async with connected(http, socket_url(emulator)) as client:
        await _ask(client)
        frames = await client.until_closed()
    assert client.close_code == 1006
    # A reset may overtake what was sent before it.
    assert _audio_frames(frames) == after or (kind == "reset" and _audio_frames(frames) < after)
    (note,) = await settled(emulator)
    assert (note.close_code, note.closed_by, note.contexts[0].fault) == (None, "emulator", kind)
    assert (note.contexts[0].frames, note.contexts[0].final_s) == (after, None)


async def test_a_truncated_context_may_look_whole(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await _fault(emulator, "truncate", end="clean")
    async with connected(http, socket_url(emulator)) as client:
        await _ask(client)
        frames = await client.until_final()
    assert (_audio_frames(frames), frames[-1]["isFinal"]) == (1, True)
    assert not says(frames, TEXT)


async def test_a_stalled_context_leaves_the_others_alone(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await _fault(emulator, "stall", after_frames=2, count=1)
    async with connected(http, socket_url(emulator)) as client:
        await _ask(client, "stalled")
        await _ask(client, "well")
        frames = await client.until_final()
        assert says([f for f in frames if f["contextId"] == "well"], TEXT)
        assert _audio_frames([f for f in frames if f["contextId"] == "stalled"]) == 2
        assert await client.silent()
        await client.socket.ping()
        await _ask(client, "next")
        assert says(await client.until_final(), TEXT)


async def test_a_half_open_socket_answers_nothing_not_even_pings(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await _fault(emulator, "silent", after_frames=1, count=1)
    async with connected(http, socket_url(emulator), heartbeat=0.2) as client:
        await _ask(client, "one")
        assert await client.frame() is not None
        await asyncio.sleep(0.05)
        await _ask(client, "other")
        assert await client.until_closed() == []
        assert client.close_code == 1006
    (note,) = await settled(emulator)
    assert note.contexts[0].frames == 1


async def test_an_error_frame_ends_its_context_or_the_socket(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await _fault(emulator, "error_frame", error="odd", message="Odd.", after_frames=1, count=1)
    async with connected(http, socket_url(emulator)) as client:
        await client.say({"text": TEXT, "context_id": "odd"})
        _, error = await client.frame(), await client.frame()
        assert error is not None
        assert (error["error"], error["contextId"], error["context_id"]) == ("odd", "odd", "odd")
        await _ask(client, "odd")
        assert says(await client.until_final(), TEXT)
    await _fault(emulator, "error_frame", with_context=False, code=1011)
    async with connected(http, socket_url(emulator)) as client:
        await _ask(client)
        (error,) = await client.until_closed()
        assert set(error) == {"message", "error", "code"}
        assert (error["code"], client.close_code, client.reason) == (1011, 1011, error["message"])
    first, second = await settled(emulator)
    assert [note.failed for note in first.contexts] == [True, False]
    assert (first.active, second.close_code) == (0, 1011)


async def test_the_socket_may_be_closed_with_any_code(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await _fault(emulator, "close", code=1012, message="Restart.", after_frames=1)
    async with connected(http, socket_url(emulator, SINGLE)) as client:
        await client.say({"text": TEXT}, {"text": ""})
        frames = await client.until_closed()
    assert (_audio_frames(frames), client.close_code, client.reason) == (1, 1012, "Restart.")


async def test_without_its_final_frame_a_context_counts_for_ever(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await _fault(emulator, "no_final")
    async with connected(http, socket_url(emulator)) as client:
        for at in range(5):
            await _ask(client, f"c{at}")
            assert says(await client.piece(), TEXT)
        await _ask(client, "c5")
        (error,) = await client.until_closed()
    assert error["error"] == "max_active_conversations"


async def test_slow_comes_late_and_other_contexts_in_time(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await _fault(emulator, "slow", delay_ms=250, count=1)
    async with connected(http, socket_url(emulator)) as client:
        await _ask(client, "slow")
        await _ask(client, "well")
        frames = await client.until_final(finals=2)
    order = [frame["contextId"] for frame in frames if frame["isFinal"]]
    assert order == ["well", "slow"]
    assert says([f for f in frames if f["contextId"] == "slow"], TEXT)


async def test_wrong_audio(emulator: EmulatorProcess, http: aiohttp.ClientSession) -> None:
    async def hear(kind: str) -> list[Frame]:
        await _fault(emulator, kind)
        async with connected(http, socket_url(emulator)) as client:
            await _ask(client)
            return await client.until_final()

    assert np.frombuffer(audio_of(await hear("garbage")), "<i2").std() > 10_000
    zero = audio_of(await hear("zero"))
    assert len(zero) > 100_000
    assert not any(zero)
    assert audio_of(await hear("empty")) == b""
    await _fault(emulator, "broken_json")
    async with connected(http, socket_url(emulator)) as client:
        await _ask(client)
        with pytest.raises(ValueError, match=r"delimiter|Expecting"):
            await client.frame()


async def test_rules_for_requests_and_for_sockets_do_not_touch_each_other(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await emulator.set_faults({"kind": "internal_error"}, {"kind": "no_final", "routes": [MULTI]})
    async with connected(http, socket_url(emulator, SINGLE)) as client:
        await client.say({"text": TEXT}, {"text": ""})
        assert says(await client.until_final(), TEXT)
    url = f"{emulator.url}/v1/text-to-speech/{RACHEL}/stream"
    async with http.post(url, json={"text": TEXT, "model_id": FLASH}) as reply:
        assert reply.status == 500
    with pytest.raises(ValueError, match="code"):
        await emulator.set_fault("close", code=999)


async def test_a_client_that_leaves_frees_its_place_and_its_contexts_at_once(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await _fault(emulator, "stall")
    async with aiohttp.ClientSession(headers={"xi-api-key": KEY}) as other:
        socket = await other.ws_connect(socket_url(emulator))
        client = Client(socket)
        await _ask(client, "one")
        await _ask(client, "other")
        await client.frame()
        assert (await emulator.state())["gates"]["flash"]["active"] == 2
        assert socket._response.connection is not None
        assert socket._response.connection.transport is not None
        socket._response.connection.transport.abort()
        (note,) = await settled(emulator)
        await socket.close()
    assert (note.closed_by, note.close_code) == ("lost", None)
    assert (await emulator.state())["gates"]["flash"]["active"] == 0
