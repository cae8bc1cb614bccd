"""Every utterance has one end, and nothing of a session comes back or is promised after its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from core.conversation.commands import decode_command
from core.conversation.journal import MAX_SENT, Journal
from core.conversation.journal_records import restored
from core.conversation.journal_store import Hold, new_token
from core.conversation.journals import Journals
from core.conversation.outbox import ClientLost
from core.conversation.state import SessionConfig, SessionState
from core.conversation.utterance import Utterance
from core.speech import SpeechRequest, SpeechTrace
from core.synthesis.live import ClauseStart, SpokenPiece, TextSource
from gateway.routes import session as route
from gateway.session_wire import Wire
from tests.conversation.speaker import FakeSpeaker, Talking
from tests.conversation.test_hand_over import goes_on

ENDS = {"interrupted", "speech_finished", "error"}


def ends_of(talk: Talking) -> set[str]:
    return {event["utterance_id"] for event in talk.events if event["type"] in ENDS}


async def test_an_interruption_that_names_one_that_waits_ends_the_one_before_too(
    redis: Redis,
) -> None:
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        text = " ".join(f"a{number}" for number in range(40))
        await talk.say("synthesize", text=text, stream=True, utterance_id="a")
        await talk.say("synthesize", text="b0 b1", stream=True, utterance_id="b")
        await talk.until("audio_chunk", 8)
        await talk.settle()
        await talk.say("interrupt", utterance_id="b", command_id="i")
        await talk.until("accepted")
        await talk.session._journal.settled()
        again = await goes_on(talk, redis, talk.events[-1]["sequence"])
        assert ends_of(talk) == {"a", "b"}
        assert again.state.waiting == []
        await again.session.aclose()


async def test_texts_for_which_there_was_no_room_leave_the_journal_again(redis: Redis) -> None:
    speaker = FakeSpeaker()
    speaker.first_after_s = 60
    async with Talking(speaker, keeper=Journals(redis)) as talk:
        for number in range(9):
            await talk.say("synthesize", text="one", stream=True, utterance_id=f"w{number}")
        for number in range(100):
            await talk.say("text", text="two", utterance_id=f"x{number}")
            await talk.say("end", utterance_id=f"x{number}")
        journal = talk.session._journal
        await journal.settled()
        held = await redis.hkeys(journal.hold.key)  # type: ignore[misc]
        assert len([name for name in held if name.startswith(b"u")]) <= MAX_SENT + 9


async def test_of_a_session_that_was_taken_over_nothing_is_promised(redis: Redis) -> None:
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        await talk.say("text", text="one two ", utterance_id="a", command_id="c1")
        await talk.until("accepted")
        taken = await Journals(redis).take("acme", "s1", talk.session._journal.hold.token)
        assert taken is not None
        await talk.say("text", text="three ", utterance_id="a", command_id="c2")
        async with asyncio.timeout(2):
            while not talk.session._journal.fenced:
                await asyncio.sleep(0.01)
        await talk.settle()
        elsewhere = restored("s1", "acme", taken.fields, 1)
        assert "c2" not in elsewhere.commands
        assert [event["command_id"] for event in talk.of("accepted")] == ["c1"]


async def test_whoever_is_lost_while_it_is_interrupted_is_told_of_all_when_it_is_back(
    redis: Redis,
) -> None:
    speaker = FakeSpeaker()
    speaker.stuck_at_word = 2
    async with Talking(speaker, keeper=Journals(redis)) as talk:
        await talk.say("synthesize", text="one two three", stream=True, utterance_id="a")
        await talk.say("synthesize", text="four five", stream=True, utterance_id="b")
        chunk = await talk.until("audio_chunk", 2)
        await talk.session._journal.settled()
        talk.outbox._give_up("lost")
        interrupt = decode_command('{"type":"interrupt"}')
        with pytest.raises(ClientLost):
            await talk.session._turns.interrupt(interrupt)  # type: ignore[arg-type]
        await talk.settle()
        await talk.session._journal.settled()
        again = await goes_on(talk, redis, chunk["sequence"])
    async with again:
        await again.session.greet()
        await again.until("interrupted", 2)
        assert ends_of(again) == {"a", "b"}


async def test_the_journal_of_a_session_that_is_over_stays_away(redis: Redis) -> None:
    state = SessionState("s1", "acme", SessionConfig("agent_123"))
    journal = Journal(state, Hold("acme", "s1", new_token()), Journals(redis))
    journal.begin()
    said = Utterance(
        id="a",
        number=1,
        voice_agent_id="agent_123",
        language="en",
        format="mp3",
        encoding="hex",
        text="secret",
        complete=True,
    )
    journal.sent(said)
    await journal.settled()
    await journal.aclose(ended=True)
    assert journal._sent is not None
    journal._sent[0].at_s -= 60
    journal.tidy()  # as a timer does that was set before
    await asyncio.sleep(0.1)
    assert not await redis.exists(journal.hold.key)


class _HeldBack(FakeSpeaker):
    """Of its first clause the encoder holds everything back."""

    async def converse(
        self,
        request: SpeechRequest,
        text: TextSource,
        trace: SpeechTrace,
        *,
        lead_s: Callable[[], float],
    ) -> AsyncGenerator[SpokenPiece, None]:
        self.open += 1
        try:
            self._begin(trace, "en")
            async for _ in text:
                pass
            yield SpokenPiece(b"", 0.0, 0.0, (), 0, 0, 0.0, ClauseStart(4, 20.0))
            yield SpokenPiece(b"x" * 320, 0.0, 20.0, (), 1, 4, 20.0)
        finally:
            await self._close()


async def test_speech_starts_once_though_the_first_clause_has_no_audio_of_its_own() -> None:
    async with Talking(_HeldBack()) as talk:
        await talk.say("text", text="Oh! Well.", utterance_id="a")
        await talk.settle()
        await talk.say("end")
        await talk.until("speech_finished")
        assert len(talk.of("speech_started")) == 1


async def test_what_arrives_with_the_end_of_the_gateway_is_not_answered_when_it_goes_on(
    redis: Redis,
) -> None:
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def ignore(_: Any) -> None:
            return

        def put(**fields: str) -> None:
            text = json.dumps({"type": "text", "utterance_id": "a", **fields})
            queue.put_nowait({"type": "websocket.receive", "text": text})

        wire = Wire(queue.get, ignore)  # type: ignore[arg-type]
        reading = asyncio.create_task(route._read(talk.session, talk.outbox, wire, 60))
        put(text="one two three four five ", command_id="c1")
        await talk.until("audio_chunk", 4)
        await talk.settle()
        put(text="six ", command_id="c2")
        wire.leave()
        assert await reading is route.GOING_AWAY
        async with asyncio.timeout(10):
            assert await route._leave(talk.session, talk.outbox, wire, 3.0) == route.HANDED_OVER
        assert not talk.of("error"), "a client would not send that piece of the text again"
