"""Runs, with a speech service that has knobs: refusals, faults, lost leases, time that is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import cast

import pytest
from redis.asyncio import Redis

from core.analytics.recorder import Recorder
from core.embedded import EmbeddedRedis
from core.errors import (
    AllProvidersFailed,
    AudioNotFound,
    Busy,
    GaveUp,
    NoAudioRoom,
    ProviderBusy,
    ProviderUnavailable,
)
from core.job_store import JobStore
from core.job_upkeep import JobUpkeep
from core.jobs import JobSpec, Lease
from core.longest import largest_audio_bytes, longest_speech_s
from core.redis import Keys
from core.results import ResultStore
from core.settings import JobSettings, Settings, SpeechSettings, UpstreamSettings
from tests.gateway.fakes import entry_of
from tests.workers.choosy import Choosy, Hasty, outcome, runner_of
from tests.workers.storing import SPEC, Caller, end_leases
from workers.bulk import MOST_TAKES, AlreadyHere, longest_run_s
from workers.main import worker_settings
from workers.patience import Patience


async def test_a_run_speaks_every_text_and_no_more_at_once_than_it_may(
    store: JobStore, results: ResultStore
) -> None:
    speech = Choosy()
    speech.plan_s = 0.01
    ref = await store.create("acme", SPEC, [f"t{n}" for n in range(12)])
    assert not await runner_of(store, results, speech, concurrency=3).run(ref)
    assert sorted(speech.spoken) == sorted(f"t{n}" for n in range(12))
    assert speech.most_at_once == 3
    assert (await store.read(ref)).status == "done"


async def test_the_audio_of_a_text_lives_as_long_as_its_job(
    store: JobStore, results: ResultStore, state: Redis
) -> None:
    ref = await store.create("acme", SPEC, ["hello"])
    await runner_of(store, results, Choosy()).run(ref)
    audio_id = (await outcome(store, ref)).audio_id
    assert audio_id is not None
    link = await results.open(audio_id)
    ends = (await store.read(ref)).expires_unix_s
    assert link.expires_unix_s >= ends - 2
    left_s = await state.ttl(Keys.result("acme", link.result_id.hex()))
    assert time.time() + left_s >= ends - 2
    assert (await results.fetch(link)).audio == b"onetwothree"


async def test_equal_audio_of_two_jobs_goes_with_its_own_job(
    store: JobStore, results: ResultStore, state: Redis
) -> None:
    refs = [await store.create("acme", SPEC, ["hello"]) for _ in range(2)]
    links = []
    for ref in refs:
        await runner_of(store, results, Choosy()).run(ref)
        audio_id = (await outcome(store, ref)).audio_id
        assert audio_id is not None
        links.append(await results.open(audio_id))
    given = await results.open(await results.put("acme", "a", "key", entry_of(b"onetwothree")))
    assert await store.remove(refs[0])
    with pytest.raises(AudioNotFound):
        await results.fetch(links[0])
    for link in (links[1], given):
        assert (await results.fetch(link)).audio == b"onetwothree"
    assert len([key async for key in state.scan_iter(match="sk1:acme:res:*")]) == 2


async def test_audio_without_room_fails_its_text_for_good_and_says_what_to_do(
    state: Redis, results: ResultStore
) -> None:
    store = JobStore(state, JobSettings(audio_bytes=550_000))
    speech = Choosy()
    speech.chunks = [b"x" * 150_000]
    ref = await store.create("acme", SPEC, [f"t{n}" for n in range(30)])
    await runner_of(store, results, speech).run(ref)
    record = await store.read(ref)
    assert (record.counts.succeeded, record.counts.failed) == (3, 27)
    for item in await store.items(record, 0, 30):
        assert item.result is not None
        if item.state == "failed":
            assert (item.result.error_code, item.result.retryable) == ("no_audio_room", False)
            assert "remove finished jobs" in (item.result.error_action or "")
    assert 4 <= len(speech.spoken) <= 6, "nothing is paid for that cannot be kept"
    await store.create("acme", SPEC, ["short"])
    full = JobStore(state, JobSettings(audio_bytes=460_000))
    with pytest.raises(NoAudioRoom):
        await full.create("acme", SPEC, ["four"])
    await full.create("other", SPEC, ["four"])
    await full.create("acme", JobSpec("pregenerate", "agent_123", "en"), ["four"])
    assert await store.remove(ref)
    again = await store.create("acme", SPEC, ["four", "five"])
    await runner_of(store, results, speech).run(again)
    assert (await store.read(again)).counts.succeeded == 2


async def test_a_text_that_is_too_much_audio_fails_for_good(store: JobStore, state: Redis) -> None:
    speech = Choosy()
    speech.chunks = [b"x" * largest_audio_bytes(1), b"x"]
    ref = await store.create("acme", SPEC, ["hello"])
    small = ResultStore(state, b"k" * 32, 900, max_text_chars=1)
    await runner_of(store, small, speech).run(ref)
    result = await outcome(store, ref)
    assert (result.error_code, result.retryable) == ("audio_too_large", False)
    assert "compressed" in (result.error_action or "")


async def test_a_text_refused_for_load_is_tried_again_and_not_failed(
    store: JobStore, results: ResultStore
) -> None:
    wrapped = AllProvidersFailed(causes=[ProviderBusy(provider="elevenlabs")])
    speech = Choosy(hello=[Busy(retry_after_s=0.01), wrapped])
    ref = await store.create("acme", SPEC, ["hello", "there"])
    await runner_of(store, results, speech).run(ref)
    assert (await store.read(ref)).counts.succeeded == 2


async def test_a_text_that_cannot_be_spoken_is_a_failed_item(
    store: JobStore, results: ResultStore
) -> None:
    ref = await store.create("acme", SPEC, ["...", "hello"])
    await runner_of(store, results, Choosy()).run(ref)
    record = await store.read(ref)
    assert (record.status, record.counts.failed) == ("done", 1)
    assert (await outcome(store, ref)).error_code == "text_empty"


async def test_a_text_that_ends_its_workers_is_given_up(
    store: JobStore, upkeep: JobUpkeep, results: ResultStore, state: Redis
) -> None:
    ref = await store.create("acme", SPEC, ["hello"])
    for _ in range(MOST_TAKES):
        assert await store.take(ref)
        await end_leases(state, ref)
        await upkeep.sweep(Caller())
    speech = Choosy()
    await runner_of(store, results, speech, patience=Patience()).run(ref, run_s=1)
    assert (await outcome(store, ref)).error_code == GaveUp.code
    assert speech.spoken == []


async def test_a_run_whose_time_is_over_says_that_texts_wait(
    store: JobStore, results: ResultStore
) -> None:
    speech = Choosy()
    speech.plan_s = 0.1
    ref = await store.create("acme", SPEC, [f"t{n}" for n in range(9)])
    runner = runner_of(store, results, speech)
    assert await runner.run(ref, run_s=0.15)
    counts = (await store.read(ref)).counts
    assert (counts.running, 0 < counts.queued < 9) == (0, True)
    assert not await runner.run(ref)
    assert (await store.read(ref)).status == "done"


async def test_one_worker_is_at_a_job_once(store: JobStore, results: ResultStore) -> None:
    speech = Choosy()
    speech.plan_s = 0.1
    ref = await store.create("acme", SPEC, ["hello"])
    runner = runner_of(store, results, speech)
    running = asyncio.create_task(runner.run(ref))
    await asyncio.sleep(0.03)
    with pytest.raises(AlreadyHere):
        await runner.run(ref)
    await running
    assert not await runner.run(ref)


async def test_a_cancelled_run_gives_its_texts_back(store: JobStore, results: ResultStore) -> None:
    speech, recorder = Choosy(), Recorder()
    speech.plan_s = 30
    ref = await store.create("acme", SPEC, ["one", "two", "three"])
    runner = runner_of(store, results, speech, recorder=recorder)
    running = asyncio.create_task(runner.run(ref))
    while len(speech.spoken) < 2:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    counts = (await store.read(ref)).counts
    assert (counts.queued, counts.running) == (3, 0)
    leases = [await store.take(ref) for _ in range(3)]
    taken = [lease.taken for lease in leases if isinstance(lease, Lease)]
    assert taken == [1, 1, 1], "no try is spent"
    assert recorder.snapshot()["requests"] == 0, "others bring them to an end"


async def test_a_text_that_hangs_is_given_up_after_a_few_tries(
    store: JobStore, results: ResultStore
) -> None:
    speech, recorder = Hasty(), Recorder()
    speech.plan_s = 30
    ref = await store.create("acme", SPEC, ["x"])
    await runner_of(store, results, speech, recorder=recorder).run(ref)
    result = await outcome(store, ref)
    assert (result.error_code, len(speech.spoken)) == ("deadline_exceeded", MOST_TAKES)
    assert recorder.snapshot()["errors"] == {"deadline_exceeded": 1}


async def test_a_run_over_its_bound_spends_the_tries_of_its_texts(
    store: JobStore, results: ResultStore
) -> None:
    speech = Choosy()
    speech.plan_s = 30
    ref = await store.create("acme", SPEC, ["one"])
    assert await runner_of(store, results, speech, longest_s=0.1).run(ref)
    lease = await store.take(ref)
    assert isinstance(lease, Lease)
    assert lease.taken == 2


def test_a_run_is_bounded_by_what_its_longest_text_may_take() -> None:
    usual, patient = Settings(), Settings(upstream=UpstreamSettings(timeout_s=600))
    long = Settings(speech=SpeechSettings(max_text_chars=50_000))
    assert longest_run_s(usual) > 2 * longest_speech_s(usual.speech.max_text_chars)
    assert longest_run_s(patient) == pytest.approx(longest_run_s(usual) + 2 * 570, abs=1)
    assert longest_run_s(long) == pytest.approx(
        longest_run_s(usual) + 2 * longest_speech_s(45_000), abs=1
    )
    for settings in (usual, patient, long):
        options = vars(worker_settings(settings))
        assert options["job_timeout"] > longest_run_s(settings)
        assert {one.timeout_s for one in options["functions"]} == {options["job_timeout"]}


async def test_a_text_tried_again_is_recorded_once_as_it_ended(
    store: JobStore, results: ResultStore
) -> None:
    refusals: list[Exception] = [Busy(retry_after_s=0.01) for _ in range(2)]
    away: list[Exception] = [ProviderUnavailable(provider="local") for _ in range(2)]
    recorder = Recorder()
    ref = await store.create("acme", SPEC, ["hello", "there", "..."])
    speech = Choosy(hello=refusals, there=away)
    await runner_of(store, results, speech, recorder=recorder).run(ref)
    assert (await store.read(ref)).counts.succeeded == 2
    found = recorder.snapshot()
    assert (found["requests"], found["served"]) == (3, 2)
    assert found["errors"] == {"text_empty": 1}


async def test_a_cancelled_job_ends_its_run(store: JobStore, results: ResultStore) -> None:
    speech = Choosy()
    speech.plan_s = 0.1
    ref = await store.create("acme", SPEC, [f"t{n}" for n in range(20)])
    running = asyncio.create_task(runner_of(store, results, speech).run(ref))
    await asyncio.sleep(0.05)
    await store.cancel(ref)
    assert not await running
    assert len(speech.spoken) == 2
    assert (await store.read(ref)).counts.succeeded == 2


@pytest.mark.alone
async def test_a_run_renews_its_leases_and_leaves_a_text_that_was_given_to_somebody_else(
    store: JobStore, results: ResultStore, state: Redis
) -> None:
    speech = Choosy()
    speech.plan_s = 3.0
    ref = await store.create("acme", SPEC, ["mine", "lost"])
    leases, holders = (Keys.job("acme", ref.job_id, part) for part in ("leases", "holders"))
    running = asyncio.create_task(runner_of(store, results, speech).run(ref))
    while len(speech.spoken) < 2:
        await asyncio.sleep(0.01)
    await state.zadd(leases, {"0": 1})
    await cast(Awaitable[int], state.hset(holders, "1", "another"))
    await asyncio.sleep(2.3)
    ends_ms = await state.zscore(leases, "0")
    assert ends_ms is not None
    assert ends_ms / 1000 > time.time() + 5
    assert speech.at_once == 1, "the other is not spoken on"
    assert not await running
    counts = (await store.read(ref)).counts
    assert (counts.succeeded, counts.running) == (1, 1)


@pytest.mark.alone
async def test_a_run_outlives_an_outage_of_the_database(
    store: JobStore, results: ResultStore, redis_state: EmbeddedRedis
) -> None:
    speech = Choosy()
    speech.plan_s = 0.05
    ref = await store.create("acme", SPEC, [f"t{n}" for n in range(20)])
    running = asyncio.create_task(runner_of(store, results, speech).run(ref))
    await asyncio.sleep(0.1)
    await redis_state.stop()
    await asyncio.sleep(0.5)
    await redis_state.start()
    async with asyncio.timeout(15):
        await running
    record = await store.read(ref)
    assert (record.status, record.counts.succeeded) == ("done", 20)
