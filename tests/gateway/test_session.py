"""The conversation: the protocol of the session, on a real port."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from core.errors import ProviderUnavailable
from tests.gateway.conftest import Start
from tests.gateway.fakes import Box, FakeSpeech, entry_of
from tests.gateway.server import Gateway
from tests.gateway.sessions import talk, url_of

PATH = "?voice_agent_id=agent_123&language=en"


async def test_a_browser_talks_as_the_guide_shows(gateway: Gateway, speech: FakeSpeech) -> None:
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(url_of(gateway, "session_123", PATH)) as socket,
    ):
        hello = await socket.receive_json()
        assert hello["type"] == "connection_established"
        assert hello["session_id"] == "session_123"
        assert (hello["voice_agent_id"], hello["language"]) == ("agent_123", "en")
        assert hello["capabilities"]["audio_encoding"] == "hex"
        assert "mp3" in hello["capabilities"]["formats"]
        assert hello["capabilities"]["languages"] == ["en", "es", "zh", "auto"]
        text = "Thank you for your interest in our properties."
        await socket.send_str(json.dumps({"type": "synthesize", "text": text}))
        reply = await socket.receive_json()
    assert reply["type"] == "audio_response"
    assert bytes.fromhex(reply["audio_data"]) == b"onetwothree"
    found = reply["metadata"]
    assert found["text"] == text
    assert (found["provider"], found["voice_id"], found["model"]) == ("fake", "v1", "m1")
    assert found["content_type"] == "audio/mpeg"
    assert found["characters"] == len(text)
    assert (found["cached"], found["fallback"], found["duration_ms"]) == (False, False, 500)
    assert 0 <= found["first_audio_ms"] <= found["processing_time_ms"]
    assert "command_id" not in reply
    assert speech.requests[-1].language == "en"


async def test_without_a_query_the_first_agent_speaks_and_the_text_decides(
    gateway: Gateway, speech: FakeSpeech
) -> None:
    async with talk(gateway) as session:
        assert session.hello["voice_agent_id"] == "agent_123"
        assert session.hello["language"] == "auto"
        await session.ask("synthesize", text="Hi.")
        assert speech.requests[-1].language is None
        reply = await session.ask("synthesize", text="Hola.", language="es", format="ulaw")
        assert speech.requests[-1].language == "es"
        assert reply["metadata"]["format"] == "ulaw_8000"


async def test_a_ping_is_answered_while_speech_is_made(
    gateway: Gateway, speech: FakeSpeech
) -> None:
    speech.first_after_s = 0.4
    async with talk(gateway) as session:
        await session.say("synthesize", text="Hello.", command_id="a")
        assert (await session.ask("ping", command_id="b"))["type"] == "pong"
        stats = await session.ask("get_stats")
        assert (stats["requests"], stats["served"], stats["waiting"]) == (1, 0, 1)
        spoken = await session.hear()
        assert (spoken["type"], spoken["command_id"]) == ("audio_response", "a")
        after = await session.ask("get_stats", command_id="c")
        assert (after["served"], after["failed"], after["waiting"]) == (1, 0, 0)
        assert after["audio_bytes"] == len(b"onetwothree")
        assert after["command_id"] == "c"


async def test_commands_are_spoken_in_order_and_the_one_too_many_is_refused(
    gateway: Gateway, speech: FakeSpeech
) -> None:
    speech.first_after_s = 0.05
    async with talk(gateway) as session:
        for number in range(10):
            await session.say("synthesize", text=f"Text {number}.", command_id=str(number))
        events = [await session.hear() for _ in range(10)]
    refused = [event for event in events if event["type"] == "error"]
    assert [event["code"] for event in refused] == ["session_busy"]
    assert refused[0]["retryable"] is True
    assert refused[0]["command_id"] == "9"
    spoken = [event["metadata"]["text"] for event in events if event["type"] == "audio_response"]
    assert spoken == [f"Text {number}." for number in range(9)]


async def test_an_error_names_its_command_and_the_session_goes_on(
    gateway: Gateway, speech: FakeSpeech, box: Box
) -> None:
    async with talk(gateway) as session:
        speech.fail_before = ProviderUnavailable("Down.", provider="fake")
        failed = await session.ask("synthesize", text="Hello.", command_id="x")
        assert (failed["type"], failed["code"]) == ("error", "provider_unavailable")
        assert failed["retryable"] is True
        assert failed["action"]
        assert failed["command_id"] == "x"
        assert failed["request_id"].startswith("req_")
        speech.fail_before = RuntimeError("a private text")
        broken = await session.ask("synthesize", text="Hello.")
        assert broken["code"] == "internal_error"
        assert "private" not in json.dumps(broken)
        speech.fail_before = None
        assert (await session.ask("synthesize", text="..."))["code"] == "text_empty"
        assert (await session.ask("synthesize", text="Hello."))["type"] == "audio_response"
    assert box.runtime is not None
    measured = box.runtime.recorder.snapshot()
    assert measured["requests"] == 4
    assert measured["errors"] == {
        "provider_unavailable": 1,
        "internal_error": 1,
        "text_empty": 1,
    }


async def test_audio_too_large_for_a_frame_points_to_the_stream(
    gateway: Gateway, speech: FakeSpeech
) -> None:
    async with talk(gateway) as session:
        speech.held["long"] = entry_of(b"x" * 450_001)
        speech.held["short"] = entry_of(b"x" * 449_000)
        refused = await session.ask("synthesize", text="long")
        assert refused["code"] == "frame_too_large"
        assert "/streaming/synthesize/streaming" in refused["action"]
        reply = await session.ask("synthesize", text="short")
        assert len(reply["audio_data"]) == 898_000
        assert reply["metadata"]["cached"] is True


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "[]",
        '{"text": "no type"}',
        '{"type": "sing"}',
        '{"type": "synthesize"}',
        '{"type": "synthesize", "text": 5}',
        '{"type": "synthesize", "text": "a", "volume": 3}',
        '{"type": "ping", "command_id": ""}',
        "[" * 5000,
        b"\x00\x01",
    ],
)
async def test_what_cannot_be_read_gets_an_error(gateway: Gateway, frame: str | bytes) -> None:
    async with talk(gateway) as session:
        await session.socket.send(frame)
        event = await session.hear()
        assert (event["type"], event["code"]) == ("error", "invalid_request")
        assert (await session.ask("ping"))["type"] == "pong"


async def test_twenty_bad_messages_in_a_row_end_the_session(gateway: Gateway) -> None:
    async with talk(gateway) as session:
        for _ in range(19):
            assert (await session.ask("sing"))["type"] == "error"
        assert (await session.ask("ping"))["type"] == "pong"
        for _ in range(20):
            assert (await session.ask("sing"))["type"] == "error"
        with pytest.raises(ConnectionClosed) as closed:
            await session.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_a_frame_over_64_kib_ends_the_session(gateway: Gateway) -> None:
    async with talk(gateway) as session:
        await session.socket.send("x" * (64 * 1024))
        assert (await session.hear())["code"] == "invalid_request"
        await session.socket.send("x" * (64 * 1024 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await session.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_session_that_says_nothing_is_closed_but_not_while_it_speaks(
    start: Start, speech: FakeSpeech
) -> None:
    gateway = start(session_idle_s=0.3)
    speech.first_after_s = 0.8
    async with talk(gateway) as session:
        assert (await session.ask("synthesize", text="Hello."))["type"] == "audio_response"
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(session.hear(), 3)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_a_client_that_leaves_takes_its_speech_with_it(
    gateway: Gateway, speech: FakeSpeech, box: Box
) -> None:
    speech.first_after_s = 30
    idle = gateway.tasks()
    async with talk(gateway) as session:
        for _ in range(3):
            await session.say("synthesize", text="Hello.")
        await asyncio.to_thread(gateway.wait_until, lambda: speech.opened == 1)
    await asyncio.to_thread(gateway.wait_until, lambda: speech.closed == 1)
    await asyncio.to_thread(gateway.wait_until, lambda: gateway.tasks() == idle)
    assert box.runtime is not None
    assert box.runtime.recorder.snapshot()["abandoned"] == 1


async def test_a_client_that_takes_nothing_is_cut_off(
    start: Start, speech: FakeSpeech, box: Box
) -> None:
    gateway = start(send_stall_s=0.5)
    speech.held["short"] = entry_of(b"x" * 400_000)
    idle = gateway.tasks()
    async with aiohttp.ClientSession() as client:
        socket = await client.ws_connect(url_of(gateway), max_msg_size=0)
        transport = socket._writer.transport
        assert transport is not None
        for _ in range(30):
            await socket.send_str('{"type": "synthesize", "text": "short"}')
        transport.pause_reading()
        await asyncio.to_thread(gateway.wait_until, lambda: gateway.connections() == 0, 10)
        await asyncio.to_thread(gateway.wait_until, lambda: gateway.tasks() == idle)
        transport.abort()


async def test_texts_and_tokens_reach_no_log(
    gateway: Gateway, speech: FakeSpeech, capsys: pytest.CaptureFixture[str]
) -> None:
    async with talk(gateway) as session:
        await session.ask("synthesize", text="a private sentence")
        speech.fail_before = RuntimeError("a private cause")
        await session.ask("synthesize", text="a private sentence")
    assert "private" not in "".join(capsys.readouterr())
