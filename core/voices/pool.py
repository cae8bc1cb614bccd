"""The children of one lane: who speaks next, and what happens when one dies."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from core.voices.pace import START_VALUES, Pace
from core.voices.protocol import Failed, LaneStatus, Unable
from core.voices.registry import EngineOptions, Lane
from core.voices.schedule import Request, Schedule
from core.voices.worker import Worker

STALL_S: Final[dict[Lane, float]] = {"quick": 15.0, "slow": 60.0}
"""A child that is silent for so long in the middle of a job is killed. The longest step of one is
0.5 s alone on a core in the quick lane (hibari, a passage of 400 equals signs), 5 s in the slow
one, which in addition gets only what the others leave of the processor."""

START_S: Final[dict[Lane, float]] = {"quick": 60.0, "slow": 180.0}
"""A child that has not loaded its voices by then is killed."""

_STEADY_S: Final = 2.0
"""A child that dies sooner after it was ready counts towards a crash loop."""
_LONGEST_PAUSE_S: Final = 5.0
_HOPELESS: Final = 4
"""So many deaths in a row, none steady, before any child was ever ready: give up."""
_LEFT_SHARE: Final = 0.1
"""What takes longer than expected is expected to take this share more of the time that it took."""
_STEPS_AFTER_CANCEL: Final = 2.0
"""A child sees that nobody listens any more at the end of its passage: in about so many times what
a first passage takes."""

log: Final = structlog.get_logger("core.voices")


def child_command(lane: Lane, options: EngineOptions) -> list[str]:
    """The command of a lane's children; the number of their socket comes after it."""
    encoded = msgspec.json.encode(options).decode()
    return [sys.executable, "-m", "core.voices.child", lane, encoded]


class Pool:
    """Keeps a number of children alive and gives them work, see `core.voices.schedule`."""

    def __init__(
        self, lane: Lane, command: Sequence[str], processes: int, queue_limit: int
    ) -> None:
        """`queue_limit` requests may wait for a child; `command` is as of `child_command`."""
        self.processes = processes
        self._lane: Final = lane
        self._command = command
        self._queue_limit = queue_limit
        self._pace = Pace(START_VALUES[lane])
        self._schedule = Schedule(self._pace, spares_one=lane == "slow" and processes > 1)
        self._restarts = 0
        self._served = 0
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._running: dict[Worker, Request] = {}
        self._pausing = 0
        self._unable: Unable | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._check: asyncio.TimerHandle | None = None
        self.ever_ready = asyncio.Event()
        """Set when the first child is ready."""
        self.hopeless = asyncio.Event()
        """Set when no child can be started."""

    def start(self) -> None:
        """Start the children."""
        self._keepers = [
            asyncio.create_task(self._keep(), name=f"voice-child-{self._lane}-{slot}")
            for slot in range(self.processes)
        ]

    async def stop(self) -> None:
        """Kill the children and wait until they are dead."""
        if self._check is not None:
            self._check.cancel()
        for keeper in self._keepers:
            keeper.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers)

    @property
    def ready(self) -> int:
        """Children that have loaded their voices."""
        return sum(1 for worker in self._workers if worker.ready_at_s is not None)

    def status(self) -> LaneStatus:
        """The state at this moment."""
        return LaneStatus(
            processes=self.processes,
            ready=self.ready,
            working=len(self._running),
            queued=len(self._schedule.waiting),
            restarts=self._restarts,
            served=self._served,
            child_pids=tuple(worker.pid for worker in self._workers),
        )

    def submit(self, request: Request) -> None:
        """Take a request; its listener hears the end in any case, maybe before this returns."""
        if self._without_hope():
            self._unavailable(request)
            return
        now_s = self._now_s()
        free_in_s = self._schedule.check(request, self._free_at_s(now_s), now_s)
        if free_in_s is not None:
            _refuse(request, free_in_s)
            return
        self._schedule.add(request)
        self._dispatch()
        if len(self._schedule.waiting) > self._queue_limit:
            newest = self._schedule.newest_of_least()
            _refuse(newest, self._schedule.free_in_s(self._free_at_s(now_s), now_s))

    def cancel(self, request: Request) -> None:
        """Nobody listens to this request any more; it hears nothing after this."""
        if request.worker is not None:
            request.cancelled = True
            now_s = self._now_s()
            step_s = _STEPS_AFTER_CANCEL * self._pace.first_s(now_s)
            request.end_s = min(request.end_s, now_s + step_s)
            request.worker.detach(request.listener)
        elif request in self._schedule.waiting:
            self._schedule.waiting.remove(request)

    def on_idle(self, worker: Worker) -> None:
        """See `worker.Owner`."""
        now_s = self._now_s()
        request = self._running.pop(worker, None)
        if request is not None:
            self._served += 1
            if request.heard and not request.cancelled:
                self._pace.saw_job(request.job, now_s - request.began_s)
        else:
            self._unable = None
            self.ever_ready.set()
            self._pace.saw_load(now_s - worker.started_at_s)
            log.info("voice_child_ready", lane=self._lane, pid=worker.pid)
        self._idle.append(worker)
        self._dispatch()

    def on_first_audio(self, worker: Worker) -> None:
        """See `worker.Owner`."""
        request = self._running.get(worker)
        if request is not None:
            request.heard = True
            now_s = self._now_s()
            self._pace.saw_first(now_s - request.began_s, now_s)

    def on_unable(self, worker: Worker, why: Unable) -> None:
        """See `worker.Owner`; said once, however often it is tried again."""
        if why != self._unable:
            self._unable = why
            log.error(
                "voice_lane_cannot_start", lane=self._lane, reason=why.reason, trace=why.trace
            )
        if self._without_hope():
            self._refuse_waiting()

    def on_gone(self, worker: Worker) -> None:
        """See `worker.Owner`."""
        self._running.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)

    def _without_hope(self) -> bool:
        """Whether no child is left, nor is one about to start, that a request could wait for."""
        if self._pausing == self.processes:
            return True
        return not self.ready and (self._unable is not None or self.hopeless.is_set())

    def _dispatch(self) -> None:
        now_s = self._now_s()
        while (request := self._schedule.next(len(self._idle), now_s)) is not None:
            worker = self._idle.pop()
            request.worker, request.began_s = worker, now_s
            request.end_s = now_s + self._pace.job_s(request.job)
            self._running[worker] = request
            worker.speak(request.job, request.listener)
        self._refuse_hopeless(now_s)
        if self._check is not None:
            self._check.cancel()
        check_s = self._schedule.next_check_s(now_s)
        if check_s is not None:
            loop = asyncio.get_running_loop()
            self._check = loop.call_later(max(0.0, check_s - now_s) + 0.001, self._dispatch)

    def _refuse_hopeless(self, now_s: float) -> None:
        for request in self._schedule.hopeless(now_s):
            _refuse(request, self._schedule.free_in_s(self._free_at_s(now_s), now_s))

    def _free_at_s(self, now_s: float) -> list[float]:
        """When each child is free, as expected; of those that pause after a crash nothing is."""
        times = [self._worker_free_at_s(w, now_s) for w in self._workers if not w.gone.is_set()]
        starting = max(self.processes - self._pausing - len(times), 0 if times else 1)
        return times + [now_s + self._pace.load_s] * starting

    def _worker_free_at_s(self, worker: Worker, now_s: float) -> float:
        request = self._running.get(worker)
        if request is not None:
            late_s = _LEFT_SHARE * (now_s - request.began_s)
            return max(request.end_s, now_s + late_s)
        if worker.ready_at_s is not None:
            return now_s
        late_s = _LEFT_SHARE * (now_s - worker.started_at_s)
        return max(worker.started_at_s + self._pace.load_s, now_s + late_s)

    async def _keep(self) -> None:
        """Keep one child alive: a new one at once when it dies, with pauses if they die young."""
        young = 0
        while True:
            worker = Worker(self, self._command, STALL_S[self._lane])
            self._workers.append(worker)
            try:
                await self._live(worker)
            except OSError as error:
                # No process to be had just now; the pause below grows until there is one.
                log.error("voice_child_cannot_start", kind=type(error).__name__)
            finally:
                self._workers.remove(worker)
                await worker.end()
            now_s = self._now_s()
            steady = worker.ready_at_s is not None and now_s - worker.ready_at_s > _STEADY_S
            young = 0 if steady else young + 1
            pause_s = min(_LONGEST_PAUSE_S, 0.1 * 2.0**young) if young > 1 else 0.0
            self._restarts += 1
            if not worker.unable:
                log.warning(
                    "voice_child_died",
                    lane=self._lane,
                    pid=worker.pid,
                    in_a_row=young,
                    pause_s=pause_s,
                )
            if young >= _HOPELESS and not self.ever_ready.is_set():
                self.hopeless.set()
            if pause_s:
                await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        self._pausing += 1
        try:
            if self._without_hope():
                self._refuse_waiting()
            await asyncio.sleep(pause_s)
        finally:
            self._pausing -= 1

    async def _live(self, worker: Worker) -> None:
        """Start a child and wait until it is gone."""
        await worker.start()
        try:
            async with asyncio.timeout(START_S[self._lane]):
                await worker.gone.wait()
        except TimeoutError:
            if worker.ready_at_s is not None:
                await worker.gone.wait()

    def _refuse_waiting(self) -> None:
        waiting, self._schedule.waiting = self._schedule.waiting, []
        for request in waiting:
            self._unavailable(request)

    def _unavailable(self, request: Request) -> None:
        again_s = 1.0 if self._unable is None else _LONGEST_PAUSE_S
        request.listener.on_end(Failed("unavailable", retryable=True, retry_after_s=again_s))

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


def _refuse(request: Request, free_in_s: float) -> None:
    hint_s = round(free_in_s, 3)
    request.listener.on_end(Failed("busy", retryable=True, retry_after_s=hint_s))
