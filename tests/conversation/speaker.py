"""A speech service with knobs, for conversations: every word is one piece of 200 ms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import nullcontext
from typing import Any

import msgspec

from core.analytics.recorder import Recorder
from core.cache.envelope import RenditionEntry
from core.conversation.audio_frames import read_header
from core.conversation.commands import decode_command
from core.conversation.journal import Journal, Keeper
from core.conversation.journal_store import Hold, new_token
from core.conversation.outbox import Outbox
from core.conversation.parts import SessionParts
from core.conversation.registry import Connection
from core.conversation.session import Session
from core.conversation.state import SessionConfig, SessionState
from core.deadline import Deadline
from core.errors import SeiketsuError, TextEmpty, UnknownAgent
from core.speech import (
    Origin,
    Provenance,
    SegmentResult,
    SpeechPlan,
    SpeechRequest,
    SpeechTrace,
    WordTiming,
)
from core.synthesis.live import ClauseStart, Flush, SpokenPiece
from core.text.detect import detect
from core.text.languages import LANGUAGES
from core.text.words import Word, words_of

WORD_MS = 200
CLAUSE_WORDS = 4
PROVENANCE = Provenance(provider="fake", voice="v1", model="m1", language="en")


class FakeSpeaker:
    """Every knob may be turned while it runs; counts what is open."""

    def __init__(self) -> None:
        self.first_after_s = 0.0
        self.close_takes_s = 0.0
        self.fail_at_word: int | None = None
        self.stuck_at_word: int | None = None
        """Before it the voice is silent for good."""
        self.held_back_ms = 0.0
        """Of a clause that is over, what is to leave with the next one."""
        self.failure: Exception = SeiketsuError("Broken.")
        self.open = 0
        self.requests: list[SpeechRequest] = []
        self.given: list[str | Flush] = []
        """What arrived of texts that were still being written."""
        self.leads_s: list[float] = []

    async def plan(self, request: SpeechRequest) -> SpeechPlan:
        self.requests.append(request)
        if request.agent_id not in ("agent_123", "agent_456"):
            raise UnknownAgent()
        if not any(c.isalnum() for c in request.text):
            raise TextEmpty()
        return SpeechPlan(
            tenant=request.tenant,
            agent_id=request.agent_id,
            profile="friendly_female",
            language=_language(request, request.text),
            output_format="pcm_8000",
            characters=len(request.text),
            enable_caching=True,
            origin="live",
            common=False,
            segments=(),
            rendition_key=request.text,
        )

    def new_trace(self, request_id: str, request: SpeechRequest) -> SpeechTrace:
        return SpeechTrace(request_id, request.tenant, request.agent_id)

    def new_deadline(self, origin: Origin = "live") -> Deadline:
        return Deadline.after(first_audio_s=2, whole_s=30)

    def peek(self, plan: SpeechPlan, trace: SpeechTrace) -> RenditionEntry | None:
        return None

    async def whole(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> RenditionEntry:
        pieces = [piece async for piece in self.pieces(plan, trace, deadline)]
        words = tuple(word for piece in pieces for word in piece.words)
        audio = b"".join(piece.data for piece in pieces)
        trace.duration_ms = len(pieces) * WORD_MS
        return RenditionEntry("pcm_8000", audio, trace.duration_ms, 0.9, words, PROVENANCE)

    async def pieces(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> AsyncGenerator[SpokenPiece, None]:
        self.open += 1
        try:
            await asyncio.sleep(self.first_after_s)
            self._begin(trace, plan.language)
            words = words_of(plan.rendition_key)
            for number, word in enumerate(words):
                piece = await self._piece(number, word, number // CLAUSE_WORDS)
                if not (number + 1) % CLAUSE_WORDS and number + 1 < len(words):
                    follows = ClauseStart(words[number + 1].start, (number + 1) * WORD_MS)
                    piece = msgspec.structs.replace(piece, next_clause=follows)
                yield piece
        finally:
            await self._close()

    async def converse(
        self,
        request: SpeechRequest,
        text: AsyncIterator[str | Flush],
        trace: SpeechTrace,
        *,
        lead_s: Callable[[], float],
    ) -> AsyncGenerator[SpokenPiece, None]:
        """A word is spoken once what follows it has arrived; whatever there is then is a clause,
        whose end is told by a piece of its own."""
        self.requests.append(request)
        self.open += 1
        try:
            whole, said, clause = "", 0, 0
            async for piece in text:
                self.given.append(piece)
                self.leads_s.append(lead_s())
                flushed = isinstance(piece, Flush)
                whole += "" if isinstance(piece, Flush) else piece
                words = words_of(whole)
                ready = len(words) if flushed else max(said, len(words) - 1)
                while said < ready:
                    upto = min(ready, said + CLAUSE_WORDS)
                    for spoken in words[said:upto]:
                        self._begin(trace, _language(request, whole))
                        yield await self._piece(said, spoken, clause)
                        said += 1
                    follows = words[said].start if said < len(words) else len(whole)
                    yield self._end(said, clause, follows)
                    clause += 1
            for spoken in words_of(whole)[said:]:
                self._begin(trace, _language(request, whole))
                yield await self._piece(said, spoken, clause)
                said += 1
            if not said:
                raise TextEmpty()
        finally:
            await self._close()

    def _begin(self, trace: SpeechTrace, language: str) -> None:
        if trace.provider is None:
            trace.provider, trace.voice, trace.model = "fake", "v1", "m1"
            trace.language, trace.output_format = language, "pcm_8000"
            trace.segments.append(SegmentResult("flight", PROVENANCE))
            trace.first_audio_ms = trace.now_ms()

    async def _piece(self, number: int, word: Word, clause: int) -> SpokenPiece:
        if number == self.fail_at_word:
            raise self.failure
        if number == self.stuck_at_word:
            await asyncio.sleep(3600)
        start_ms, at = number * WORD_MS, word.start
        timing = WordTiming(word.text, start_ms, start_ms + WORD_MS, at, at + len(word.text))
        data = f"{word.text:_<16}".encode()
        return SpokenPiece(data, start_ms, WORD_MS, (timing,), clause, at, start_ms)

    def _end(self, words: int, clause: int, next_char: int) -> SpokenPiece:
        at_ms = words * WORD_MS
        follows = ClauseStart(next_char, at_ms + self.held_back_ms)
        return SpokenPiece(b"", at_ms, 0.0, (), clause, 0, 0.0, follows)

    async def _close(self) -> None:
        try:
            await asyncio.sleep(self.close_takes_s)
        finally:
            self.open -= 1


def _language(request: SpeechRequest, text: str) -> str:
    return request.language or request.begun_in or detect(text, LANGUAGES)


class Clock:
    """Stands still until it is put forward."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def pass_ms(self, ms: float) -> None:
        self.now_s += ms / 1000


class Talking:
    """A session with a fake client: what it hears is decoded into `events`."""

    def __init__(
        self,
        speaker: FakeSpeaker,
        *,
        encoding: Any = "hex",
        keeper: Keeper | None = None,
        state: SessionState | None = None,
        hold: Hold | None = None,
    ) -> None:
        """`state`: of a session that was lost and goes on here."""
        self.speaker = speaker
        self.clock = Clock()
        self.events: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self.recorder = Recorder()
        self.unforeseen: list[BaseException] = []
        config = SessionConfig("agent_123", "en", audio_encoding=encoding)
        self.state = SessionState("s1", "acme", config) if state is None else state
        self.connection = Connection("s1", "acme", "", "agent_123", "en", 0.0)
        self.outbox = Outbox(
            self._take,
            slow_s=2.0,
            next_sequence=self.state.next_sequence,
            on_lost=lambda: None,
        )
        parts = SessionParts(
            service=speaker,
            recorder=self.recorder,
            place=nullcontext,
            new_request_id=lambda: "req_1",
            report=lambda error, _: self.unforeseen.append(error),
            max_text_chars=500,
            max_frame_bytes=65536,
        )
        journal = Journal(
            self.state, hold or Hold("acme", "s1", new_token()), keeper, resumed=state is not None
        )
        self.session = Session(
            self.state, self.connection, parts, self.outbox, self.clock, journal=journal
        )

    async def __aenter__(self) -> Talking:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.aclose()
        assert self.speaker.open == 0

    async def _take(self, data: bytes, *, binary: bool) -> None:
        if binary:
            self.frames.append(data)
            header = read_header(data)
            event = {"type": "frame", **msgspec.structs.asdict(header), "audio": data[16:]}
            self.events.append(event)
        else:
            self.events.append(msgspec.json.decode(data))

    async def say(self, type: str, **fields: object) -> None:
        await self.session.handle(decode_command(_json({"type": type, **fields})))

    async def until(self, type: str, number: int = 1) -> dict[str, Any]:
        """The event of that type, once there are so many."""
        async with asyncio.timeout(5):
            while len(found := self.of(type)) < number:
                await asyncio.sleep(0.001)
        return found[number - 1]

    async def settle(self) -> None:
        """Let everything happen that waits for nothing."""
        for _ in range(50):
            await asyncio.sleep(0)

    def of(self, type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == type]

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def audio(self) -> str:
        """The words of every chunk."""
        joined = "".join(bytes.fromhex(event["audio_data"]).decode() for event in self.chunks())
        return " ".join(word for word in joined.split("_") if word)

    def chunks(self) -> list[dict[str, Any]]:
        return self.of("audio_chunk")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
