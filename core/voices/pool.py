"""The voice server's children: who speaks next, and what happens when one dies."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import msgspec
import structlog

from core.voices.protocol import Failed, Job, WorkClass
from core.voices.worker import Listener, Worker

STALL_S: Final = 15.0
"""A child that is silent for so long in the middle of a job is killed. The longest step of one is
0.5 s alone on a core (hibari, a passage of 400 equals signs)."""

START_S: Final = 60.0
"""A child that has not loaded its voices by then is killed."""

_STEADY_S: Final = 2.0
"""A child that dies sooner after it was ready counts towards a crash loop."""
_LONGEST_PAUSE_S: Final = 5.0
_HOPELESS: Final = 4
"""So many deaths in a row, none steady, before any child was ever ready: give up."""

log: Final = structlog.get_logger("core.voices")


class Request(msgspec.Struct, eq=False):
    """One thing to be spoken and who asked for it."""

    job: Job
    work_class: WorkClass
    listener: Listener
    worker: Worker | None = None
    """Who speaks it, from when somebody does."""
    began_s: float = 0.0


class Pool:
    """Keeps a number of children alive and gives them work: live before bulk, in order within."""

    def __init__(self, processes: int, queue_limit: int, *, stall_s: float = STALL_S) -> None:
        """`queue_limit` requests may wait for a child, of both classes together."""
        self.processes = processes
        self.restarts = 0
        self.served = 0
        self._queue_limit = queue_limit
        self._stall_s = stall_s
        self._queues: dict[WorkClass, deque[Request]] = {"live": deque(), "bulk": deque()}
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._running: dict[Worker, Request] = {}
        self._pausing = 0
        self._keepers: list[asyncio.Task[None]] = []
        self._job_s = 0.1  # a running mean of what one job takes, for the retry hint
        self.ever_ready = asyncio.Event()
        """Set when the first child is ready."""
        self.hopeless = asyncio.Event()
        """Set when no child can be started."""

    def start(self) -> None:
        """Start the children."""
        self._keepers = [
            asyncio.create_task(self._keep(), name=f"voice-child-{slot}")
            for slot in range(self.processes)
        ]

    async def stop(self) -> None:
        """Kill the children and wait until they are dead."""
        for keeper in self._keepers:
            keeper.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers)

    @property
    def ready(self) -> int:
        """Children that have loaded their voices."""
        return sum(1 for worker in self._workers if worker.ready_at_s is not None)

    @property
    def working(self) -> int:
        """Children that are speaking."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """Requests that wait for a child."""
        return sum(map(len, self._queues.values()))

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the children."""
        return tuple(worker.pid for worker in self._workers)

    def submit(self, request: Request) -> None:
        """Take a request; its listener hears the end in any case, maybe before this returns."""
        if self._pausing == self.processes:  # a crash loop: no child, and none about to start
            request.listener.on_end(Failed("unavailable", retryable=True, retry_after_s=1.0))
            return
        self._queues[request.work_class].append(request)
        self._dispatch()
        if self.queued <= self._queue_limit:
            return
        # Too many: the newest of the lesser class has to go, which may be this one.
        refused = (self._queues["bulk"] or self._queues["live"]).pop()
        refused.listener.on_end(Failed("busy", retryable=True, retry_after_s=self._until_room_s()))

    def cancel(self, request: Request) -> None:
        """Nobody listens to this request any more; it hears nothing after this."""
        if request.worker is not None:
            request.worker.detach(request.listener)
        elif request in self._queues[request.work_class]:
            self._queues[request.work_class].remove(request)

    def on_idle(self, worker: Worker) -> None:
        """See `worker.Owner`."""
        self.ever_ready.set()
        request = self._running.pop(worker, None)
        if request is not None:
            self.served += 1
            took_s = asyncio.get_running_loop().time() - request.began_s
            self._job_s += 0.1 * (took_s - self._job_s)
        self._idle.append(worker)
        self._dispatch()

    def on_gone(self, worker: Worker) -> None:
        """See `worker.Owner`."""
        self._running.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)

    def _dispatch(self) -> None:
        now_s = asyncio.get_running_loop().time()
        while self._idle and (queue := self._queues["live"] or self._queues["bulk"]):
            request, worker = queue.popleft(), self._idle.pop()
            request.worker, request.began_s = worker, now_s
            self._running[worker] = request
            worker.speak(request.job, request.listener)

    def _until_room_s(self) -> float:
        waves = (self.queued + 1) / self.processes
        return round(min(5.0, max(0.05, waves * self._job_s)), 3)

    async def _keep(self) -> None:
        """Keep one child alive: a new one at once when it dies, with pauses if they die young."""
        young = 0
        while True:
            worker = Worker(self, self._stall_s)
            self._workers.append(worker)
            try:
                await self._live(worker)
            except OSError as error:
                # No process to be had just now; the pause below grows until there is one.
                log.error("voice_child_cannot_start", kind=type(error).__name__)
            finally:
                self._workers.remove(worker)
                await worker.end()
            now_s = asyncio.get_running_loop().time()
            steady = worker.ready_at_s is not None and now_s - worker.ready_at_s > _STEADY_S
            young = 0 if steady else young + 1
            pause_s = min(_LONGEST_PAUSE_S, 0.1 * 2.0**young) if young > 1 else 0.0
            self.restarts += 1
            log.warning("voice_child_died", pid=worker.pid, in_a_row=young, pause_s=pause_s)
            if young >= _HOPELESS and not self.ever_ready.is_set():
                self.hopeless.set()
            if pause_s:
                await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        self._pausing += 1
        try:
            if self._pausing == self.processes:
                self._refuse_waiting()
            await asyncio.sleep(pause_s)
        finally:
            self._pausing -= 1

    async def _live(self, worker: Worker) -> None:
        """Start a child and wait until it is gone."""
        await worker.start()
        try:
            async with asyncio.timeout(START_S):
                await worker.gone.wait()
        except TimeoutError:
            if worker.ready_at_s is not None:
                await worker.gone.wait()

    def _refuse_waiting(self) -> None:
        """No child is left, nor is one about to start, that the waiting could hope for."""
        for queue in self._queues.values():
            while queue:
                request = queue.popleft()
                request.listener.on_end(Failed("unavailable", retryable=True, retry_after_s=1.0))
