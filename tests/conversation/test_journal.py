"""The journal of a session in a real database: what it holds, when it is written, how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from core.conversation.journal import GATHER_S, MAX_SENT_BYTES, Journal
from core.conversation.journal_records import restored
from core.conversation.journal_store import Batch, Hold, JournalStore, Outcome, new_token
from core.conversation.journals import Journals
from core.conversation.state import SessionConfig, SessionState
from core.conversation.utterance import ClauseMark, Utterance
from core.embedded import EmbeddedRedis
from core.errors import StoreError
from core.speech import WordTiming
from tests.conversation.speaker import FakeSpeaker, Talking

TEXT = "One two. Three four. Five six."
BATCH = Batch({"head": b"h", "u1": b"text"})


def spoken() -> SessionState:
    """A session that is speaking its second text; what it wrote first has been sent."""
    state = SessionState("s1", "acme", SessionConfig("agent_123", "en"), utterances=3)

    def utterance(number: int, **fields: Any) -> Utterance:
        given = {"text": TEXT, "complete": True, **fields}
        return Utterance(f"u{number}", number, "agent_123", "en", "pcm", "hex", **given)

    words = [
        WordTiming(w, 500 * n, 500 * n + 400, 5 * n, 5 * n + 3) for n, w in enumerate("abcdef")
    ]
    marks = [ClauseMark(10, 0, 0.0), ClauseMark(14, 9, 1000.0), ClauseMark(20, 21, 2000.0)]
    state.sent = [utterance(1, last_sequence=9, clauses=[ClauseMark(2, 0, 0.0)])]
    state.waiting = [
        utterance(2, clauses=marks, words=words, sent_ms=2500.0, heard_unix_s=1000.0),
        utterance(3, complete=False, text="And"),
    ]
    state.writing = state.waiting[1]
    for name in ("a", "b"):
        state.commands.add(name)
    return state


async def regained(store: JournalStore, token: str, last_sequence: int) -> SessionState:
    taken = await store.take("acme", "s1", token)
    assert taken is not None
    return restored("s1", "acme", taken.fields, last_sequence)


@pytest.mark.parametrize(
    ("last", "first", "at"),
    [
        (8, "u1", (0, 0.0)),
        (9, "u2", (0, 0.0)),
        (12, "u2", (0, 0.0)),
        (13, "u2", (9, 1000.0)),
        (18, "u2", (9, 1000.0)),
        (19, "u2", (21, 2000.0)),
        (99, "u2", (21, 2000.0)),
    ],
)
async def test_a_session_goes_on_where_its_client_has_everything_before(
    redis: Redis, last: int, first: str, at: tuple[int, float]
) -> None:
    journals = Journals(redis)
    state = spoken()
    journal = Journal(state, Hold("acme", "s1", new_token()), journals, "k1")
    journal.begin()
    journal.changed()
    await journal.settled()
    found = await regained(journals.store, journal.hold.token, last)
    assert [one.id for one in found.waiting] == ["u1", "u2", "u3"][first == "u2" :]
    begun = found.waiting[0]
    assert (begun.id, begun.start_char, begun.start_ms, begun.resumed) == (first, *at, True)
    assert [word.char_start for word in begun.words] == list(range(0, at[0], 5))
    assert begun.sent_ms == at[1]
    heard_s = (1000.0 - 2.5 + at[1] / 1000) if begun.id == "u2" else 0.0
    assert begun.heard_unix_s == pytest.approx(heard_s)
    assert found.writing is found.waiting[-1]
    assert (found.sequence, found.utterances) == (last, 3)
    assert found.config == state.config
    assert "b" in found.commands
    assert "c" not in found.commands
    assert ("u1" in found.ended) is (first == "u2")
    await journal.aclose(ended=True)


async def test_what_was_cut_off_stays_so_and_its_text_is_gone(redis: Redis) -> None:
    journals, state = Journals(redis), spoken()
    journal = Journal(state, Hold("acme", "s1", new_token()), journals)
    journal.begin()
    journal.changed()
    await journal.settled()
    for utterance in state.waiting:
        utterance.over = True
        journal.sent(utterance)
    await journal.settled()
    held = await redis.hgetall(journal.hold.key)  # type: ignore[misc]
    assert b"Three" not in held[b"u2"]
    found = await regained(journals.store, journal.hold.token, 99)
    assert [one.id for one in found.waiting] == []
    assert "u2" in found.cut
    await journal.aclose(ended=False)


async def test_what_was_sent_is_written_whole_again_also_when_little_of_it_is_kept(
    redis: Redis,
) -> None:
    journals, state = Journals(redis), spoken()
    journal = Journal(state, Hold("acme", "s1", new_token()), journals)
    journal.begin()
    first = state.waiting.pop(0)
    first.last_sequence = 12
    state.sent.append(first)  # it is still being heard
    journal.sent(first)
    for heard in (False, True):
        if heard:
            state.sent.clear()
            first.heard_unix_s = 77.0
            journal.changed(first)
            journal.tidy()
        await journal.settled()
        first.text = "not told to the journal" if heard else TEXT
        written = (await redis.hgetall(journal.hold.key))[b"u2"]  # type: ignore[misc]
        await redis.delete(journal.hold.key)
        journal.retry()
        await journal.settled()
        again = (await redis.hgetall(journal.hold.key))[b"u2"]  # type: ignore[misc]
        assert again == written
    first.last_sequence = 20
    first.text = TEXT
    journal.changed(first)
    await redis.delete(journal.hold.key)
    await journal.settled()
    found = await regained(journals.store, journal.hold.token, 15)
    assert "u2" not in found.ended, "its last event has not arrived"
    await journal.aclose(ended=False)


async def test_many_changes_while_a_write_is_under_way_are_one_more_write(redis: Redis) -> None:
    journals, state = Journals(redis), spoken()
    journal = Journal(state, Hold("acme", "s1", new_token()), journals)
    journal.begin()
    journal.changed()
    await journal.settled()
    before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    for number in range(200):
        state.waiting[1].text += f" {number}"
        state.commands.add(f"n{number}")
        journal.changed(state.waiting[1])
        journal.carried_out(f"n{number}")
    await journal.settled()
    after = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - before <= 2
    found = await regained(journals.store, journal.hold.token, 99)
    assert found.waiting[-1].text.endswith(" 199")
    assert all(f"n{number}" in found.commands for number in range(200))
    await journal.aclose(ended=False)


def writing() -> bool:
    return any(task.get_name() == "session-journal" for task in asyncio.all_tasks())


async def test_a_new_utterance_is_written_at_once_and_its_growth_is_gathered(redis: Redis) -> None:
    journals, state = Journals(redis), spoken()
    journal = Journal(state, Hold("acme", "s1", new_token()), journals)
    journal.begin()
    first, second = state.waiting[0], state.waiting[1]
    journal.changed(first)
    await journal.settled()
    before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    journal.changed(second)
    assert writing()
    await journal.settled()
    for number in range(20):
        second.text += f" {number}"
        journal.changed(second)
        assert number or not writing()
        await asyncio.sleep(GATHER_S / 10)
    await asyncio.sleep(3 * GATHER_S)
    after = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert journal.is_settled
    assert 3 <= after - before <= 5, "one for the new one, one for every ten changes, one more"
    await journal.aclose(ended=False)


async def test_what_the_client_is_told_next_is_written_at_once(redis: Redis) -> None:
    journals, state = Journals(redis), spoken()
    journal = Journal(state, Hold("acme", "s1", new_token()), journals)
    journal.begin()
    journal.changed(*state.waiting)
    await journal.settled()
    journal.sent(state.waiting.pop(0))
    assert writing(), "the end of an utterance, or that it was interrupted"
    await journal.settled()
    journal.changed()
    assert writing(), "how it is to be spoken"
    await journal.aclose(ended=False)


async def test_a_journal_that_ended_is_not_brought_back_by_who_waits_for_it(redis: Redis) -> None:
    journals, state = Journals(redis), spoken()
    journal = Journal(state, Hold("acme", "s1", new_token()), journals)
    journal.begin()
    journal.changed(*state.waiting)
    await journal.settled()
    state.waiting[-1].text += " And more."
    journal.changed(state.waiting[-1])
    await journal.aclose(ended=True)
    async with asyncio.timeout(1):
        await journal.settled()
    await asyncio.sleep(2 * GATHER_S)
    assert not await redis.exists(journal.hold.key)


async def test_what_is_gathered_is_written_when_another_goes_on(redis: Redis) -> None:
    journals, state = Journals(redis), spoken()
    journal = Journal(state, Hold("acme", "s1", new_token()), journals)
    journal.begin()
    last = state.waiting[-1]
    journal.changed(last)
    await journal.settled()
    last.text += " And more."
    journal.changed(last)
    assert not writing()
    await journal.aclose(ended=False)
    found = await regained(journals.store, journal.hold.token, 99)
    assert found.waiting[-1].text == last.text


async def test_without_the_database_a_session_goes_on_and_its_journal_comes_back(
    redis: Redis, redis_state: EmbeddedRedis
) -> None:
    journals, state = Journals(redis), spoken()
    journal = Journal(state, Hold("acme", "s1", new_token()), journals)
    told: list[bool] = []

    async def tell(resumable: bool) -> None:
        told.append(resumable)

    journal.on_change = tell
    journal.begin()
    journal.changed()
    await journal.settled()
    await redis_state.stop()
    journal.changed(state.waiting[0])
    async with asyncio.timeout(1):
        await journal.settled()
    assert (journal.resumable, journals.well, told) == (False, False, [False])
    with pytest.raises(StoreError):
        await journals.renew()
    state.waiting.pop(0)
    await redis_state.start()
    await journals.renew()
    await journal.settled()
    async with asyncio.timeout(2):
        while not journal.resumable:
            await asyncio.sleep(0.01)
    assert told == [False, True]
    found = await regained(journals.store, journal.hold.token, 99)
    assert [one.id for one in found.waiting] == ["u3"]
    await journal.aclose(ended=False)


async def test_a_session_learns_that_it_was_taken_over(redis: Redis) -> None:
    here, there = Journals(redis), Journals(redis)
    journal = Journal(spoken(), Hold("acme", "s1", new_token()), here)
    told: list[str] = []
    journal.on_fenced = lambda: told.append("fenced")
    journal.begin()
    journal.changed()
    await journal.settled()
    taken = await there.take("acme", "s1", journal.hold.token)
    assert taken is not None
    assert told == []
    await here.renew()
    assert told == ["fenced"]
    assert len(here) == 0
    await journal.aclose(ended=True)
    assert await there.store.renew([taken.hold]) == [Outcome.DONE]


async def test_an_interruption_does_not_wait_for_what_is_being_written(redis: Redis) -> None:
    speaker = FakeSpeaker()
    async with Talking(speaker, keeper=Journals(redis)) as talk:
        await talk.say("text", text="One two three. ", command_id="c1")
        await talk.until("audio_chunk")
        await talk.until("accepted")
        await redis.client_pause(300)
        await talk.say("text", text="Four five.", command_id="c2")
        await talk.say("interrupt", command_id="c3")
        await talk.settle()
        assert talk.of("interrupted")
        assert len(talk.of("accepted")) == 1, "what is not kept is not promised"
        await talk.until("accepted", 3)
        assert [event["command_id"] for event in talk.of("accepted")] == ["c1", "c2", "c3"]


async def test_what_was_sent_is_kept_up_to_so_many_bytes_and_the_newest_always(
    redis: Redis,
) -> None:
    journals = Journals(redis)
    state = SessionState("s1", "acme", SessionConfig("agent_123", "en"))
    journal = Journal(state, Hold("acme", "s1", new_token()), journals)
    journal.begin()

    def kept(number: int, chars: int) -> list[int]:
        fields: Any = {"text": "x" * chars, "complete": True, "last_sequence": number}
        sent = Utterance(f"u{number}", number, "agent_123", "en", "pcm", "hex", **fields)
        sent.words = [WordTiming("x", n, n + 1, n, n + 1) for n in range(chars // 10)]
        journal.sent(sent)
        assert journal._sent is not None
        return [one.number for one in journal._sent]

    for number in range(1, 41):
        numbers = kept(number, 2000)
        assert numbers[-1] == number
    held = await redis_fields(redis, journal)
    assert sorted(held, key=int) == [str(number) for number in numbers], "forgotten there as well"
    assert 6 < len(numbers) < 16
    assert sum(map(len, held.values())) <= MAX_SENT_BYTES
    assert kept(41, 60_000) == [41]
    assert list(await redis_fields(redis, journal)) == ["41"]
    assert len(kept(42, 10)) == 1, "the large one is the oldest now"
    await journal.aclose(ended=True)


async def redis_fields(redis: Redis, journal: Journal) -> dict[str, bytes]:
    """The utterances that are written, by number."""
    await journal.settled()
    held = await redis.hgetall(journal.hold.key)  # type: ignore[misc]
    return {name[1:].decode(): value for name, value in held.items() if name[:1] == b"u"}


async def test_of_what_failed_only_what_is_written_is_kept(redis: Redis) -> None:
    speaker = FakeSpeaker()
    speaker.fail_at_word = 0
    async with Talking(speaker, keeper=Journals(redis)) as talk:
        await talk.say("synthesize", text=TEXT, stream=True, utterance_id="a")
        await talk.until("error")
        await talk.settle()
        sent = (talk.session._journal._sent or [None])[0]
        assert sent is not None
        assert sent.utterance is None
        assert sent.record
