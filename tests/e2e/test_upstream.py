"""The whole gateway with the provider's emulator behind it, heard from outside."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from benchmarks.listener import Heard, Pace, Piece, listen, narrow_session, play
from benchmarks.phrases import phrases
from benchmarks.stack import Stack, open_stack
from benchmarks.wordcode import decode, matches_segments
from core.text.languages import Language
from tests.sentences import SENTENCES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]

STREAM = "/api/v1/voice/streaming/synthesize/streaming"
WHOLE = "/api/v1/voice/synthesize"
EMULATOR = ("--audio", "coded", "--latency", "flash", "--concurrency", "60", "--seed", "3")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with open_stack(emulator=EMULATOR) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def http(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    assert stack.emulator is not None
    await stack.emulator.clear_faults()
    await stack.emulator.clear_calls()
    connector = aiohttp.TCPConnector(limit=100)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session
    await stack.emulator.clear_faults()


def body(text: str, **fields: Any) -> dict[str, Any]:
    return {"text": text, "voice_agent_id": "agent_123", "language": "en"} | fields


async def stream(http: aiohttp.ClientSession, stack: Stack, text: str, **fields: Any) -> Heard:
    return await listen(http, "POST", stack.base_url + STREAM, json=body(text, **fields))


async def whole(
    http: aiohttp.ClientSession, stack: Stack, text: str, **fields: Any
) -> dict[str, Any]:
    heard = await listen(http, "POST", stack.base_url + WHOLE, json=body(text, **fields))
    assert heard.status == 200, heard.body
    reply: dict[str, Any] = heard.json()
    reply["_ms"] = heard.total_ms
    return reply


async def upstream_calls(stack: Stack) -> int:
    assert stack.emulator is not None
    return len(await stack.emulator.calls())


LONG = (
    "Thank you for calling about the house on the hill. It has four bedrooms and a large garden. "
    "Would you like to see it on Friday? I can meet you at the station."
)


async def test_the_limit_follows_the_providers_own_up_to_the_cap(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    await whole(http, stack, "The office opens at nine in the morning.")
    assert (await stack.performance())["under_way"]["elevenlabs_limit"] == 50


async def test_fifty_at_once_get_a_link_each(stack: Stack, http: aiohttp.ClientSession) -> None:
    texts = [
        f"Apartment {letter} is on the {floor} floor."
        for letter in "ABCDEFGHIJ"
        for floor in ("first", "second", "third", "fourth", "fifth")
    ]
    replies = await asyncio.gather(*(whole(http, stack, text) for text in texts))
    assert all(reply["audio_url"] for reply in replies)
    links = [stack.base_url + reply["audio_url"] for reply in replies]
    heard = await asyncio.gather(*(listen(http, "GET", link) for link in links))
    assert {h.status for h in heard} == {200}


async def test_every_word_is_heard_once_and_in_order(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    heard = await stream(http, stack, LONG)
    assert heard.complete
    assert heard.headers["x-provider"] == "elevenlabs"
    listening = heard.listening()
    assert listening.error is None
    assert not listening.underruns
    verdict = matches_segments(LONG, decode(listening.pcm, listening.rate_hz))
    assert verdict.ok, verdict


async def test_a_long_text_starts_as_early_as_a_short_one(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    short = [await stream(http, stack, text, format="pcm") for text in phrases(3, seed=21)]
    texts = [" ".join(phrases(6, seed=seed)) for seed in range(31, 34)]
    long = [await stream(http, stack, text, format="pcm") for text in texts]

    def median(heard: list[Heard]) -> float:
        times = sorted(h.listening(whole=False).first_audio_ms or 9e9 for h in heard)
        return times[len(times) // 2]

    assert median(long) < median(short) + 100


async def test_twenty_equal_requests_are_one_call_and_start_together(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    text = "The viewing on Thursday afternoon is confirmed for you."
    heard = await asyncio.gather(*(stream(http, stack, text, format="pcm") for _ in range(20)))
    assert await upstream_calls(stack) == 1
    assert len({h.body for h in heard}) == 1
    firsts = [h.pieces[0].at_s for h in heard]
    assert max(firsts) - min(firsts) < 0.05
    verdict = matches_segments(text, decode(heard[0].body, 24_000))
    assert verdict.ok, verdict


async def test_one_sentence_in_three_formats_at_once_is_one_call(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    text = "The caretaker will hand over the keys on Friday."
    heard = await asyncio.gather(
        *(stream(http, stack, text, format=name) for name in ("mp3", "ulaw", "opus"))
    )
    assert await upstream_calls(stack) == 1
    for listening in (h.listening() for h in heard):
        assert listening.error is None
        verdict = matches_segments(text, decode(listening.pcm, listening.rate_hz))
        assert verdict.ok, verdict


@pytest.mark.parametrize("language", ["es", "zh"])
async def test_every_word_of_every_language_is_heard_once_and_in_order(
    stack: Stack, http: aiohttp.ClientSession, language: Language
) -> None:
    sentences = SENTENCES[language][:4]
    text = ("" if language == "zh" else " ").join(sentences)
    heard = await stream(http, stack, text, language="auto")
    assert (heard.headers["x-language"], heard.headers["x-provider"]) == (language, "elevenlabs")
    listening = heard.listening()
    assert not listening.underruns
    verdict = matches_segments(text, decode(listening.pcm, listening.rate_hz))
    assert verdict.ok, verdict


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "silent"},
        pytest.param({"kind": "silent", "headers": True}, marks=pytest.mark.long),
        {"kind": "reset"},
        {"kind": "truncate", "end": "abort"},
        pytest.param({"kind": "truncate", "end": "clean"}, marks=pytest.mark.long),
        pytest.param({"kind": "zero"}, marks=pytest.mark.long),
        pytest.param({"kind": "empty"}, marks=pytest.mark.long),
        pytest.param({"kind": "garbage"}, marks=pytest.mark.long),
        {"kind": "internal_error"},
        pytest.param({"kind": "service_unavailable"}, marks=pytest.mark.long),
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
async def test_whatever_the_provider_does_fifty_of_fifty_are_heard_in_time(
    stack: Stack, http: aiohttp.ClientSession, fault: dict[str, Any]
) -> None:
    assert stack.emulator is not None
    await stack.emulator.set_fault(**fault)
    texts = phrases(50, seed=sum(map(ord, str(fault))))
    late: list[str] = []
    for start in range(0, 50, 10):
        batch = texts[start : start + 10]
        replies = await asyncio.gather(
            *(whole(http, stack, text, include_audio=True) for text in batch)
        )
        for reply in replies:
            assert (reply["provider"], reply["fallback"]) == ("local", True)
            audio = base64.b64decode(reply["audio_base64"])
            heard = play([Piece(0.0, audio)], 0.0, "mp3")
            assert heard.first_audio_ms is not None
            assert heard.error is None
            if reply["_ms"] > 2000:
                late.append(f"{reply['_ms']:.0f} ms")
    assert not late
    await stack.emulator.clear_faults()
    again = await whole(http, stack, texts[0])
    assert (again["provider"], again["fallback"], again["cached"]) == ("elevenlabs", False, False)


async def test_a_stream_that_breaks_after_it_was_heard_is_never_ended_cleanly(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    assert stack.emulator is not None
    await stack.emulator.set_fault(kind="truncate", after_bytes=60_000)
    heard = await stream(http, stack, phrases(1, seed=91)[0], format="pcm")
    assert heard.headers["x-provider"] == "elevenlabs"
    assert heard.truncated
    assert heard.listening(whole=False).first_audio_ms is not None
    await stack.emulator.clear_faults()
    again = await stream(http, stack, phrases(1, seed=91)[0], format="pcm")
    assert again.complete
    assert again.headers["x-cached"] == "false"


async def test_healthy_replies_are_in_the_asked_voice(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    texts = phrases(100, seed=8)
    providers: list[str] = []
    for start in range(0, 100, 10):
        heard = await asyncio.gather(
            *(stream(http, stack, text) for text in texts[start : start + 10])
        )
        providers += [h.headers["x-provider"] for h in heard]
    assert providers.count("elevenlabs") >= 99


async def test_the_second_time_is_free_in_every_format_and_after_a_restart(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    text = "The lease can be signed at our office in the old town."
    first = await whole(http, stack, text)
    assert first["cached"] is False
    second = await whole(http, stack, text)
    assert (second["cached"], second["provider"]) == (True, "elevenlabs")
    other = await whole(http, stack, text, format="wav")
    assert other["cached"] is True
    assert abs(other["duration_ms"] - first["duration_ms"]) <= 1
    calls = await upstream_calls(stack)
    await stack.stop_gateway()
    await stack.start_gateway()
    again = await whole(http, stack, text)
    assert again["cached"] is True
    assert await upstream_calls(stack) == calls
    assert calls == 1


async def test_without_caching_nothing_is_read_or_written(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    text = "The parking space is included in the monthly rent."
    for _ in range(2):
        reply = await whole(http, stack, text, enable_caching=False)
        assert reply["cached"] is False
    assert await upstream_calls(stack) == 2
    assert (await whole(http, stack, text))["cached"] is False
    assert (await whole(http, stack, text, enable_caching=False))["cached"] is False
    assert await upstream_calls(stack) == 4


async def test_with_both_databases_gone_speech_goes_on_and_recovers(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    texts = phrases(12, seed=55)
    await stack.state.stop()
    await stack.cache.stop()
    for text in texts[:6]:
        reply = await whole(http, stack, text)
        assert reply["provider"] == "elevenlabs"
        assert reply["audio_url"] is None
        assert base64.b64decode(reply["audio_base64"])
        assert reply["_ms"] < 2000
    await stack.state.start()
    await stack.cache.start()
    async with asyncio.timeout(10):
        while (await whole(http, stack, texts[6]))["audio_url"] is None:
            await asyncio.sleep(0.2)
    await whole(http, stack, texts[7])
    await stack.stop_gateway()
    await stack.start_gateway()
    assert (await whole(http, stack, texts[7]))["cached"] is True


async def test_a_client_that_leaves_holds_nothing(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    long = " ".join(phrases(25, seed=66))
    async with narrow_session() as slow:
        url = stack.base_url + STREAM
        pace = Pace(read_bytes=2048, pause_s=0.02, leave_after_bytes=40_000)
        heard = await asyncio.gather(
            *(
                listen(slow, "POST", url, json=body(long, enable_caching=False), pace=pace)
                for _ in range(5)
            )
        )
    assert all(h.left for h in heard)
    async with asyncio.timeout(5):
        while True:
            performance = await stack.performance()
            now = performance["under_way"]
            if now["flights"] == performance["requests_under_way"] == now["elevenlabs_in_use"] == 0:
                break
            await asyncio.sleep(0.05)
    assert now["held_audio_bytes"] == 0
    assert stack.emulator is not None
    async with asyncio.timeout(5):
        while any(call.ended_s is None for call in await stack.emulator.calls()):
            await asyncio.sleep(0.05)
