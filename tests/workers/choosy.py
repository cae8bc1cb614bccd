"""Runs without processes: a speech service that has knobs, and what tests ask of a run."""

from __future__ import annotations

import asyncio

from core.analytics.recorder import Recorder
from core.bulk import BulkSpeaker
from core.deadline import Deadline
from core.job_store import JobStore
from core.jobs import ItemResult, JobRef
from core.results import ResultStore
from core.speech import Origin, SpeechPlan, SpeechRequest
from tests.gateway.fakes import FakeSpeech
from workers.bulk import Runner
from workers.patience import Patience

QUICK = Patience(whole_s=0.4, first_s=0.02, longest_s=0.1)


class Choosy(FakeSpeech):
    """Raises what is listed for a text, in that order, before it speaks it."""

    def __init__(self, **refusals: list[Exception]) -> None:
        super().__init__()
        self.refusals = refusals
        self.spoken: list[str] = []
        self.at_once = self.most_at_once = 0
        self.plan_s = 0.0

    async def plan(self, request: SpeechRequest) -> SpeechPlan:
        waiting = self.refusals.get(request.text)
        if waiting:
            raise waiting.pop(0)
        self.spoken.append(request.text)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.plan_s)
            return await super().plan(request)
        finally:
            self.at_once -= 1


class Hasty(Choosy):
    """Gives a text no time."""

    def new_deadline(self, origin: Origin = "live") -> Deadline:
        return Deadline.after(first_audio_s=0.0, whole_s=0.0)


def runner_of(
    store: JobStore,
    results: ResultStore,
    speech: FakeSpeech,
    concurrency: int = 2,
    *,
    longest_s: float = 60.0,
    patience: Patience = QUICK,
    recorder: Recorder | None = None,
) -> Runner:
    speaker = BulkSpeaker(speech, recorder or Recorder())
    return Runner(
        store,
        results,
        speaker,
        concurrency=concurrency,
        longest_s=longest_s,
        patience=patience,
    )


async def outcome(store: JobStore, ref: JobRef, index: int = 0) -> ItemResult:
    result = (await store.items(await store.read(ref), index, 1))[0].result
    assert result is not None
    return result
