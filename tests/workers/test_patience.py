"""What fails for a reason that may pass: it is put off, tried again, and failed in the end."""

from __future__ import annotations

import time

from redis.asyncio import Redis

from core.analytics.recorder import Recorder
from core.errors import ProviderUnavailable, StoreError
from core.job_store import JobStore
from core.jobs import JobRef, Lease, PutOff
from core.results import ResultStore
from core.settings import JobSettings
from core.speech import SpeechPlan, SpeechRequest
from tests.workers.choosy import QUICK, Choosy, outcome, runner_of
from tests.workers.storing import SPEC
from workers.bulk import MOST_TAKES
from workers.patience import Patience


class Away(Choosy):
    """Speaks nothing before its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.there_s = time.monotonic() + seconds
        self.refused = 0

    async def plan(self, request: SpeechRequest) -> SpeechPlan:
        if time.monotonic() < self.there_s:
            self.refused += 1
            raise ProviderUnavailable(provider="local")
        return await super().plan(request)


class Refusing(JobStore):
    """Takes no audio for a few times."""

    refusals = 0

    async def keep_audio(self, ref: JobRef, lease: Lease, value: bytes) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreError()
        await super().keep_audio(ref, lease, value)


async def test_a_fault_that_passes_in_its_time_fails_no_text(
    store: JobStore, results: ResultStore
) -> None:
    speech = Away(seconds=0.6)
    patience = Patience(first_s=0.02, longest_s=0.1)
    ref = await store.create("acme", SPEC, [f"t{n}" for n in range(40)])
    began_s = time.monotonic()
    await runner_of(store, results, speech, patience=patience).run(ref)
    assert (await store.read(ref)).counts.succeeded == 40
    assert time.monotonic() - began_s >= 0.6
    assert MOST_TAKES < speech.refused < 40, "it rests, and does not rush through the texts"
    assert Patience().whole_s >= 300


async def test_a_fault_that_stays_fails_its_text_when_its_time_is_over(
    store: JobStore, results: ResultStore
) -> None:
    away: list[Exception] = [ProviderUnavailable(provider="local") for _ in range(1000)]
    ref = await store.create("acme", SPEC, ["fine", "hello"])
    recorder = Recorder()
    began_s = time.monotonic()
    await runner_of(store, results, Choosy(hello=away), recorder=recorder).run(ref)
    assert QUICK.whole_s <= time.monotonic() - began_s < 3
    assert (await outcome(store, ref, 0)).state == "done"
    assert (await outcome(store, ref, 1)).error_code == "provider_unavailable"
    assert recorder.snapshot()["errors"] == {"provider_unavailable": 1}


async def test_a_run_whose_time_is_over_leaves_what_fails_to_its_successor(
    store: JobStore, results: ResultStore
) -> None:
    ref = await store.create("acme", SPEC, ["one", "two"])
    runner = runner_of(store, results, Away(seconds=60), patience=Patience(first_s=5))
    began_s = time.monotonic()
    assert await runner.run(ref, run_s=0.3)
    assert time.monotonic() - began_s < 1
    assert (await store.read(ref)).counts.queued == 2
    assert isinstance(await store.take(ref), PutOff)


async def test_audio_that_is_not_taken_for_a_while_is_kept_then_and_spoken_once(
    state: Redis, results: ResultStore
) -> None:
    store, speech = Refusing(state, JobSettings()), Choosy()
    ref = await store.create("acme", SPEC, ["hello"])
    store.refusals = 1
    await runner_of(store, results, speech).run(ref)
    assert (await outcome(store, ref)).state == "done"
    assert speech.spoken == ["hello"]
