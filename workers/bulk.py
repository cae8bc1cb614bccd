"""A run: one worker's turn at a job, text by text, until none waits or its minute is over."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import structlog

from core.bulk import BulkSpeaker, Keep, failed, in_the_cache, longest_try_s
from core.cache.envelope import RenditionEntry
from core.errors import (
    DeadlineExceeded,
    GaveUp,
    JobNotFound,
    NoAudioRoom,
    SeiketsuError,
    StoreError,
)
from core.job_store import HEARTBEAT_S, LEAST_ROOM_BYTES, JobStore
from core.jobs import ORIGIN_OF_KIND, ItemResult, JobRecord, JobRef, Lease, PutOff, audio_name
from core.results import AudioLink, ResultStore
from core.settings import Settings
from core.speech import SpeechPlan, SpeechRequest
from core.synthesis.service import deadline_maker
from workers.patience import Patience, Rest

RUN_S: Final = 50.0
"""A run takes no new text after this; a successor goes on."""
MOST_TAKES: Final = 5
"""A text that was handed out this often without a result has failed: it may end its workers. A try
counts where its worker died, or it came to no end in its time."""
_BUSY_PATIENCE_S: Final = 30.0
"""How long a text that is refused for load is tried again within a run."""
_STORE_PATIENCE_S: Final = 60.0
"""How long the job store may be away before a run is given up."""
_RELEASE_S: Final = 3.0
_TAKE_S: Final = 1.0
"""How long a worker that ends waits to learn what it was given last."""
_LONGEST_PAUSE_S: Final = 1.0

T = TypeVar("T")

_log = structlog.get_logger("seiketsu.workers")


class AlreadyHere(Exception):
    """This worker is at that job already: a second run would share the same places."""


class Runner:
    """All runs of one worker process; they share its places for texts spoken at once."""

    def __init__(
        self,
        store: JobStore,
        results: ResultStore,
        speaker: BulkSpeaker,
        *,
        concurrency: int,
        longest_s: float,
        patience: Patience | None = None,
    ) -> None:
        """`longest_s` bounds a run (`longest_run_s`)."""
        self._store = store
        self._results = results
        self._speaker = speaker
        self._longest_s = longest_s
        self._patience = patience or Patience()
        self._places = asyncio.Semaphore(concurrency)
        self._at: set[JobRef] = set()

    @property
    def at(self) -> frozenset[JobRef]:
        """The jobs that this worker is at."""
        return frozenset(self._at)

    async def run(self, ref: JobRef, *, run_s: float = RUN_S) -> bool:
        """Work on a job. Whether texts still waited when the time was over.

        Cancelled, because the worker ends, it gives back what it holds, so that others go on at
        once; the tries do not count. They do where the run itself takes longer than it may.

        Raises:
            AlreadyHere: a run of the same job is under way in this process.
            StoreError: the job store was away for too long.
        """
        if ref in self._at:
            raise AlreadyHere
        self._at.add(ref)
        try:
            return await self._run(ref, run_s)
        finally:
            self._at.discard(ref)

    async def _run(self, ref: JobRef, run_s: float) -> bool:
        try:
            record = await patiently(lambda: self._store.read(ref))
        except JobNotFound:
            return False
        if record.status not in ("queued", "running"):
            return False
        run = _Run(self._store, self._results, self._speaker, self._places, self._patience, record)
        bound = asyncio.timeout(self._longest_s)
        try:
            async with bound:
                return await run.work(run_s, ending=lambda: not bound.expired())
        except TimeoutError:
            if not bound.expired():
                raise
            _log.error("run_too_long", job=ref.job_id)
            return True


class _Run:
    def __init__(
        self,
        store: JobStore,
        results: ResultStore,
        speaker: BulkSpeaker,
        places: asyncio.Semaphore,
        patience: Patience,
        record: JobRecord,
    ) -> None:
        self._store = store
        self._results = results
        self._speaker = speaker
        self._places = places
        self._patience = patience
        self._rest = Rest(patience)
        self._record = record
        self._ref = record.ref
        self._at_work: dict[int, tuple[Lease, asyncio.Task[None]]] = {}
        self._put_off = False
        self._least_room_bytes = LEAST_ROOM_BYTES
        """With less room no further text is spoken."""
        self._taking: asyncio.Task[Lease | PutOff | None] | None = None

    async def work(self, run_s: float, *, ending: Callable[[], bool]) -> bool:
        beating = asyncio.create_task(self._beat(), name="job-heartbeat")
        try:
            end_s = time.monotonic() + run_s
            while True:
                self._put_off = False
                more = await self._take_until(end_s)
                while self._at_work:
                    # What another worker held may wait again by now.
                    tasks = [task for _, task in self._at_work.values()]
                    await asyncio.wait(tasks, timeout=HEARTBEAT_S)
                    more = more or await self._take_until(end_s)
                if more or not self._put_off:
                    return more
        finally:
            beating.cancel()
            # In a task of its own: in one that was cancelled, Python 3.11.2 takes the end of each
            # `asyncio.timeout` for another cancellation, and redis-py uses one in every command.
            letting_go = asyncio.create_task(self._let_go(unspent=ending()), name="job-let-go")
            await asyncio.wait([beating, letting_go])

    async def _take_until(self, end_s: float) -> bool:
        """Take texts until none waits, or the time is over, and then return True."""
        while True:
            rest_s = self._rest.left_s(time.monotonic())
            if time.monotonic() + rest_s >= end_s:
                return True
            if rest_s:
                await asyncio.sleep(rest_s)
                continue
            await self._places.acquire()
            started = False
            try:
                if time.monotonic() >= end_s:  # the place was long in coming
                    return True
                if self._rest.left_s(time.monotonic()):
                    continue
                taken = await self._take()
                if taken is None:
                    return False
                if isinstance(taken, Lease):
                    task = asyncio.create_task(self._one(taken), name="job-item")
                    self._at_work[taken.index] = (taken, task)
                    task.add_done_callback(partial(self._ended, taken))
                    started = True
            finally:
                if not started:
                    self._places.release()
            if isinstance(taken, PutOff):
                left_s = max(0.0, end_s - time.monotonic())
                await asyncio.sleep(min(taken.seconds, left_s, HEARTBEAT_S))

    async def _take(self) -> Lease | PutOff | None:
        """Take a text. A worker that ends meanwhile still learns what it was given."""
        token = secrets.token_hex(8)
        self._taking = asyncio.create_task(
            patiently(lambda: self._store.take(self._ref, token)), name="job-take"
        )
        taken = await asyncio.shield(self._taking)
        self._taking = None
        return taken

    def _ended(self, lease: Lease, _: asyncio.Task[None]) -> None:
        self._places.release()
        known = self._at_work.get(lease.index)
        if known is not None and known[0] is lease:
            del self._at_work[lease.index]

    async def _one(self, lease: Lease) -> None:
        try:
            result = await self._spoken(lease)
            if self._passes(lease, result.error_code or "", result.retryable):
                await self._try_later(lease, result)
                return
            if result.state == "done":
                self._rest.spoke()
            await patiently(lambda: self._store.finish(self._ref, lease, result))
        except Exception as error:
            # The lease ends by itself and the text waits again; the run goes on.
            _log.error(
                "job_item_broken",
                job=self._ref.job_id,
                index=lease.index,
                error_type=type(error).__name__,
                error=error.code if isinstance(error, SeiketsuError) else "internal_error",
            )

    def _passes(self, lease: Lease, code: str, retryable: bool) -> bool:
        """Whether a text that failed so is tried another time."""
        if code == DeadlineExceeded.code or lease.taken > MOST_TAKES:
            return lease.taken < MOST_TAKES
        return retryable and lease.failing_s < self._patience.whole_s

    async def _try_later(self, lease: Lease, result: ItemResult) -> None:
        self._rest.failed(time.monotonic())
        pause_s = self._patience.of_text(lease.failing_s)
        spent = result.error_code == DeadlineExceeded.code
        self._put_off = True
        await patiently(lambda: self._store.put_off(self._ref, lease, pause_s=pause_s, spent=spent))
        _log.info(
            "job_item_again",
            job=self._ref.job_id,
            index=lease.index,
            error=result.error_code,
            failing_s=round(lease.failing_s, 1),
        )

    async def _spoken(self, lease: Lease) -> ItemResult:
        if lease.taken > MOST_TAKES:
            return failed(GaveUp())
        spec = self._record.spec
        if spec.keeps_audio:
            try:
                room = await patiently(lambda: self._store.audio_room(self._ref.tenant))
            except StoreError as error:
                return failed(error)
            if room < self._least_room_bytes:
                return failed(NoAudioRoom())
        request = SpeechRequest(
            tenant=self._ref.tenant,
            text=lease.text,
            agent_id=spec.agent_id,
            language=spec.language,
            output_format=spec.output_format,
            optimize_for_speed=spec.optimize_for_speed,
            origin=ORIGIN_OF_KIND[spec.kind],
            common=spec.kind == "pregenerate",
        )
        return await self._speaker.speak(
            request,
            "req_" + secrets.token_hex(8),
            self._with_the_job(lease) if spec.keeps_audio else in_the_cache,
            patience_s=_BUSY_PATIENCE_S,
            again=lambda error: self._passes(lease, error.code, error.retryable),
        )

    def _with_the_job(self, lease: Lease) -> Keep:
        async def keep(plan: SpeechPlan, entry: RenditionEntry) -> str:
            link = AudioLink(
                plan.tenant,
                plan.agent_id,
                audio_name(self._ref, lease.index),
                int(self._record.expires_unix_s),
            )
            try:
                return await patiently(
                    lambda: self._results.put_as(
                        link, entry, lambda value: self._store.keep_audio(self._ref, lease, value)
                    )
                )
            except NoAudioRoom:
                # The next would be paid for and refused as well.
                self._least_room_bytes = len(entry.audio)
                raise

        return keep

    async def _beat(self) -> None:
        while True:
            leases = [lease for lease, _ in self._at_work.values()]
            try:
                for index in await self._store.beat(self._ref, leases):
                    known = self._at_work.get(index)
                    if known is not None and known[0] in leases:
                        known[1].cancel()
            except StoreError as error:
                _log.warning("job_heartbeat_missed", job=self._ref.job_id, error=error.code)
            await asyncio.sleep(HEARTBEAT_S)

    async def _let_go(self, *, unspent: bool) -> None:
        """End what is under way and give it back; bounded, for the worker may be ending."""
        left = list(self._at_work.values())
        leases = [lease for lease, _ in left]
        for _, task in left:
            task.cancel()
        if left:
            await asyncio.wait([task for _, task in left], timeout=_RELEASE_S)
        if self._taking is not None:
            await asyncio.wait([self._taking], timeout=_TAKE_S)
            self._taking.cancel()
            await asyncio.wait([self._taking])
            if not self._taking.cancelled() and self._taking.exception() is None:
                taken = self._taking.result()
                leases += [taken] if isinstance(taken, Lease) else []
        if not leases:
            return
        try:
            async with asyncio.timeout(_RELEASE_S):
                await patiently(lambda: self._store.give_back(self._ref, leases, unspent=unspent))
        except (StoreError, TimeoutError):
            _log.warning("job_leases_left_to_end", job=self._ref.job_id, leases=len(leases))


def longest_run_s(settings: Settings) -> float:
    """How long a run may take: it takes texts for `RUN_S`, waits for a place that another run's
    text has, then speaks its last text; each of these may be the longest, be refused for load all
    its time, and find the store away before it, when it keeps its audio, and at its end."""
    deadline = deadline_maker(settings)(None, "bulk")
    text_s = _BUSY_PATIENCE_S + longest_try_s(deadline, settings.speech.max_text_chars)
    return RUN_S + 2 * (text_s + 3 * _STORE_PATIENCE_S)


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the job store, again and again while it is away for up to a minute.

    Raises:
        StoreError: it was away for longer.
    """
    until_s = time.monotonic() + _STORE_PATIENCE_S
    pause_s = 0.1
    while True:
        try:
            return await ask()
        except StoreError:
            if time.monotonic() + pause_s > until_s:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
