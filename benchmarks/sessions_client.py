"""One session of the load as its client sees it, and what a player makes of each turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec

from benchmarks.listener import UNDERRUN_MS, Listening, Piece, play
from benchmarks.sessions_mix import TOKENS_PER_S, Ask, Talk, tokens_of
from core.conversation.audio_frames import Header, read_header

HEAD_MS: Final = 600.0
"""So much of the beginning of every turn is kept to be decoded after the run."""
KEPT_EVERY: Final = 20
"""One turn of so many is kept whole."""
_ENDS: Final = frozenset({"speech_finished", "interrupted", "error"})


class Turn(msgspec.Struct):
    """One utterance as it was heard. Instants are `time.monotonic()`."""

    name: str
    """Its utterance id."""
    ask: Ask
    language: str
    format: str
    started_s: float
    """Its first command was sent."""
    late_ms: float
    """So much later than it was due: how far the load itself lags."""
    kept: bool
    pieces: list[Piece] = msgspec.field(default_factory=list)
    """The beginning; all of it where it is `kept`."""
    heard_ms: float = 0.0
    """Audio that came."""
    sent_chars: int = 0
    played_until_s: float | None = None
    underruns_ms: list[float] = msgspec.field(default_factory=list)
    provider: str | None = None
    interrupted_s: float | None = None
    answered_ms: float | None = None
    """From `interrupt` to its last answer."""
    stray: int = 0
    """Audio frames that came after the `interrupted` of their utterance."""
    error: str | None = None
    over: bool = False

    def hear(self, at_s: float, header: Header, data: bytes) -> None:
        """Take one frame of audio in."""
        if self.interrupted_s is not None and self.over:
            self.stray += bool(data)
            return
        if not data:
            return
        if abs(header.offset_ms - self.heard_ms) > 2:
            self.error = self.error or "audio is missing or comes twice"
        if self.played_until_s is not None:
            gap_ms = (at_s - self.played_until_s) * 1000
            if gap_ms > UNDERRUN_MS:
                self.underruns_ms.append(gap_ms)
        begins_s = at_s if self.played_until_s is None else max(at_s, self.played_until_s)
        self.played_until_s = begins_s + header.duration_ms / 1000
        if self.kept or self.heard_ms < HEAD_MS:
            self.pieces.append(Piece(at_s, data))
        self.heard_ms = header.offset_ms + header.duration_ms

    def listening(self) -> Listening:
        """What a decoder makes of what was kept; only the beginning where it is not `kept`."""
        return play(self.pieces, self.started_s, self.format, whole=self.kept)


class _Metadata(msgspec.Struct):
    provider: str | None = None


class _Event(msgspec.Struct):
    type: str
    utterance_id: str = ""
    utterance: int = 0
    code: str = ""
    spoken_text: str = ""
    remaining_text: str = ""
    metadata: _Metadata | None = None


_event: Final = msgspec.json.Decoder(_Event)
_json: Final = msgspec.json.Encoder()


class Talker:
    """Asks the turns of one session when they are due. `opened` first, then `run`."""

    def __init__(self, talk: Talk, note: Callable[[Turn], None]) -> None:
        """`note` gets every turn when it was asked."""
        self._talk = talk
        self._note = note
        self._turns: dict[str, Turn] = {}
        self._by_number: dict[int, Turn] = {}
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._interrupting: Turn | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self.lost: str | None = None
        """Why the session ended before it was closed."""
        self.faults: list[str] = []
        """Codes of errors that belong to no turn."""

    @property
    def open_turns(self) -> int:
        """Turns that have not come to their end."""
        return len(self._turns)

    async def opened(self, http: aiohttp.ClientSession, base_url: str) -> None:
        """Open the session.

        Raises:
            aiohttp.ClientError: the handshake was refused.
            RuntimeError: the session did not begin as one does.
        """
        url = (
            f"{base_url}/api/v1/voice/streaming/stream/load-{self._talk.number}"
            f"?language={self._talk.language}&format={self._talk.format}&audio_encoding=binary"
        )
        self._socket = await http.ws_connect(url, compress=0, max_msg_size=2**20)
        if _event.decode(await self._socket.receive_str()).type != "connection_established":
            raise RuntimeError("the first event is another than connection_established")

    async def ask_all(self, began_s: float) -> None:
        """Ask every turn at its time; returns when the last was sent."""
        for number, ask in enumerate(self._talk.asks):
            await asyncio.sleep(began_s + ask.due_s - time.monotonic())
            if self.lost is not None:
                return
            await self._ask(number, ask, began_s)

    async def read(self) -> None:
        """Take in what comes until the session ends; `lost` tells when the gateway ended it."""
        assert self._socket is not None
        while True:
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                header = read_header(message.data)
                turn = self._by_number.get(header.utterance)
                if turn is not None:
                    turn.hear(time.monotonic(), header, message.data[16:])
            elif message.type is aiohttp.WSMsgType.TEXT:
                self._take(_event.decode(message.data))
            else:
                self.lost = f"closed: {self._socket.close_code}"
                for turn in self._turns.values():
                    turn.error = turn.error or self.lost
                return

    def give_up(self) -> None:
        """Wait for no turn any more: those without an end have failed."""
        for turn in tuple(self._turns.values()):
            turn.error = turn.error or "it has no end"
            self._over(turn)

    async def aclose(self) -> None:
        """End the session."""
        for timer in self._timers:
            timer.cancel()
        for task in self._sending:
            task.cancel()
        if self._socket is not None:
            await self._socket.close()

    async def _ask(self, number: int, ask: Ask, began_s: float) -> None:
        now_s = time.monotonic()
        turn = Turn(
            name=f"t{number}",
            ask=ask,
            language=self._talk.language,
            format=self._talk.format,
            started_s=now_s,
            late_ms=(now_s - began_s - ask.due_s) * 1000,
            kept=(number * 7 + self._talk.number) % KEPT_EVERY == 0,
        )
        self._turns[turn.name] = turn
        self._note(turn)
        if ask.written:
            await self._write(turn)
        else:
            turn.sent_chars = len(ask.text)
            await self._send(type="synthesize", text=ask.text, stream=True, utterance_id=turn.name)

    async def _write(self, turn: Turn) -> None:
        tokens = tokens_of(turn.ask.text, self._talk.language)
        for at, token in enumerate(tokens):
            await asyncio.sleep(turn.started_s + at / TOKENS_PER_S - time.monotonic())
            if turn.over or turn.interrupted_s is not None:
                return
            turn.sent_chars += len(token)
            await self._send(type="text", text=token, utterance_id=turn.name)
        await self._send(type="end")

    async def _send(self, **command: object) -> None:
        assert self._socket is not None
        if not self._socket.closed:
            await self._socket.send_str(_json.encode(command).decode())

    def _take(self, event: _Event) -> None:
        if event.type == "accepted":
            turn, self._interrupting = self._interrupting, None
            if turn is not None and turn.interrupted_s is not None:
                turn.answered_ms = (time.monotonic() - turn.interrupted_s) * 1000
                self._over(turn)
            return
        turn = self._turns.get(event.utterance_id)
        if turn is None:
            if event.type == "error":
                self.faults.append(event.code)
        elif event.type == "speech_started":
            self._by_number[event.utterance] = turn
            if turn.ask.interrupt_ms is not None:
                self._later(turn.ask.interrupt_ms / 1000, turn)
        elif event.type in _ENDS:
            self._end(event, turn)

    def _end(self, event: _Event, turn: Turn) -> None:
        if event.type == "error":
            turn.error = turn.error or event.code
        elif event.type == "interrupted":
            if event.spoken_text + event.remaining_text != turn.ask.text[: turn.sent_chars]:
                turn.error = turn.error or "spoken and remaining text are not the text"
        elif event.metadata is not None:
            turn.provider = event.metadata.provider
            if turn.interrupted_s is None and turn.ask.interrupt_ms is not None:
                return  # sent wholly, and still to be interrupted while it is heard
        self._over(turn)

    def _over(self, turn: Turn) -> None:
        turn.over = True
        self._turns.pop(turn.name, None)

    def _later(self, wait_s: float, turn: Turn) -> None:
        def interrupt() -> None:
            self._timers.discard(timer)
            turn.interrupted_s = time.monotonic()
            self._interrupting = turn
            task = asyncio.create_task(self._send(type="interrupt"))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

        timer = asyncio.get_running_loop().call_later(wait_s, interrupt)
        self._timers.add(timer)
