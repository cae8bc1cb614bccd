"""Child processes that never outlive the process that started them.

Every child runs in a session of its own, so that Ctrl-C in a terminal reaches only the parent and
one signal reaches the child with all it has started. On Linux the kernel kills the child when its
parent dies, `SIGKILL` included: this file is also the small program (`python -I -S children.py
PARENT_PID COMMAND...`) that asks the kernel for that and then becomes the command. The request is
bound to the parent's *thread*: start children from a thread that lives as long as they should.

Only the standard library is imported, since the program starts once for every child.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Final

EXIT_CANNOT_START: Final = 127
"""Exit code of a child whose command could not be executed."""

_PR_SET_PDEATHSIG: Final = 1


def bound_to_parent(command: Sequence[str]) -> list[str]:
    """`command` as a command that is killed (`SIGKILL`) when the calling process dies."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


class Child:
    """A running child process. Usable from any event loop; holds none."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        private_files: bool = False,
    ) -> None:
        """Start `command`.

        Without `output` stdout and stderr are the parent's own. With `private_files` only this
        user can read what the child writes.
        """
        self._process = subprocess.Popen(  # noqa: S603 - commands are built by us, never by a caller
            bound_to_parent(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            pass_fds=pass_fds,
            start_new_session=True,
            umask=0o077 if private_files else -1,
        )

    @property
    def pid(self) -> int:
        """Process id; also the id of its session and process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; `None` while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait until the child has ended; unbounded, so bound it or cancel it. The exit code."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, an old kernel, or already reaped
            while (code := self._process.poll()) is None:
                await asyncio.sleep(0.05)
            return code
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(descriptor, ended.set)
            while (code := self._process.poll()) is None:
                await ended.wait()
            return code
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def signal(self, number: int) -> None:
        """Send a signal to the child and everything in its process group."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # it has ended; macOS says the latter
            return

    async def end(self, grace_s: float) -> int:
        """Ask the child to end, wait `grace_s` seconds, then kill its whole group. The exit code.

        Killing is also what happens when the wait is cancelled.
        """
        try:
            if self.returncode is None:
                self.signal(signal.SIGTERM)
                async with asyncio.timeout(grace_s):
                    await self.wait()
        except TimeoutError:
            pass
        finally:
            self.kill()
        return self._process.wait()

    def kill(self) -> None:
        """Kill the child and everything in its process group, and reap the child."""
        self.signal(signal.SIGKILL)
        self._process.wait()


def main(arguments: Sequence[str]) -> int:
    """Bind this process to its parent and become the command: `PARENT_PID COMMAND...`."""
    parent, command = int(arguments[0]), list(arguments[1:])
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        return EXIT_CANNOT_START
    try:
        os.execvp(command[0], command)  # noqa: S606 - becoming the command is what this is for
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
        return EXIT_CANNOT_START


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
