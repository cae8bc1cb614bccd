"""Journals in a real database: who holds one, and how it ends."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from core.conversation import journal_store
from core.conversation.journal_store import Batch, Hold, JournalStore, Outcome, new_token
from core.redis import Keys

TEXT = "One two. Three four. Five six."
BATCH = Batch({"head": b"h", "u1": b"text"})


@pytest.fixture
def store(redis: Redis) -> JournalStore:
    return JournalStore(redis)


@pytest.fixture
async def hold(store: JournalStore) -> Hold:
    hold = Hold("acme", "s1", new_token())
    assert await store.write(hold, BATCH, "new") is Outcome.DONE
    return hold


async def test_of_many_takers_one_wins(store: JournalStore, hold: Hold) -> None:
    for _ in range(5):
        found = await asyncio.gather(*(store.take("acme", "s1", hold.token) for _ in range(8)))
        taken = [one.hold for one in found if one is not None]
        assert len({one.epoch for one in taken}) == len(taken)
        confirmed = Batch({"u1": b"text"}, confirmed=True)
        wrote = [await store.write(one, confirmed, "known") for one in taken]
        assert wrote.count(Outcome.DONE) == 1, "whoever came last"
        assert await store.take("acme", "s1", hold.token) is None
        hold = taken[wrote.index(Outcome.DONE)]
        assert hold.epoch == max(one.epoch for one in taken)


async def test_a_token_takes_again_until_its_taker_was_heard_of(
    store: JournalStore, hold: Hold
) -> None:
    """The answer to the first handshake may have been lost."""
    first = await store.take("acme", "s1", hold.token)
    assert first is not None
    assert await store.write(first.hold, Batch(BATCH.fields, whole=True), "known") is Outcome.DONE
    again = await store.take("acme", "s1", hold.token)
    assert again is not None
    assert again.hold.epoch == first.hold.epoch + 1
    assert await store.write(first.hold, BATCH, "known") is Outcome.TAKEN
    assert await store.take("acme", "s1", first.hold.token) is None


async def test_who_lost_a_journal_changes_nothing_of_it(
    store: JournalStore, redis: Redis, hold: Hold
) -> None:
    taken = await store.take("acme", "s1", hold.token)
    assert taken is not None
    before = await redis.hgetall(hold.key)  # type: ignore[misc]
    assert await store.write(hold, Batch({"u1": b"old"}), "known") is Outcome.TAKEN
    assert await store.write(hold, Batch({"u1": b"old"}, whole=True), "lost") is Outcome.TAKEN
    assert await store.renew([hold, taken.hold]) == [Outcome.TAKEN, Outcome.DONE]
    await store.end(hold)
    assert await redis.hgetall(hold.key) == before  # type: ignore[misc]
    assert await store.write(taken.hold, Batch({"u1": b"new"}, ("head",)), "known") is Outcome.DONE
    assert set(await redis.hgetall(hold.key)) == {b"epoch", b"digest", b"previous", b"u1"}  # type: ignore[misc]


async def test_a_journal_that_ended_is_not_brought_back_by_who_lost_it(
    store: JournalStore, redis: Redis, hold: Hold
) -> None:
    taken = await store.take("acme", "s1", hold.token)
    assert taken is not None
    await store.end(taken.hold)
    assert await store.look("acme", "s1") is None
    assert await store.write(hold, BATCH, "lost") is Outcome.TAKEN
    assert await store.renew([hold]) == [Outcome.TAKEN]
    fresh = Hold("acme", "s1", new_token())
    assert await store.write(fresh, BATCH, "new") is Outcome.DONE
    await store.end(fresh)
    assert await redis.keys() == [], "of an untaken one nothing is left"


async def test_a_journal_lives_a_little_longer_than_it_is_promised(
    store: JournalStore, redis: Redis, hold: Hold
) -> None:
    lives_s = await redis.pttl(hold.key) / 1000
    least_s = journal_store.RESUME_S + journal_store.RENEW_S
    assert least_s < lives_s <= journal_store.LIVES_S
    await redis.pexpire(hold.key, 1000)
    assert await store.renew([hold]) == [Outcome.DONE]
    assert await redis.pttl(hold.key) > least_s * 1000
    await redis.pexpire(hold.key, 1)
    await asyncio.sleep(0.01)
    assert await store.take("acme", "s1", hold.token) is None
    assert await store.renew([hold]) == [Outcome.MISSING]


async def test_the_token_itself_is_not_stored(redis: Redis, hold: Hold) -> None:
    held = await redis.hgetall(hold.key)  # type: ignore[misc]
    assert not any(hold.token.encode() in value for value in held.values())
    assert hold.key == Keys.session("acme", "s1")
