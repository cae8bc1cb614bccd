"""A client of the emulator's WebSockets that writes down every frame."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from benchmarks import wordcode
from benchmarks.emulator.process import EmulatorProcess
from benchmarks.emulator.sockets.log import SocketNote
from tests.emulator.conftest import RACHEL

FLASH: Final = "eleven_flash_v2_5"
MULTI: Final = "multi-stream-input"
SINGLE: Final = "stream-input"
TAIL_BYTES: Final = 960
_WAIT_S: Final = 5.0
_AUTO: Final = {"model_id": FLASH, "output_format": "pcm_24000", "auto_mode": "true"}

Frame = dict[str, Any]


class Client:
    """One open socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.closed = False
        self.reason: str | None = None

    @property
    def close_code(self) -> int | None:
        """1006: the connection went without a close frame."""
        return self.socket.close_code

    async def say(self, *messages: Frame) -> None:
        """Send messages."""
        for message in messages:
            await self.socket.send_json(message)

    async def frame(self, timeout_s: float = _WAIT_S) -> Frame | None:
        """The next frame; None: the socket was closed."""
        async with asyncio.timeout(timeout_s):
            received = await self.socket.receive()
        if received.type is not aiohttp.WSMsgType.TEXT:
            self.closed, self.reason = True, received.extra
            return None
        found: Frame = json.loads(received.data)
        return found

    async def until_final(self, finals: int = 1) -> list[Frame]:
        """Every frame up to that many final ones."""
        frames: list[Frame] = []
        while sum(bool(frame.get("isFinal")) for frame in frames) < finals:
            frame = await self.frame()
            assert frame is not None, (self.close_code, self.reason, frames[-1:])
            frames.append(frame)
        return frames

    async def piece(self) -> list[Frame]:
        """The frames of one generated piece, which ends with its small one."""
        frames: list[Frame] = []
        while not frames or len(audio_of(frames[-1:])) > TAIL_BYTES:
            frame = await self.frame()
            assert frame is not None, (self.close_code, self.reason)
            frames.append(frame)
        return frames

    async def until_closed(self) -> list[Frame]:
        """Every frame up to the close."""
        frames: list[Frame] = []
        while (frame := await self.frame()) is not None:
            frames.append(frame)
        return frames

    async def silent(self, timeout_s: float = 0.15) -> bool:
        """Whether nothing comes."""
        try:
            await self.frame(timeout_s)
        except TimeoutError:
            return True
        return False


def socket_url(
    emulator: EmulatorProcess, route: str = MULTI, voice: str = RACHEL, **query: str
) -> str:
    """Flash, pcm_24000 and auto mode, where the query does not say otherwise."""
    asked = "&".join(f"{name}={value}" for name, value in (_AUTO | query).items() if value)
    return f"{emulator.url}/v1/text-to-speech/{voice}/{route}?{asked}"


@asynccontextmanager
async def connected(http: aiohttp.ClientSession, url: str, **options: Any) -> AsyncIterator[Client]:
    """An open socket; closed with the block."""
    async with http.ws_connect(url, **options) as socket:
        yield Client(socket)


async def settled(emulator: EmulatorProcess) -> list[SocketNote]:
    """The log once no socket is open any more."""
    for _ in range(200):
        if (await emulator.state())["sockets"]["open"] == 0:
            return await emulator.sockets()
        await asyncio.sleep(0.01)
    raise AssertionError("a socket is still open")


def audio_of(frames: list[Frame]) -> bytes:
    """Their audio, joined."""
    return b"".join(base64.b64decode(frame["audio"]) for frame in frames if frame.get("audio"))


def says(frames: list[Frame], text: str) -> bool:
    """Whether every word of the text is heard once and in order, however it was cut."""
    heard = wordcode.decode(audio_of(frames), 24_000)
    return bool(heard) and wordcode.matches_segments(text, heard).ok


def init(context_id: str | None = None, **fields: Any) -> Frame:
    """The message that opens a context."""
    named = {} if context_id is None else {"context_id": context_id}
    return {"text": " ", **named, **fields}
