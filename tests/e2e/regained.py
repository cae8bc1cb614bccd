"""A caller that comes back to its session when the connection or the gateway is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import msgspec

from benchmarks.wordcode import CodedWord, decode
from core.audio.formats import resolve
from core.conversation.audio_frames import HEADER_BYTES, read_header
from tests.player import decoded

_MP3_KBPS: Final = 128
_PATIENCE_S: Final = 30.0


class Heard(msgspec.Struct):
    """A piece of audio that was sent."""

    offset_ms: int
    lasts_ms: int
    data: bytes


class Returning:
    """One session over as many connections as it takes. What is heard is kept by utterance."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        name: str,
        base: Callable[[], str],
        *,
        language: str = "en",
        output_format: str = "pcm_8000",
    ) -> None:
        self._http = http
        self._name = name
        self._base = base
        self._query = f"language={language}&format={output_format}&audio_encoding=binary"
        self.output = resolve(output_format, _MP3_KBPS)
        self._token = ""
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._ids: dict[int, str] = {}
        self._pending: dict[str, dict[str, object]] = {}
        self._count = 0
        self._connected = asyncio.Event()
        self.last_sequence = 0
        self.files: dict[str, list[list[Heard]]] = {}
        """For each utterance what is kept of every file that was sent of it, in pieces."""
        self.events: list[dict[str, Any]] = []
        self.dropped_ms: list[float] = []
        """What was dropped of utterances when they were resumed."""
        self.closed: list[int | None] = []
        self._reading = asyncio.create_task(self._read(), name=name)

    async def say(self, type: str, **fields: object) -> None:
        """Send a command until it is acknowledged."""
        self._count += 1
        name = f"c{self._count}"
        command = {"type": type, "command_id": name, **fields}
        self._pending[name] = command
        await self._connected.wait()
        await self._send(command)

    async def finished(self, utterances: int) -> None:
        """Wait until so many utterances were sent wholly."""
        await self.until("speech_finished", utterances)

    async def until(self, type: str, count: int) -> None:
        """Wait until there are so many events of that type."""
        async with asyncio.timeout(_PATIENCE_S):
            while len(list(self.of(type))) < count:
                assert not self._reading.done() or not self._reading.exception(), self._reading
                await asyncio.sleep(0.02)

    def of(self, type: str) -> Any:
        """The events of that type so far."""
        return (event for event in self.events if event["type"] == type)

    def words(self, utterance_id: str, files: slice = slice(None)) -> Sequence[CodedWord]:
        """What the audio of the utterance says, or some of the files that it is in."""
        found: list[CodedWord] = []
        for pieces in self.files[utterance_id][files]:
            if any(piece.data for piece in pieces):
                samples = decoded(b"".join(piece.data for piece in pieces), self.output)
                pcm = samples.clip(-32768, 32767).astype("<i2").tobytes()
                found += decode(pcm, self.output.rate_hz)
        return found

    async def aclose(self) -> None:
        """Hang up."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        if self._socket is not None:
            await self._socket.close()

    async def _send(self, command: dict[str, object]) -> None:
        assert self._socket is not None
        try:
            await self._socket.send_json(command)
        except ConnectionError:
            return  # it is sent again when the session is there again

    async def _read(self) -> None:
        while True:
            self._socket = await self._connect()
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self._hear(message.data)
                else:
                    await self._take(message.json())
            self.closed.append(self._socket.close_code)
            self._connected.clear()

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        while True:
            url = f"{self._base()}/api/v1/voice/streaming/stream/{self._name}?{self._query}"
            if self._token:
                url += f"&resume_token={self._token}&last_sequence={self.last_sequence}"
            try:
                return await self._http.ws_connect(url, compress=0, max_msg_size=0)
            except aiohttp.WSServerHandshakeError as error:
                if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
            except aiohttp.ClientConnectionError:
                pass  # it is gone, and the other is told of in a moment
            await asyncio.sleep(0.1)

    async def _take(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.last_sequence = event["sequence"]
        self._pending.pop(event.get("command_id", ""), None)
        if event["type"] == "connection_established":
            self._token = event["resume_token"]
            for command in tuple(self._pending.values()):
                await self._send(command)
            self._connected.set()
        elif event["type"] == "speech_started":
            self._ids[event["utterance"]] = event["utterance_id"]
            self.files[event["utterance_id"]] = [[]]
        elif event["type"] == "speech_resumed":
            self._ids[event["utterance"]] = event["utterance_id"]
            files = self.files.setdefault(event["utterance_id"], [])
            had = [piece for pieces in files for piece in pieces]
            dropped = [piece for piece in had if piece.offset_ms >= event["offset_ms"]]
            for pieces in files:
                pieces[:] = [piece for piece in pieces if piece not in dropped]
            files.append([])
            ends_ms = max((p.offset_ms + p.lasts_ms for p in had if p not in dropped), default=0)
            assert ends_ms <= event["offset_ms"] + 1, "it goes on between two pieces"
            self.dropped_ms.append(sum(piece.lasts_ms for piece in dropped))

    def _hear(self, frame: bytes) -> None:
        header = read_header(frame)
        self.last_sequence = header.sequence
        piece = Heard(header.offset_ms, header.duration_ms, frame[HEADER_BYTES:])
        self.files[self._ids[header.utterance]][-1].append(piece)
