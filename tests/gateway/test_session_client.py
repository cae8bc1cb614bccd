"""The JavaScript client comes back to its session when the connection is cut."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.gateway.fakes import FakeSpeech
from tests.gateway.server import Gateway


class Cutter:
    """A way to the gateway that is cut once, when the first audio has passed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._copying: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there = await asyncio.open_connection("127.0.0.1", self._port)
        cut = b"audio_chunk" if self.connections == 1 else None
        up = asyncio.create_task(self._copy(reader, there[1], None))
        self._copying.add(up)
        await self._copy(there[0], writer, cut)
        up.cancel()
        await asyncio.wait([up])
        for one in (writer, there[1]):
            one.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: bytes | None
    ) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
            if cut is not None and cut in data:
                return


async def run(script: str, **env: str) -> str:
    """Have k6 run the script; what it printed."""
    command = [str(Path(sys.executable).parent / "k6"), "run", "--no-usage-report", "--quiet"]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, str(Path(__file__).with_name(script))],
        capture_output=True,
        timeout=30,
        env={**os.environ, **env},
    )
    printed = done.stdout.decode()
    assert done.returncode == 0, printed + done.stderr.decode()
    return printed


async def test_the_javascript_client_hands_back_what_is_lost_and_knows_when_it_is_over() -> None:
    printed = await run("client_alone.js")
    assert "✓ nothing was thrown" in printed, printed


async def test_the_javascript_client_comes_back_by_itself(
    gateway: Gateway, speech: FakeSpeech
) -> None:
    speech.between_s = 0.1
    cutter = Cutter(gateway.port)
    server = await asyncio.start_server(cutter.take, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        printed = await run("returning_client.js", SEIKETSU_URL=f"http://127.0.0.1:{port}")
    for what in ("it came back", "all was spoken"):
        assert f"✓ {what}" in printed
    assert cutter.connections == 2
