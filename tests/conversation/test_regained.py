"""What is known of a text that was being spoken when its session went on elsewhere: how much of it
was heard, and in which language it was begun."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from core.conversation.journals import Journals
from core.conversation.utterance import ClauseMark, Utterance
from core.embedded import EmbeddedRedis
from tests.conversation.speaker import WORD_MS, FakeSpeaker, Talking
from tests.conversation.test_hand_over import goes_on

WORDS = [f"w{number}" for number in range(24)]
TEXT = " ".join(WORDS)
SPANISH = "Claro le digo el. 350.000 €."


async def lost(
    talk: Talking, redis: Redis, chunks: int, *, playback_ms: float | None = None
) -> Talking:
    """The session elsewhere, where it was lost after so many words."""
    await talk.say("synthesize", text=TEXT, stream=True, utterance_id="a")
    await talk.until("audio_chunk", chunks)
    await talk.settle()
    if playback_ms is not None:
        await talk.say("playback", utterance_id="a", offset_ms=playback_ms)
    return await goes_on(talk, redis, talk.events[-1]["sequence"])


async def heard(again: Talking) -> dict[str, Any]:
    await again.say("interrupt")
    return await again.until("interrupted")


@pytest.mark.parametrize("speaks", [False, True])
@pytest.mark.parametrize(
    ("away_s", "told_ms"), [(0.0, 0), (1.0, 5 * WORD_MS), (60.0, 16 * WORD_MS)]
)
async def test_what_lies_unplayed_at_the_client_was_not_heard(
    redis: Redis, away_s: float, told_ms: int, speaks: bool
) -> None:
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        again = await lost(talk, redis, 16)
        assert await talk.session.hand_over(0.01, 1.0)
    again.speaker.first_after_s = 0.0 if speaks else 5.0
    (utterance,) = again.state.waiting
    assert utterance.sent_ms == utterance.start_ms > 0
    ends_ms = round(utterance.start_ms)
    utterance.heard_unix_s -= away_s
    async with again:
        await again.session.greet()
        if speaks:
            await again.until("audio_chunk")
        event = await heard(again)
        assert min(told_ms, ends_ms) <= event["offset_ms"] <= min(told_ms, ends_ms) + WORD_MS
        words = len(event["spoken_text"].split())
        assert abs(words * WORD_MS - event["offset_ms"]) <= WORD_MS
        assert event["estimated"] is True


async def test_it_is_heard_on_elsewhere_and_a_report_ends_the_guessing(redis: Redis) -> None:
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        again = await lost(talk, redis, 16)
    async with again:
        await again.session.greet()
        await again.until("audio_chunk")
        again.clock.pass_ms(400)
        await again.say("playback", utterance_id="a", offset_ms=610)
        again.clock.pass_ms(WORD_MS)
        event = await heard(again)
        assert (event["offset_ms"], event["estimated"]) == (810, False)
        assert event["spoken_text"].split() == WORDS[:4]


async def test_what_the_client_reported_before_the_loss_counts(redis: Redis) -> None:
    slow = FakeSpeaker()
    slow.stuck_at_word = 12
    async with Talking(slow, keeper=Journals(redis)) as talk:
        again = await lost(talk, redis, 12, playback_ms=1500)
    async with again:
        await again.session.greet()
        event = await heard(again)
        assert 1500 <= event["offset_ms"] <= 1500 + WORD_MS, "the clock alone says 0"


def test_what_is_said_again_was_to_be_heard_before_what_followed_on_it() -> None:
    utterance = Utterance("a", 1, "agent_123", "en", "pcm", "hex", text=TEXT)
    utterance.clauses = [ClauseMark(1, 0, 0.0), ClauseMark(9, 12, 800.0)]
    utterance.sent_ms, utterance.heard_unix_s = 1400.0, 1000.0
    utterance.rewind()
    assert utterance.sent_ms == 800.0
    assert utterance.heard_unix_s == pytest.approx(999.4)


@pytest.mark.parametrize("whole", [True, False])
async def test_a_text_keeps_its_language_where_it_goes_on(redis: Redis, whole: bool) -> None:
    slow = FakeSpeaker()
    async with Talking(slow, keeper=Journals(redis)) as talk:
        slow.stuck_at_word = 4
        await begun(talk, whole)
        again = await goes_on(talk, redis, talk.events[-1]["sequence"])
    await ends_in_spanish(again, slow)


async def test_also_where_its_first_audio_was_the_last(redis: Redis) -> None:
    slow = FakeSpeaker()
    slow.stuck_at_word = 1
    async with Talking(slow, keeper=Journals(redis)) as talk:
        await begun(talk, True, chunks=1)
        again = await goes_on(talk, redis, 0)
        (utterance,) = again.state.waiting
        assert (utterance.language, utterance.begun_in) == ("auto", "es")
        await again.session.aclose()


async def test_and_where_its_gateway_does_not_end_after_all(
    redis: Redis, redis_state: EmbeddedRedis
) -> None:
    slow = FakeSpeaker()
    slow.stuck_at_word = 4
    async with Talking(slow, keeper=Journals(redis)) as talk:
        await begun(talk, True)
        await redis_state.stop()
        stopping = asyncio.create_task(talk.session.hand_over(0.01, 0.1))
        slow.stuck_at_word = None
        assert not await stopping
        await talk.until("speech_finished")
        assert {event["language"] for event in talk.of("speech_resumed")} == {"es"}


async def begun(talk: Talking, whole: bool, chunks: int = 4) -> None:
    talk.state.config = msgspec.structs.replace(talk.state.config, language="auto")
    if whole:
        await talk.say("synthesize", text=SPANISH, stream=True, utterance_id="a")
    else:
        await talk.say("text", text=SPANISH, utterance_id="a")
        await talk.say("flush")
    await talk.until("audio_chunk", chunks)
    await talk.settle()
    assert talk.of("speech_started")[0]["language"] == "es"


async def ends_in_spanish(again: Talking, slow: FakeSpeaker) -> None:
    slow.stuck_at_word = None
    slow.requests.clear()
    async with again:
        await again.session.greet()
        await again.say("end")
        finished = await again.until("speech_finished")
        resumed = again.of("speech_resumed")[0]
        assert SPANISH[resumed["from_char"] :] == "350.000 €."
        assert (resumed["language"], finished["metadata"]["language"]) == ("es", "es")
        (request,) = slow.requests
        assert (request.language, request.begun_in) == (None, "es"), "letters may still decide"


async def test_the_first_command_elsewhere_waits_for_no_journal(redis: Redis) -> None:
    slow = FakeSpeaker()
    async with Talking(slow, keeper=Journals(redis)) as talk:
        again = await lost(talk, redis, 8)
    slow.first_after_s = 5.0
    async with again:
        await again.session.greet()
        await again.session._journal.settled()
        await redis.client_pause(300)
        for command in ("ping", "playback", "interrupt"):
            fields = {"utterance_id": "a", "offset_ms": 300} if command == "playback" else {}
            await again.say(command, command_id=command, **fields)
        await again.settle()
        assert again.of("pong")
        assert again.of("interrupted")
        assert not again.session._journal.is_settled, "nothing of it was written by then"
        assert not again.of("accepted"), "what is not kept is not promised"
        await again.until("accepted", 2)
        token = talk.session._journal.hold.token
        assert await Journals(redis).take("acme", "s1", token) is None, "it is used up"
