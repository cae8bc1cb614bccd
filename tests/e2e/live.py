"""A caller of a session on a real port, who notes everything that comes and when it comes."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from benchmarks.listener import Gap, Piece, play
from benchmarks.stack import Stack
from benchmarks.wordcode import CodedWord, decode
from core.conversation.audio_frames import HEADER_BYTES, read_header
from core.providers.elevenlabs_pool import MAX_IDLE
from core.providers.elevenlabs_socket import MAX_CONTEXTS

FULL: Final = os.environ.get("SEIKETSU_LIVE") == "full"
"""Everything as often as it is promised; otherwise a few of each kind."""
FORMAT: Final = "pcm"
RATE_HZ: Final = 24_000
BYTES_PER_MS: Final = RATE_HZ * 2 / 1000
EMULATOR: Final = ("--audio", "coded", "--latency", "flash", "--concurrency", "60", "--seed", "5")
SOCKET: Final = "multi-stream-input"
_PATIENCE_S: Final = 20.0


class Caller:
    """One session. A task reads; `events` and `pieces` grow while it does."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, hurried: bool = False) -> None:
        """`hurried`: says of all audio that it was played already, and so waits for no pace."""
        self.socket = socket
        self.hurried = hurried
        self.events: list[dict[str, Any]] = []
        """As they came, with `at_s`: `time.monotonic()` at their arrival."""
        self.pieces: dict[int, list[Piece]] = {}
        """Audio by the number of its utterance."""
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read(), name="caller")

    async def say(self, type: str, **fields: object) -> float:
        """Send a command; the instant before it was sent."""
        at_s = time.monotonic()
        await self.socket.send_json({"type": type, **fields})
        return at_s

    async def until(self, found: Callable[[], Any]) -> Any:
        """Wait for the first true value of `found`, which is asked after everything that comes."""
        async with asyncio.timeout(_PATIENCE_S):
            while not (value := found()):
                assert not self._reading.done(), f"closed with {self.socket.close_code}"
                self._changed.clear()
                await self._changed.wait()
        return value

    async def hear(self, type: str, **fields: object) -> dict[str, Any]:
        """The first event of that type and those fields."""
        event: dict[str, Any] = await self.until(lambda: next(self.of(type, **fields), None))
        return event

    async def closed(self) -> int | None:
        """Wait until the session is closed; its code."""
        async with asyncio.timeout(_PATIENCE_S):
            await self._reading
        return self.socket.close_code

    def of(self, type: str, **fields: object) -> Any:
        """The events of that type and those fields, so far."""
        return (
            event
            for event in self.events
            if event["type"] == type and all(event.get(k) == v for k, v in fields.items())
        )

    def pieces_of(self, utterance_id: str) -> list[Piece]:
        """The utterance's audio so far."""
        for event in self.of("speech_started", utterance_id=utterance_id):
            return self.pieces.get(event["utterance"], [])
        return []

    def received_ms(self, utterance_id: str) -> float:
        """How much audio of the utterance came so far."""
        return sum(len(p.data) for p in self.pieces_of(utterance_id)) / BYTES_PER_MS

    def words(self, utterance_id: str) -> list[CodedWord]:
        """What the utterance's audio so far says."""
        audio = b"".join(piece.data for piece in self.pieces_of(utterance_id))
        return decode(audio, RATE_HZ)

    def gaps(self, utterance_id: str) -> Sequence[Gap]:
        """Where a player of the utterance had nothing to play."""
        pieces = self.pieces_of(utterance_id)
        return play(pieces, pieces[0].at_s, FORMAT).gaps

    async def aclose(self) -> None:
        """Hang up."""
        await self.socket.close()
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def _played(self, number: int) -> None:
        name = next(self.of("speech_started", utterance=number))["utterance_id"]
        await self.say("playback", utterance_id=name, offset_ms=self.received_ms(name))

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                at_s = time.monotonic()
                if message.type is aiohttp.WSMsgType.BINARY:
                    number = read_header(message.data).utterance
                    piece = Piece(at_s, message.data[HEADER_BYTES:])
                    self.pieces.setdefault(number, []).append(piece)
                    if self.hurried:
                        await self._played(number)
                else:
                    self.events.append({**message.json(), "at_s": at_s})
                self._changed.set()
        finally:
            self._changed.set()


@asynccontextmanager
async def call(
    http: aiohttp.ClientSession,
    stack: Stack,
    name: str,
    language: str = "en",
    *,
    hurried: bool = False,
) -> AsyncIterator[Caller]:
    """Open a session with binary audio; leaving the block hangs up."""
    query = f"language={language}&format={FORMAT}&audio_encoding=binary"
    url = f"{stack.base_url}/api/v1/voice/streaming/stream/{name}?{query}"
    caller = Caller(await http.ws_connect(url, compress=0, max_msg_size=0), hurried=hurried)
    try:
        await caller.hear("connection_established")
        yield caller
    finally:
        await caller.aclose()


def tokens_of(text: str, count: int, seed: int = 0) -> list[str]:
    """The text in `count` pieces, cut anywhere, as a language model gives it."""
    cuts = sorted(random.Random(seed).sample(range(1, len(text)), count - 1))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


async def write(caller: Caller, name: str, tokens: Sequence[str], per_s: float = 25.0) -> float:
    """Write tokens at that pace and end the text; the instant before the last was sent."""
    began_s = last_s = time.monotonic()
    for number, token in enumerate(tokens):
        await asyncio.sleep(began_s + number / per_s - time.monotonic())
        last_s = await caller.say("text", text=token, utterance_id=name)
    await caller.say("end")
    return last_s


def played_ms(pieces: Sequence[Piece], at_s: float) -> float:
    """How much a player that began with the first piece has played at that instant."""
    until_s: float | None = None
    ends_s, bytes_ = 0.0, 0
    for piece in pieces:
        if piece.at_s > at_s:
            break
        ends_s = max(ends_s, piece.at_s) if until_s is not None else piece.at_s
        ends_s += len(piece.data) / BYTES_PER_MS / 1000
        until_s, bytes_ = ends_s, bytes_ + len(piece.data)
    left_ms = max(0.0, ((until_s or at_s) - at_s) * 1000)
    return bytes_ / BYTES_PER_MS - left_ms


async def quiet(stack: Stack) -> dict[str, int]:
    """Wait until nothing is under way in the gateway; its gauges."""
    gauges: dict[str, int] = {}
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            performance = await stack.performance()
            gauges = performance["under_way"]
            busy = ("flights", "elevenlabs_contexts", "elevenlabs_in_use", "elevenlabs_waiting")
            if not any(gauges[name] for name in busy) and not performance["requests_under_way"]:
                return gauges
            await asyncio.sleep(0.05)


async def nothing_is_left(stack: Stack) -> int:
    """No flight, context or socket but the warm ones; none had more contexts than it may. How many
    are warm: idle ones stay open for two minutes, `MAX_IDLE` at the most."""
    assert stack.emulator is not None
    gauges = await quiet(stack)
    assert gauges["held_audio_bytes"] == 0
    sockets = await stack.emulator.sockets()
    print(f"\n{sum(s.opened for s in sockets)} contexts on {len(sockets)} sockets, at most", end="")
    print(f" {max(s.most_active for s in sockets)} at once on one")
    assert max(socket.most_active for socket in sockets) <= MAX_CONTEXTS
    assert {(socket.error, socket.active) for socket in sockets} == {(None, 0)}
    assert all(socket.opened == socket.closed_by_client == socket.ended for socket in sockets)
    for context in (context for socket in sockets for context in socket.contexts):
        assert context.closed_by_client_s is not None
        assert context.final_s is not None
    async with asyncio.timeout(5):  # one that is being opened ahead
        while (await stack.emulator.state())["sockets"]["open"] != gauges["elevenlabs_sockets"]:
            gauges = await quiet(stack)
    assert gauges["elevenlabs_sockets"] <= MAX_IDLE
    return gauges["elevenlabs_sockets"]


async def struck(stack: Stack, since_s: float) -> list[str]:
    """The faults that utterances on the provider's sockets met since then."""
    assert stack.emulator is not None
    contexts = [c for s in await stack.emulator.sockets() for c in s.contexts]
    return [c.fault for c in contexts if c.fault is not None and c.opened_s > since_s]
