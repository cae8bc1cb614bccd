"""`seiketsu serve --processes N`: several gateway processes on one listening socket.

This process holds the socket and serves nothing itself. A child that dies or hangs is started
again; SIGHUP replaces the children one after the other, each only when its successor takes
requests, so that there is always somebody to answer. SIGTERM and SIGINT drain all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog

from core.children import Child
from core.errors import ConfigurationError
from core.settings import Settings
from gateway.pulse import HUNG_S, Pulse
from gateway.supervisor import gateway_grace_s

log = structlog.get_logger("seiketsu.gateway")

_BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Waits before a child is started again; as many deaths in a row without one steady run end all."""
_STEADY_S: Final = 10.0
"""A child that served this long has started well."""
_READY_S: Final = 60.0
"""Longest time from its start until a child takes requests."""


class NotReady(Exception):
    """A child ended, or its time was over, before it took requests."""


class _Slot:
    """The place of one child; its keeper alone changes it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.replaced: asyncio.Future[bool] | None = None
        """Set while somebody waits for a successor; resolved with whether there is one."""
        self.asked = asyncio.Event()


class Processes:
    """The children of one `serve`."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        listener: socket.socket,
        count: int,
        *,
        command: Sequence[str] = (sys.executable, "-m", "gateway.cli", "serve"),
        hung_s: float = HUNG_S,
    ) -> None:
        """The command gets `--fd N --ready-fd M` added."""
        self._settings = settings
        self._env = dict(environ)
        self._listener = listener
        self._command = command
        self._hung_s = hung_s
        self._slots = [_Slot(number) for number in range(count)]
        self._children: dict[Child, Pulse] = {}
        self._asked_to_end: set[Child] = set()
        self._end, self._hurry, self._roll = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self) -> int:
        """Serve until SIGINT or SIGTERM. The exit code.

        Raises:
            ConfigurationError: a child cannot start or does not stay; all have ended.
        """
        with self._signals():
            keepers = [asyncio.create_task(self._keep(slot)) for slot in self._slots]
            tasks: list[asyncio.Task[Any]] = [
                *keepers,
                asyncio.create_task(self._roll_when_asked()),
                asyncio.create_task(self._end.wait()),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if not self._end.is_set():
                    for task in tasks:
                        if task.done():
                            task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._end_all()
        return 0

    async def _keep(self, slot: _Slot) -> None:
        """Keep one slot served; never returns.

        Raises:
            ConfigurationError: its children end again and again.
        """
        deaths = 0
        while True:
            started_s = time.monotonic()
            child = None
            with contextlib.suppress(NotReady):
                child = await self._start()
            while child is not None and await self._asked_before_end(slot, child):
                child, started_s = await self._replace(slot, child, started_s)
            deaths = 0 if child is not None and _steady(started_s) else deaths + 1
            if deaths > len(_BACKOFF_S):
                raise ConfigurationError(
                    f"A gateway process ended {deaths} times in a row; its log says why."
                )
            if child is not None:
                log.error("gateway_process_ended", slot=slot.number, code=child.returncode)
                self._forget(child)
            await asyncio.sleep(_BACKOFF_S[max(deaths - 1, 0)])

    async def _start(self) -> Child:
        """A new child that takes requests.

        Raises:
            NotReady: it does not.
        """
        reading, writing = os.pipe()
        pulse = Pulse(reading, hung_s=self._hung_s)
        try:
            listening = self._listener.fileno()
            command = [*self._command, "--fd", str(listening), "--ready-fd", str(writing)]
            child = Child(command, env=self._env, pass_fds=[listening, writing])
        except BaseException:
            pulse.close()
            raise
        finally:
            os.close(writing)
        self._children[child] = pulse
        try:
            ready = await pulse.first(_READY_S)
        except BaseException:
            self._forget(child)
            raise
        if not ready:
            self._forget(child)
            log.error("gateway_process_not_ready", code=child.returncode)
            raise NotReady
        log.info("gateway_process_ready", process=child.pid)
        return child

    async def _asked_before_end(self, slot: _Slot, child: Child) -> bool:
        """Wait until a successor is asked for (True) or the child ends (False); one that hangs is
        killed."""
        ending = asyncio.create_task(child.wait())
        asking = asyncio.create_task(slot.asked.wait())
        hanging = asyncio.create_task(self._children[child].stopped())
        tasks = (ending, asking, hanging)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if hanging.done() and not ending.done():
                log.error("gateway_process_hangs", slot=slot.number, process=child.pid)
                child.kill()
                return False
            return not ending.done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _replace(self, slot: _Slot, child: Child, started_s: float) -> tuple[Child, float]:
        """The child's successor and when it was started; the child itself if there is none."""
        slot.asked.clear()
        waiting, slot.replaced = slot.replaced, None
        began_s = time.monotonic()
        try:
            successor = await self._start()
        except NotReady:
            if waiting is not None and not waiting.done():
                waiting.set_result(False)
            return child, started_s
        await self._retire(child)
        if waiting is not None and not waiting.done():
            waiting.set_result(True)
        return successor, began_s

    async def _retire(self, child: Child) -> None:
        """Have it end in order; cancelled, it is left to `_end_all`."""
        if child not in self._asked_to_end:  # asked twice, it would cut its replies off
            self._asked_to_end.add(child)
            child.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(gateway_grace_s(self._settings)):
                await child.wait()
        self._forget(child)

    async def _roll_when_asked(self) -> None:
        while True:
            await self._roll.wait()
            self._roll.clear()
            for slot in self._slots:
                slot.replaced = asyncio.get_running_loop().create_future()
                replaced = slot.replaced
                slot.asked.set()
                if not await replaced:
                    log.error("gateway_roll_given_up", slot=slot.number)
                    break
            else:
                log.info("gateway_roll_done", processes=len(self._slots))

    async def _end_all(self) -> None:
        """While the notice runs the children still accept; then nobody does, and they drain."""
        children = list(self._children)
        for child in children:
            child.signal(signal.SIGUSR1)
        if children:
            await self._unhurried(asyncio.sleep(self._settings.gateway.drain_notice_s))
        # The notice ran: a listening socket without anybody behind it would hold callers up.
        self._listener.close()
        await self._unhurried(_all(self._retire(child) for child in children))
        for child in children:
            self._forget(child)

    async def _unhurried(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do `work`, or give it up when this process is asked to end a second time."""
        doing = asyncio.create_task(work)
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait({doing, hurry}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (doing, hurry):
                task.cancel()
            await asyncio.gather(doing, hurry, return_exceptions=True)

    def _forget(self, child: Child) -> None:
        """Kill what is left of it."""
        child.kill()
        pulse = self._children.pop(child, None)
        if pulse is not None:
            pulse.close()
        self._asked_to_end.discard(child)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def ask() -> None:
            (self._hurry if self._end.is_set() else self._end).set()

        actions: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGINT: ask,
            signal.SIGTERM: ask,
            signal.SIGHUP: self._roll.set,
        }
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
        try:
            yield
        finally:
            for number in actions:
                loop.remove_signal_handler(number)


def _steady(started_s: float) -> bool:
    return time.monotonic() - started_s > _STEADY_S


async def _all(works: Iterator[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)
