"""A session whose gateway ends, or whose connection was lost, goes on without a word too many."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from core.conversation.commands import decode_command
from core.conversation.journal_records import restored
from core.conversation.journal_store import Batch, Hold, JournalStore, Mode, Outcome
from core.conversation.journals import Journals
from core.embedded import EmbeddedRedis
from tests.conversation.speaker import WORD_MS, FakeSpeaker, Talking

TEXT = "one two three four five six seven eight nine"


async def goes_on(talk: Talking, redis: Redis, last_sequence: int) -> Talking:
    """The session in another process, for a client that got everything up to that event."""
    journals = Journals(redis)
    await talk.session._journal.settled()
    taken = await journals.take("acme", "s1", talk.session._journal.hold.token)
    assert taken is not None
    state = restored("s1", "acme", taken.fields, last_sequence)
    return Talking(talk.speaker, keeper=journals, state=state, hold=taken.hold)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("said", [0, 4, 8])
async def test_a_voice_that_is_waited_for_holds_no_hand_over_up_and_no_clause_is_said_twice(
    redis: Redis, said: int, whole: bool
) -> None:
    slow = FakeSpeaker()
    slow.stuck_at_word = said
    async with Talking(slow, keeper=Journals(redis)) as talk:
        if whole:
            await talk.say("synthesize", text=TEXT, stream=True, utterance_id="a")
        else:
            await talk.say("text", text=TEXT, utterance_id="a")
        if said:
            await talk.until("audio_chunk", said)
        await talk.settle()
        async with asyncio.timeout(0.5):
            assert await talk.session.hand_over(0.01, 5.0)
        assert talk.types()[-1] == "going_away"
        last = talk.events[-1]["sequence"]
        again = await goes_on(talk, redis, last)
        again.speaker.stuck_at_word = None
        async with again:
            await again.session.greet()
            await again.say("end", utterance_id="a")
            await again.until("speech_finished")
            assert [*talk.audio().split(), *again.audio().split()] == TEXT.split()
            for resumed in again.of("speech_resumed"):
                place = (resumed["from_char"], resumed["offset_ms"])
                assert place == (TEXT.index(TEXT.split()[said]), said * WORD_MS)
            assert len(again.of("speech_resumed")) == bool(said)


async def test_audio_that_waits_for_its_time_is_left_to_who_goes_on(redis: Redis) -> None:
    words = [f"w{number}" for number in range(24)]
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        await talk.say("synthesize", text=" ".join(words), stream=True, utterance_id="a")
        await talk.until("audio_chunk", 16)
        await talk.settle()
        assert await talk.session.hand_over(0.01, 1.0)
        assert talk.audio().split() == words[:16], "nothing of the next clause is hurried"
        async with await goes_on(talk, redis, talk.events[-1]["sequence"]) as again:
            await again.session.greet()
            resumed = await again.until("speech_resumed")
            assert resumed["from_char"] == " ".join(words).index("w16")


async def test_after_a_kill_a_clause_that_was_sent_wholly_is_not_said_again(redis: Redis) -> None:
    slow = FakeSpeaker()
    slow.stuck_at_word, slow.held_back_ms = 4, 30.0
    async with Talking(slow, keeper=Journals(redis)) as talk:
        await talk.say("text", text=TEXT, utterance_id="a")
        chunk = await talk.until("audio_chunk", 4)
        await talk.settle()
        again = await goes_on(talk, redis, chunk["sequence"])
    slow.stuck_at_word = None
    async with again:
        await again.session.greet()
        resumed = await again.until("speech_resumed")
        assert resumed["from_char"] == TEXT.index("five")
        assert resumed["offset_ms"] == 4 * WORD_MS, "where what was sent ends"


async def test_marks_that_come_late_belong_to_the_clause_that_was_said(redis: Redis) -> None:
    slow = FakeSpeaker()
    slow.stuck_at_word = 1
    async with Talking(slow, keeper=Journals(redis)) as talk:
        await talk.say("text", text="one", utterance_id="a")
        await talk.say("flush", utterance_id="a")
        chunk = await talk.until("audio_chunk")
        await talk.settle()
        await talk.say("text", text="!” two", utterance_id="a")
        again = await goes_on(talk, redis, chunk["sequence"])
    slow.stuck_at_word = None
    async with again:
        await again.session.greet()
        await again.say("end", utterance_id="a")
        await again.until("speech_finished")
        assert again.of("speech_resumed")[0]["from_char"] == len("one!” ")
        assert again.audio() == "two"


async def test_a_clause_is_one_write_of_the_journal(redis: Redis) -> None:
    writes = 0

    class Counted(JournalStore):
        async def write(self, hold: Hold, batch: Batch, mode: Mode) -> Outcome:
            nonlocal writes
            writes += 1
            return await super().write(hold, batch, mode)

    journals = Journals(redis)
    journals.store = Counted(redis)
    async with Talking(FakeSpeaker(), keeper=journals) as talk:
        await talk.say("synthesize", text=TEXT, stream=True, utterance_id="a")
        await talk.until("speech_finished")
        await talk.session._journal.settled()
        assert len(talk.state.sent[0].clauses) == 3
    assert writes <= 4, "one when it was asked, one for each clause, of which one finds the end"


@pytest.mark.parametrize("text", ["", " ", "“"])
async def test_a_text_that_says_nothing_yet_goes_on_elsewhere(redis: Redis, text: str) -> None:
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        await talk.say("text", text=text, utterance_id="a")
        await talk.settle()
        assert await talk.session.hand_over(0.5, 0.5)
        assert talk.types() == ["going_away"]
        async with await goes_on(talk, redis, 1) as again:
            await again.session.greet()
            await again.say("text", text="one two", utterance_id="a")
            await again.say("end", utterance_id="a")
            await again.until("speech_finished")
            assert again.audio().replace("“", "") == "one two"


async def test_where_the_journal_fails_at_the_last_moment_speech_goes_on_where_it_was(
    redis: Redis, redis_state: EmbeddedRedis
) -> None:
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        await talk.say("text", text=TEXT, utterance_id="a")
        await talk.until("audio_chunk", 8)
        await talk.say("text", text=" ten", utterance_id="a")
        await redis_state.stop()
        stopping = asyncio.create_task(talk.session.hand_over(0.1, 0.5))
        await asyncio.sleep(0)
        await talk.session.handle_leaving(decode_command('{"type":"end","command_id":"late"}'))
        assert not await stopping
        await talk.session.finish(2.0)
        assert talk.audio().split() == [*TEXT.split(), "ten"], "every word once"
        assert talk.types()[-2:] == ["speech_finished", "going_away"], talk.events[-4:]
        assert [event["code"] for event in talk.of("error")] == ["busy"]
        assert talk.of("error")[0]["command_id"] == "late"


async def test_and_from_the_clause_where_it_was_stopped(
    redis: Redis, redis_state: EmbeddedRedis
) -> None:
    words = [f"w{number}" for number in range(24)]
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        await talk.say("synthesize", text=" ".join(words), stream=True, utterance_id="a")
        await talk.until("audio_chunk", 16)
        talk.clock.pass_ms(2 * WORD_MS)
        await talk.until("audio_chunk", 18)
        await talk.session._journal.settled()
        await redis_state.stop()
        talk.clock.pass_ms(3000 - 2 * WORD_MS)
        assert not await talk.session.hand_over(0.01, 1.0)
        await talk.until("speech_finished")
        assert talk.audio().split() == words, "every word once"
        (resumed,) = talk.of("speech_resumed")
        first = next(c for c in talk.chunks() if c["sequence"] > resumed["sequence"])
        assert (first["chunk"], first["offset_ms"]) == (1, resumed["offset_ms"])
        assert resumed["from_char"] == " ".join(words).index("w16 ") + len("w16 w17 w18 w19 ")
        talk.clock.pass_ms(300)
        await talk.say("interrupt")
        event = await talk.until("interrupted")
        assert (event["offset_ms"], event["spoken_text"].split()) == (3300, words[:16])


async def test_while_a_session_comes_to_its_end_it_can_be_interrupted(redis: Redis) -> None:
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        await talk.say("synthesize", text=" ".join([TEXT] * 3), stream=True, utterance_id="a")
        await talk.until("audio_chunk", 10)
        ending = asyncio.create_task(talk.session.hand_over(3.0, 3.0))
        await talk.settle()
        for command in ('{"type":"ping"}', '{"type":"interrupt"}', '{"type":"text","text":"b"}'):
            await talk.session.handle_leaving(decode_command(command))
        async with asyncio.timeout(1):
            assert await ending
        assert talk.types()[-4:] == ["pong", "interrupted", "accepted", "going_away"]
        assert (await goes_on(talk, redis, 99)).state.waiting == []


async def test_an_utterance_that_is_still_heard_after_a_loss_can_be_interrupted(
    redis: Redis,
) -> None:
    async with Talking(FakeSpeaker(), keeper=Journals(redis)) as talk:
        await talk.say("synthesize", text=TEXT, stream=True, utterance_id="a")
        finished = await talk.until("speech_finished")
        async with await goes_on(talk, redis, finished["sequence"]) as again:
            assert [one.id for one in again.state.sent] == ["a"]
            await again.session.greet()
            await again.say("playback", utterance_id="b", offset_ms=5)
            again.clock.pass_ms(3 * WORD_MS + 20)
            await again.say("interrupt")
            event = await again.until("interrupted")
            assert event["spoken_text"].split()[:3] == TEXT.split()[:3]
            assert event["remaining_text"].endswith("nine")
            assert event["estimated"] is True, "the clock ran in another process"


async def test_what_was_told_and_not_received_is_told_again(redis: Redis) -> None:
    speaker = FakeSpeaker()
    async with Talking(speaker, keeper=Journals(redis)) as talk:
        await talk.say("synthesize", text=TEXT, stream=True, utterance_id="a")
        chunk = await talk.until("audio_chunk", 3)
        talk.clock.pass_ms(2 * WORD_MS + 10)
        await talk.say("interrupt", command_id="i")
        first = await talk.until("interrupted")
        speaker.fail_at_word = 0
        await talk.say("synthesize", text="ten", stream=True, utterance_id="b", command_id="x")
        error = await talk.until("error")
        speaker.fail_at_word = None
        async with await goes_on(talk, redis, chunk["sequence"]) as again:
            await again.session.greet()
            await again.until("error")
            assert again.types() == ["connection_established", "interrupted", "error"]
            for name, was in (("interrupted", first), ("error", error)):
                told = again.of(name)[0]
                assert {**told, "sequence": 0} == {**was, "sequence": 0}
        # Lost once more before the second of them came.
        async with await goes_on(again, redis, again.of("interrupted")[0]["sequence"]) as third:
            await third.session.greet()
            await third.until("error")
            assert third.types() == ["connection_established", "error"]
            await third.say("text", text="late", utterance_id="a")
            assert third.state.waiting == [], "it stays interrupted"
        async with await goes_on(third, redis, third.of("error")[0]["sequence"]) as last:
            await last.session.greet()
            await last.settle()
            assert last.types() == ["connection_established"]


async def test_a_text_that_found_no_room_is_not_begun_in_its_middle_elsewhere(
    redis: Redis,
) -> None:
    speaker = FakeSpeaker()
    speaker.first_after_s = 5.0
    async with Talking(speaker, keeper=Journals(redis)) as talk:
        for number in range(9):
            await talk.say("synthesize", text="one", stream=True, utterance_id=f"w{number}")
        await talk.say("text", text="two", utterance_id="a", command_id="t")
        error = await talk.until("error")
        assert (error["code"], error["utterance_id"]) == ("session_busy", "a")
        assert error["command_id"] == "t"
        again = await goes_on(talk, redis, error["sequence"])
        assert again.state.writing is not None
        assert (again.state.writing.id, again.state.writing.over) == ("a", True)
        await again.say("text", text=" three", utterance_id="a", command_id="u")
        await again.say("end")
        assert "a" not in [one.id for one in again.state.waiting]
        await again.session.aclose()


async def test_a_session_that_is_closed_leaves_its_texts_to_a_late_write(redis: Redis) -> None:
    journals, speaker = Journals(redis), FakeSpeaker()
    speaker.first_after_s = 5.0
    async with Talking(speaker, keeper=journals) as talk:
        await talk.say("synthesize", text=TEXT, stream=True, utterance_id="a", command_id="c")
        await talk.until("accepted")
        journal = talk.session._journal
        await redis.delete(journal.hold.key)
        journal.changed()  # finds it missing, and writes all of it
        journals.part(journal, ended=False)
        await talk.session.aclose()
        await journals.aclose()
        again = await goes_on(talk, redis, 0)
        assert [one.id for one in again.state.waiting] == ["a"]


async def test_nothing_is_collected_while_the_database_is_away(
    redis: Redis, redis_state: EmbeddedRedis
) -> None:
    journals = Journals(redis)
    async with Talking(FakeSpeaker(), keeper=journals) as talk:
        await talk.say("text", text="one", command_id="c")
        await talk.until("accepted")
        await redis_state.stop()
        journal = talk.session._journal
        journal.changed()
        await journal.settled()
        for number in range(300):
            await talk.say("synthesize", text="one", stream=True, command_id=f"c{number}")
            await talk.say("interrupt", command_id=f"i{number}")
        assert not journal._commands
        assert not journal._gone
        assert not journal._dirty
        await redis_state.start()
        await journals.renew()
        async with asyncio.timeout(2):
            while not journal.resumable:
                await asyncio.sleep(0.01)
        again = await goes_on(talk, redis, 0)
        assert "i299" in again.state.commands
        assert "c299" in again.state.commands
