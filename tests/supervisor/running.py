"""A supervisor as a process of its own, and what is left of it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil


class Running:
    """A supervisor process whose output is read line by line."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self.process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._seen: set[psutil.Process] = set()
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._read_out, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line.rstrip("\n"))

    def read_until(self, beginning: str, timeout_s: float = 30.0) -> str:
        """The next line that starts so; fails when the output ends or the time is over."""
        until = time.monotonic() + timeout_s
        while True:
            line = self._queue.get(timeout=max(0.01, until - time.monotonic()))
            assert line is not None, f"output ended: {self.lines} {self.errors}"
            self.lines.append(line)
            if line.startswith(beginning):
                return line

    def descendants(self) -> list[psutil.Process]:
        """Every process below it now."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        self._seen.update(below)
        return below

    def wait(self, timeout_s: float = 20.0) -> int:
        """The exit code; stdout and stderr are read to their ends."""
        code = self.process.wait(timeout_s)
        for thread in self._threads:
            thread.join(5.0)
            assert not thread.is_alive(), "somebody still holds the output open"
        while (line := self._queue.get()) is not None:
            self.lines.append(line)
        return code

    def close(self) -> None:
        """Kill it and all that was below it, whatever happened, and close its pipes."""
        with contextlib.suppress(psutil.Error):
            self.descendants()
        self.process.kill()
        self.process.wait()
        for process in self._seen:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for thread in self._threads:
            thread.join(5.0)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Iterator[Running]:
    started = Running([sys.executable, *command], env, cwd)
    try:
        yield started
    finally:
        started.close()


def all_gone(processes: Sequence[psutil.Process], timeout_s: float = 3.0) -> bool:
    """Whether every process has ended within the time."""
    until = time.monotonic() + timeout_s
    while alive := [p for p in processes if _alive(p)]:
        if time.monotonic() > until:
            print("still there:", [(p.pid, p.cmdline()) for p in alive])
            return False
        time.sleep(0.02)
    return True


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def port_is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C as a terminal sends it: to the whole foreground process group."""
    os.killpg(process.pid, signal.SIGINT)
