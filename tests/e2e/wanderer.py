"""A client that does what a sequence says, in one session after the other."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from benchmarks.stack import Stack
from core.conversation.audio_frames import read_header
from core.conversation.events import Event, encode_event
from tests.gateway.session_sequences import Lose, Pause, Steps

_events = msgspec.json.Decoder(Event)
_PATIENCE_S: Final = 20.0


class Wanderer:
    """One client. Whatever comes is looked at: each an event that is documented, field by field,
    and its number higher than the one before."""

    def __init__(self, stack: Stack, name: str, *, hurried: bool) -> None:
        """`hurried`: says of all audio in text frames that it was played already."""
        self._base = stack.base_url.replace("http://", "ws://") + "/api/v1/voice/streaming/stream"
        self._name = name
        self.hurried = hurried
        self._token = ""
        self._line: _Line | None = None
        self._doubled = False
        """There was nothing to regain, so that two sessions of that name were open for a moment,
        and what the first streams in it the second cannot regain."""
        self._asked = 0
        self.sent = 0
        self.opened = 0
        self.heard: Counter[str] = Counter()
        """By type; errors by their code; `resumed` are the sessions that went on."""
        self.closed: Counter[int] = Counter()
        """How connections ended that this client did not end."""

    async def run(self, sequence: Steps) -> None:
        """Take the steps, in the session that is open if there is one, until all is said."""
        try:
            for step in sequence:
                line = self._line or await self._open()
                match step:
                    case Pause():
                        await asyncio.sleep(step.seconds)
                    case Lose():
                        await self._lose(line, step)
                    case _:
                        await line.socket.send(step)
                        self.sent += 1
            line = self._line or await self._open()
            self._asked += 1
            await line.socket.send('{"type": "interrupt"}')  # or the next would wait for all of it
            last = f"sequence {self._asked}"
            await line.socket.send(json.dumps({"type": "ping", "command_id": last}))
            await line.heard(last)
        except ConnectionClosed:
            await self.aclose(goodbye=False)

    async def aclose(self, *, goodbye: bool) -> None:
        """Leave, with or without a goodbye."""
        line, self._line = self._line, None
        if line is not None:
            await line.end(goodbye=goodbye)

    async def _open(self, query: str = "") -> _Line:
        """A session of a new name, or what `query` asks for."""
        if not query:
            self._name = f"{self._name.partition('-')[0]}-{self.opened}"
            self._doubled = False
        url = f"{self._base}/{self._name}?language=en&format=pcm_8000{query}"
        try:
            socket = await connect(
                url, compression=None, proxy=None, max_size=None, ping_interval=None
            )
        except InvalidStatus as refused:
            error = json.loads(refused.response.body or b"{}")["error"]["code"]
            assert (query != "", error, self._doubled) == (True, "session_in_use", True), error
            self.heard[error] += 1
            return await self._open()
        self.opened += 1
        self._line = _Line(socket, self)
        await self._line.heard("connection_established")
        self._doubled |= not self._line.resumed and query != ""
        return self._line

    async def _lose(self, line: _Line, step: Lose) -> None:
        back = f"&resume_token={self._token}&last_sequence={line.last_sequence}"
        if step.then == "take over":
            found = await self._open(back)
            if found.resumed:
                await line.closed()
            else:  # nothing was streamed: there was no session to take
                await line.end(goodbye=False)
            return
        self._line = None
        await line.end(goodbye=False)
        if step.then == "resume":
            await self._open(back)

    def take(self, frame: str | bytes) -> dict[str, Any]:
        """Something that came; its type, its sequence and, of an event, all the rest."""
        if isinstance(frame, bytes):
            self.heard["binary"] += 1
            return {"type": "binary", "sequence": read_header(frame).sequence}
        event = _events.decode(frame)
        assert encode_event(event) == frame.encode(), "it says more than is documented"
        found: dict[str, Any] = json.loads(frame)
        self.heard[found.get("code", found["type"])] += 1
        if found["type"] == "connection_established":
            self._token = found["resume_token"]
            self.heard["resumed"] += found["resumed"]
        return found


class _Line:
    """One connection and the task that reads it."""

    def __init__(self, socket: ClientConnection, client: Wanderer) -> None:
        self.socket = socket
        self._client = client
        self._found: set[str] = set()
        self._ending = False
        self.last_sequence = 0
        self.resumed = False
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read(), name="wanderer")

    async def heard(self, name: str) -> None:
        """Wait for an event of that type or command.

        Raises:
            ConnectionClosed: it was closed instead.
        """
        async with asyncio.timeout(_PATIENCE_S):
            while name not in self._found:
                if self._reading.done():
                    self._reading.result()
                    await self.socket.recv()  # raises how it was closed
                self._changed.clear()
                await self._changed.wait()

    async def end(self, *, goodbye: bool) -> None:
        """End the connection."""
        self._ending = True
        if goodbye:
            await self.socket.close()
        else:
            self.socket.transport.abort()
        await self.closed()

    async def closed(self) -> None:
        """Wait until it is closed."""
        async with asyncio.timeout(_PATIENCE_S):
            await self._reading

    async def _read(self) -> None:
        try:
            while True:
                event = self._client.take(await self.socket.recv())
                assert event["sequence"] > self.last_sequence
                self.last_sequence = event["sequence"]
                self.resumed |= event.get("resumed", False)
                self._found |= {event["type"], event.get("command_id", "")}
                self._changed.set()
                if self._client.hurried and event["type"] == "audio_chunk":
                    await self._played(event)
        except ConnectionClosed as closed:
            if not self._ending:
                code = 1006 if closed.rcvd is None else closed.rcvd.code
                self._client.closed[code] += 1
        finally:
            self._changed.set()

    async def _played(self, chunk: dict[str, Any]) -> None:
        command = {
            "type": "playback",
            "utterance_id": chunk["utterance_id"],
            "offset_ms": chunk["offset_ms"] + chunk["duration_ms"],
        }
        await self.socket.send(json.dumps(command))
