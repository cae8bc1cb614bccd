"""Speech that is streamed, written while it is spoken and interrupted: real voice, real port."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from benchmarks.decoders import decoder_for
from core.conversation.audio_frames import ENCODINGS, read_header
from core.embedded import EmbeddedRedis
from core.settings import GatewaySettings, RedisSettings, Settings, VoiceServerSettings
from tests.gateway.conftest import Start
from tests.gateway.fakes import FakeSpeech
from tests.gateway.server import Gateway
from tests.gateway.sessions import Talk, talk
from tests.gateway.test_session_handshake import refusal

TEXT = "Welcome to our office. The garden is old."
"""About as long as audio is sent ahead, so that no test waits for the pace."""


@pytest.fixture
async def voice(
    redis_state: EmbeddedRedis, redis_cache: EmbeddedRedis, voice_server: Path
) -> AsyncIterator[Gateway]:
    """The whole gateway with the local voice."""
    settings = Settings(
        gateway=GatewaySettings(session_idle_s=5),
        redis=RedisSettings(state_url=redis_state.url, cache_url=redis_cache.url),
        voices=VoiceServerSettings(socket=str(voice_server), processes=1),
    )
    with Gateway(settings, None) as opened:
        yield opened


class Listener:
    """Reads a session up to an event, and keeps what it heard."""

    def __init__(self, session: Talk) -> None:
        self._session = session
        self.events: list[dict[str, Any]] = []
        self.audio = b""
        self.encoding = "hex"

    async def until(self, *types: str) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while True:
                frame = await self._session.socket.recv()
                if isinstance(frame, bytes):
                    header = read_header(frame)
                    self.audio += frame[16:]
                    self.events.append({"type": "frame", "sequence": header.sequence})
                    continue
                event: dict[str, Any] = json.loads(frame)
                self.events.append(event)
                if event["type"] == "speech_started":
                    self.encoding = event["audio_encoding"]
                if event["type"] == "audio_chunk":
                    data = event["audio_data"]
                    plain = bytes.fromhex if self.encoding == "hex" else base64.b64decode
                    self.audio += plain(data)
                assert event["type"] in types or event["type"] != "error", event
                if event["type"] in types:
                    return event

    def words(self) -> str:
        found = [e["words"] for e in self.events if e["type"] == "alignment"]
        return " ".join(word["text"] for words in found for word in words)


async def test_every_encoding_and_both_ways_of_asking_carry_the_same_audio(voice: Gateway) -> None:
    heard: dict[str, bytes] = {}
    for encoding in ENCODINGS:
        query = f"?language=en&format=ulaw&audio_encoding={encoding}"
        async with talk(voice, query=query) as session:
            assert session.hello["audio_encoding"] == encoding
            listener = Listener(session)
            await session.say("synthesize", text=TEXT, stream=True)
            finished = await listener.until("speech_finished")
            heard[encoding] = listener.audio
            numbers = [event["sequence"] for event in listener.events]
            assert numbers == list(range(2, 2 + len(numbers)))
            assert listener.words().split()[:2] == ["Welcome", "to"]
            assert len(listener.audio) / 8 == pytest.approx(finished["metadata"]["duration_ms"], 5)
    assert heard["hex"] == heard["base64"] == heard["binary"]
    async with talk(voice, query="?language=en&format=ulaw") as session:
        reply = await session.ask("synthesize", text=TEXT)
    assert bytes.fromhex(reply["audio_data"]) == heard["hex"]
    assert reply["metadata"]["cached"] is True


async def test_speech_starts_while_the_text_is_written(voice: Gateway) -> None:
    async with talk(voice, query="?language=en&audio_encoding=binary") as session:
        listener = Listener(session)
        tokens = TEXT.replace(" ", " |").split("|")
        for token in tokens[:6]:
            await session.say("text", text=token, utterance_id="a")
        await listener.until("alignment")
        for token in tokens[6:]:
            await session.say("text", text=token)
        await session.say("end")
        finished = await listener.until("speech_finished")
    assert finished["metadata"]["text"] == TEXT
    assert listener.words() == TEXT
    decoder = decoder_for(finished["metadata"]["format"])
    samples = len(decoder.feed(listener.audio)) + len(decoder.finish())
    ms = samples / decoder.rate_hz * 1000
    assert ms == pytest.approx(finished["metadata"]["duration_ms"], abs=150)


@pytest.mark.alone
async def test_within_fifty_milliseconds_nothing_of_the_old_turn_is_sent(voice: Gateway) -> None:
    async with talk(voice, query="?language=en&format=pcm_8000") as session:
        slowest_ms = 0.0
        for turn in range(10):
            listener = Listener(session)
            text = f"Number {turn}. {TEXT} {TEXT}"
            await session.say("text", text=text, utterance_id=f"t{turn}")
            await listener.until("audio_chunk")
            asked = time.monotonic()
            await session.say("interrupt")
            event = await listener.until("interrupted")
            slowest_ms = max(slowest_ms, (time.monotonic() - asked) * 1000)
            assert event["utterance_id"] == f"t{turn}"
            assert event["spoken_text"] + event["remaining_text"] == text
            await session.say("ping")
            await listener.until("pong")
            kinds = [one["type"] for one in listener.events]
            after = kinds[kinds.index("interrupted") :]
            assert after == ["interrupted", "accepted", "pong"]
    print(f"\nthe slowest of 10 interruptions took {slowest_ms:.1f} ms")
    assert slowest_ms < 50


async def test_a_session_that_was_interrupted_leaves_nothing(voice: Gateway) -> None:
    idle = voice.tasks()
    async with talk(voice) as session:
        listener = Listener(session)
        for number in range(20):
            await session.say("text", text=f"{TEXT} {number}")
            if number % 3:
                await session.say("synthesize", text=TEXT, stream=True)
            await session.say("interrupt", command_id=str(number))
            await listener.until("accepted")
        await session.say("text", text="And now something")
    await asyncio.to_thread(voice.wait_until, lambda: voice.tasks() <= idle, 5)


async def test_whoever_holds_a_token_for_one_agent_cannot_configure_another(
    start: Start,
) -> None:
    gateway = start(api_keys=("first-key",))
    async with aiohttp.ClientSession(headers={"authorization": "Bearer first-key"}) as client:
        body = {"voice_agent_id": "agent_123", "language": "en", "session_id": "mine"}
        async with client.post(gateway.voice + "/sessions", json=body) as reply:
            token = (await reply.json())["token"]
    async with talk(gateway, "mine", f"?token={token}") as session:
        for wanted in ({"voice_agent_id": "agent_9"}, {"language": "zh"}):
            refused = await session.ask("configure", **wanted)
            assert (refused["type"], refused["code"]) == ("error", "token_invalid")
        assert (await session.ask("configure", format="wav"))["type"] == "configured"


@pytest.mark.parametrize("query", ["?audio_encoding=morse", "?format=nothing"])
async def test_what_a_session_cannot_use_is_refused_in_the_handshake(
    gateway: Gateway, query: str
) -> None:
    status, code, _ = await refusal(gateway, "s1", query)
    assert (status, code) in ((400, "invalid_request"), (422, "unsupported_format"))


async def test_a_slow_reader_is_told_and_closed(start: Start, speech: FakeSpeech) -> None:
    gateway = start(send_stall_s=1.5)
    speech.chunks = [b"x" * 400_000]
    async with talk(gateway, max_queue=1) as session:
        transport = session.socket.transport
        await session.say("ping")
        transport.pause_reading()
        for number in range(30):
            await session.say("synthesize", text=f"Text {number}.")
        await asyncio.sleep(1.25)
        transport.resume_reading()
        events: list[dict[str, Any]] = []
        with pytest.raises(ConnectionClosed) as closed:
            await _hear_all(session, events)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4008
    assert events[-1]["code"] == "client_too_slow"
    assert sum(event["type"] == "audio_response" for event in events) < 30
    await asyncio.to_thread(gateway.wait_until, lambda: gateway.connections() == 0)


async def _hear_all(session: Talk, events: list[dict[str, Any]]) -> None:
    while True:
        events.append(await session.hear())


async def test_many_sessions_stream_side_by_side(gateway: Gateway, speech: FakeSpeech) -> None:
    speech.between_s = 0.01

    async def one(number: int) -> int:
        async with talk(gateway, f"s{number}") as session:
            listener = Listener(session)
            await session.say("synthesize", text=f"Text {number}.", stream=True)
            await listener.until("speech_finished")
            return len(listener.audio)

    assert await asyncio.gather(*(one(n) for n in range(20))) == [len(b"onetwothree")] * 20
