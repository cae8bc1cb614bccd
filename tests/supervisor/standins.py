"""Stand-ins for the gateway, the voice server and a worker, and a program that supervises them.

    python -m tests.supervisor.standins up
    python -m tests.supervisor.standins gateway --fd N
    python -m tests.supervisor.standins voices --socket PATH --processes N ...
    python -m tests.supervisor.standins worker

They behave as the real ones do at their edges; knobs are environment variables: STAND_IN_GATEWAY,
STAND_IN_VOICES and STAND_IN_WORKER are `well`, `exits` (at once) or `deaf` (to SIGTERM).
"""

from __future__ import annotations

import argparse
import array
import asyncio
import math
import os
import signal
import socket
import subprocess
import sys

from core.errors import ConfigurationError
from core.settings import load_settings
from gateway.supervisor import Supervisor

TONE = array.array("h", (int(8000 * math.sin(i / 8)) for i in range(24_000))).tobytes()


async def gateway(fd: int) -> None:
    """Ready when the voices listen; speaks 100 ms of silence, then 1 s of a tone, in odd pieces."""
    listener = socket.socket(fileno=fd)
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /health/ready"):
            voices = os.path.exists(os.environ["SEIKETSU_VOICE_SOCKET"])
            status = b"200 OK" if voices else b"503 Service Unavailable"
            writer.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n\r\n")
        elif head.startswith(b"GET /env/"):
            name = head.split()[1].rpartition(b"/")[2].decode()
            value = os.environ.get(name, "").encode()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + value)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            pcm = bytes(4800) + TONE
            for at in range(0, len(pcm), 4801):
                writer.write(pcm[at : at + 4801])
                await writer.drain()
                await asyncio.sleep(0.005)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, sock=listener):
        await done.wait()


async def voices(path: str) -> None:
    """Listens on its socket and has a child that does not care for SIGTERM."""
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    bound = [sys.executable, "-m", "core.children", str(os.getpid())]
    child = subprocess.Popen([*bound, sys.executable, "-c", program])  # noqa: ASYNC220
    try:
        async with await asyncio.start_unix_server(lambda r, w: w.close(), path):
            await done.wait()
    finally:
        os.unlink(path)
        child.kill()
        child.wait()


async def worker() -> None:
    """Waits."""
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    await done.wait()


def up() -> int:
    me = (sys.executable, "-m", "tests.supervisor.standins")
    supervisor = Supervisor(
        load_settings(os.environ),
        os.environ,
        say=lambda line: print(line, flush=True),
        gateway_command=(*me, "gateway"),
        voices_command=(*me, "voices"),
        worker_command=(*me, "worker"),
        ready_timeout_s=5.0,
    )
    try:
        return asyncio.run(supervisor.run())
    except ConfigurationError as error:
        print(f"seiketsu: {error.message}", file=sys.stderr)
        return 1


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("up", "gateway", "voices", "worker"))
    parser.add_argument("--fd", type=int)
    parser.add_argument("--socket")
    parser.add_argument("--processes")
    parser.add_argument("--slow-processes")
    parser.add_argument("--queue-limit")
    parser.add_argument("--data-dir")
    parser.add_argument("--kokoro-model")
    options = parser.parse_args()
    if options.role == "up":
        return up()
    mood = os.environ.get(f"STAND_IN_{options.role.upper()}", "well")
    if mood == "exits":
        print(f"the {options.role} has no luck", file=sys.stderr)
        return 3
    works = {"gateway": lambda: gateway(options.fd), "voices": lambda: voices(options.socket)}
    work = works.get(options.role, worker)()
    if mood == "deaf":

        async def deaf() -> None:
            task = asyncio.ensure_future(work)
            await asyncio.sleep(0.05)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
            await task

        asyncio.run(deaf())
    else:
        asyncio.run(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
