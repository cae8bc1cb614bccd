"""The WebSockets of text-to-speech, as a client of the vendor meets them."""

from __future__ import annotations

import asyncio
import hashlib
import math
from typing import Any

import aiohttp
import pytest

from benchmarks.emulator.process import EmulatorProcess
from tests.emulator.sockets import (
    FLASH,
    MULTI,
    SINGLE,
    Client,
    Frame,
    audio_of,
    connected,
    init,
    says,
    settled,
    socket_url,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "The garden is large and the kitchen is new, as you will see. "
MORE = "Would Tuesday at five suit you? "

RECORDED_AUDIO: Frame = {
    "audio": "AAAA",
    "isFinal": None,
    "alignment": {
        "chars": ["H", "e", "l", " "],
        "charStartTimesMs": [0, 116, 267, 383],
        "charDurationsMs": [116, 151, 116, 174],
    },
    "normalizedAlignment": {
        "chars": [" ", "H", "e", "l", " "],
        "charStartTimesMs": [0, 58, 116, 267, 383],
        "charDurationsMs": [58, 58, 151, 116, 174],
    },
}
RECORDED_TAIL: Frame = RECORDED_AUDIO | {"alignment": None, "normalizedAlignment": None}
RECORDED_FINAL: Frame = RECORDED_TAIL | {"audio": None, "isFinal": True}
RECORDED_ERROR: Frame = {
    "message": "A voice with voice_id X does not exist.",
    "error": "voice_id_does_not_exist",
    "code": 1008,
}


def _kinds(tree: Any) -> Any:
    """Keys in order, and types; of a list those of its first item."""
    if isinstance(tree, dict):
        return [(name, _kinds(value)) for name, value in tree.items()]
    return [_kinds(tree[0])] if isinstance(tree, list) else type(tree)


def _whole(context_id: str, text: str) -> tuple[Frame, Frame, Frame]:
    return (
        init(context_id),
        {"text": text, "context_id": context_id, "flush": True},
        {"context_id": context_id, "close_context": True},
    )


def _of(frames: list[Frame], context_id: str) -> list[Frame]:
    return [frame for frame in frames if frame["contextId"] == context_id]


def _spoken(frames: list[Frame], key: str = "alignment") -> str:
    return "".join(c for frame in frames if frame[key] for c in frame[key]["chars"])


async def test_frames_are_those_recorded(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    async with connected(http, socket_url(emulator, SINGLE)) as client:
        await client.say(init(), {"text": "Hel "}, {"text": "", "flush": True}, {"text": ""})
        first, tail, final = await client.until_final()
        assert await client.until_closed() == []
    assert _kinds(first) == _kinds(RECORDED_AUDIO)
    assert (_kinds(tail), _kinds(final)) == (_kinds(RECORDED_TAIL), _kinds(RECORDED_FINAL))
    assert final == RECORDED_FINAL
    for key in ("alignment", "normalizedAlignment"):
        assert first[key]["chars"] == RECORDED_AUDIO[key]["chars"]
        assert first[key]["charStartTimesMs"][0] == 0
    assert len(tail["audio"]) < len(first["audio"]) / 4
    assert (client.close_code, client.reason) == (1000, "")
    async with connected(http, socket_url(emulator, SINGLE, voice="X")) as client:
        await client.say(init())
        assert await client.until_closed() == [RECORDED_ERROR]
        assert (client.close_code, client.reason) == (1008, RECORDED_ERROR["message"])


async def test_frames_of_a_context_name_it_in_both_spellings(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    async with connected(http, socket_url(emulator)) as client:
        await client.say(*_whole("c", TEXT))
        frames = await client.until_final()
    for frame in frames:
        assert list(frame)[:4] == list(RECORDED_AUDIO)
        assert frame["contextId"] == frame["context_id"] == "c"
    assert says(frames, TEXT)


async def test_times_restart_in_every_frame_and_every_character_comes_once(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    text = (TEXT * 4).strip()
    async with connected(http, socket_url(emulator)) as client:
        await client.say(*_whole("c", text))
        frames = await client.until_final()
    aligned = [frame for frame in frames if frame["alignment"]]
    assert len(aligned) > 4
    assert _spoken(frames) == text + " "
    assert _spoken(frames, "normalizedAlignment") == f" {text} "
    for frame in aligned:
        length_ms = len(audio_of([frame])) / 48
        starts = frame["alignment"]["charStartTimesMs"]
        assert starts == sorted(starts)
        assert 0 <= starts[0] <= starts[-1] <= length_ms + 60
    assert 16_000 < max(len(audio_of([frame])) for frame in aligned) < 32_000


async def test_texts_of_a_context_follow_each_other_and_contexts_do_not_mix(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    texts = {f"c{at}": f"{word} {TEXT}{MORE}" for at, word in enumerate(("alpha", "bravo", "lima"))}
    async with connected(http, socket_url(emulator)) as client:
        for context_id in texts:
            await client.say(init(context_id))
        for context_id, text in texts.items():
            for word in text.split():
                await client.say({"text": f"{word} ", "context_id": context_id})
        for context_id in texts:
            await client.say({"context_id": context_id, "close_context": True})
        frames = await client.until_final(finals=3)
    for context_id, text in texts.items():
        found = _of(frames, context_id)
        assert says(found, text)
        assert [frame["isFinal"] for frame in found[:-1]] == [None] * (len(found) - 1)
    (socket,) = await settled(emulator)
    assert (socket.opened, socket.ended, socket.active, socket.most_active) == (3, 3, 0, 3)
    note = socket.contexts[0]
    received = f" alpha {TEXT}{MORE}"
    assert note.text_sha256 == hashlib.sha256(received.encode()).hexdigest()
    assert note.credits == math.ceil((len(received) - 1) / 2)


async def test_a_flush_alone_gives_no_final_frame(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    async with connected(http, socket_url(emulator, auto_mode="false")) as client:
        await client.say(init("c"), {"text": TEXT, "context_id": "c"})
        assert await client.silent()
        await client.say({"context_id": "c", "flush": True})
        frames = await client.piece()
        assert await client.silent()
        await client.say({"text": MORE, "context_id": "c"}, {"context_id": "c", "flush": True})
        await client.say({"context_id": "c", "close_context": True})
        rest = await client.until_final()
    heard = [*frames, *rest]
    assert says(heard, TEXT + MORE)
    assert sum(frame["isFinal"] is True for frame in heard) == 1


async def test_text_is_spoken_when_the_schedule_says_and_what_a_close_leaves_is_dropped(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    schedule = {"generation_config": {"chunk_length_schedule": [60, 500]}}
    async with connected(http, socket_url(emulator, auto_mode="false")) as client:
        await client.say(init("c", **schedule), {"text": TEXT, "context_id": "c"})
        first = await client.frame()
        await client.say(
            {"text": "never heard ", "context_id": "c"}, {"context_id": "c", "close_context": True}
        )
        frames = await client.until_final()
        assert first is not None
        assert says([first, *frames], TEXT)
        await client.say(init("d", generation_config={"chunk_length_schedule": [49]}))
        (error,) = await client.until_closed()
    assert error["error"] == "invalid_parameters"


async def test_a_word_in_two_messages_of_auto_mode_is_two_pieces(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    async with connected(http, socket_url(emulator, SINGLE)) as client:
        await client.say(init(), {"text": "Hel"}, {"text": "lo "}, {"text": ""})
        frames = await client.until_final()
    assert _spoken(frames) == "Hel lo "
    assert says(frames, "Hel lo")


async def test_a_sixth_context_ends_the_socket(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    async with connected(http, socket_url(emulator)) as client:
        await client.say(*(init(f"c{at}") for at in range(5)))
        await client.say(init("c5"))
        (error,) = await client.until_closed()
    assert (error["error"], error["code"], client.close_code) == (
        "max_active_conversations",
        1008,
        1008,
    )
    assert error["message"].startswith(
        "Maximum simultaneous contexts per WebSocket connection exceeded (5)"
    )
    (socket,) = await settled(emulator)
    assert (socket.opened, socket.most_active, socket.closed_by_client) == (5, 5, 0)
    assert [note.final_s for note in socket.contexts] == [None] * 5


async def test_a_context_counts_until_its_final_frame(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await emulator.set_fault("stall", routes=[MULTI], after_frames=0, delay_ms=200, count=1)
    async with connected(http, socket_url(emulator)) as client:
        await client.say(*_whole("slow", TEXT), *(init(f"c{at}") for at in range(4)))
        await asyncio.sleep(0.05)
        await client.say(init("c4"))
        assert (await client.until_closed())[-1]["error"] == "max_active_conversations"
    await emulator.clear_faults()
    async with connected(http, socket_url(emulator)) as client:
        for _ in range(8):
            await client.say(*_whole("again", MORE))
            assert says(await client.until_final(), MORE)
    socket = (await settled(emulator))[-1]
    assert (socket.opened, socket.closed_by_client, socket.ended) == (8, 8, 8)
    assert socket.most_active == 1


async def test_an_id_used_again_before_its_end_is_another_context(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await emulator.set_fault("stall", routes=[MULTI], delay_ms=300, count=1)
    async with connected(http, socket_url(emulator)) as client:
        await client.say(*_whole("c", TEXT), *_whole("c", MORE), {"close_socket": True})
        frames = await client.until_closed()
    assert sum(bool(frame["isFinal"]) for frame in frames) == 2
    assert client.close_code == 1000
    (socket,) = await settled(emulator)
    assert (socket.opened, socket.most_active, socket.closed_by) == (2, 2, "emulator")


async def test_closing_the_socket_finishes_every_context(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    async with connected(http, socket_url(emulator, auto_mode="false")) as client:
        await client.say(init("c"), {"text": TEXT, "context_id": "c"}, init(), {"text": MORE})
        await client.say({"close_socket": True}, {"text": "ignored", "context_id": "late"})
        frames = await client.until_closed()
    assert says(_of(frames, "c"), TEXT)
    assert says(_of(frames, "default"), MORE)
    assert sum(bool(frame["isFinal"]) for frame in frames) == 2
    assert client.close_code == 1000


async def test_keep_alives_open_nothing_and_stop_the_clock(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    url = socket_url(emulator, inactivity_timeout="1")

    async def kept(client: Client) -> None:
        for _ in range(4):
            await asyncio.sleep(0.3)
            await client.say({"text": "", "context_id": "c"}, {"text": ""})

    async with connected(http, url) as client:
        await kept(client)
        await client.say(*_whole("c", MORE))
        await client.until_final()
        (error,) = await client.until_closed()
    assert (error["error"], error["code"]) == ("input_timeout_exceeded", 1008)
    assert "within the timeout of 1.0 seconds" in error["message"]
    (socket,) = await settled(emulator)
    assert (socket.opened, socket.query["inactivity_timeout"]) == (1, "1")


async def test_changed_voice_settings_close_with_a_reason_alone(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    settings = {"voice_settings": {"stability": 0.4}}
    async with connected(http, socket_url(emulator)) as client:
        await client.say(init("c", **settings), {"text": MORE, "context_id": "c", **settings})
        await client.piece()
        await client.say({"text": "x ", "context_id": "c", "voice_settings": {"stability": 0.5}})
        assert all("error" not in frame for frame in await client.until_closed())
    assert client.close_code == 1008
    assert client.reason == (
        "voice_settings field must be provided in the first message and then either be not "
        "provided or not change."
    )


async def test_only_generating_counts_towards_the_plan_and_credits_are_those_of_the_text(
    http: aiohttp.ClientSession,
) -> None:
    options = ("--audio", "coded", "--latency", "none", "--close-ms", "0", "--queue-ms", "1")
    async with EmulatorProcess(*options, "--concurrency", "1", "--credits", "40") as emulator:
        url = socket_url(emulator)
        async with connected(http, url) as one, connected(http, url) as other:
            await one.say(init("c"))
            await other.say(init("c"))
            for client in (one, other, one):
                await client.say({"text": "x" * 20 + " ", "context_id": "c"})
                await client.piece()
            state = await emulator.state()
            assert (state["credits_used"], state["gates"]["flash"]["peak"]) == (32, 1)
            assert (state["gates"]["flash"]["active"], state["sockets"]["open"]) == (0, 2)
            await one.say({"text": "x" * 20 + " ", "context_id": "c"})
            (spent,) = await one.until_closed()
            assert spent["error"] == "quota_exceeded"
            assert spent["message"].startswith("This request exceeds your quota of 40.")
        await emulator.set_fault("stall", routes=["stream"], after_bytes=0)
        body = {"text": "Hello.", "model_id": FLASH}
        stream = f"{emulator.url}/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM/stream"
        async with http.post(stream, json=body), connected(http, url) as client:
            await client.say(init("c"), {"text": "Hi. ", "context_id": "c"})
            (refused,) = await client.until_closed()
            assert (refused["error"], client.close_code) == ("concurrent_limit_exceeded", 1008)
