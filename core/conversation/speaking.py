"""One utterance at a time spoken and sent: whole, or piece by piece at the pace it is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from typing import Final

from core.analytics.recorder import CLIENT_GONE
from core.conversation.audio_frames import MAX_AUDIO_FRAME_BYTES, AudioPiece
from core.conversation.ending import failed
from core.conversation.events import AudioResponse, SpeechFinished, encode_event
from core.conversation.journal import Journal
from core.conversation.outbox import ClientLost, Outbox, Turn
from core.conversation.parts import SessionParts
from core.conversation.playout import Playout
from core.conversation.state import Counts, SessionState
from core.conversation.telling import alignment, metadata, shifted, started
from core.conversation.utterance import Arriving, ClauseMark, Utterance
from core.errors import FrameTooLarge, SeiketsuError, TextEmpty, TextTooLong
from core.speech import SpeechRequest, SpeechTrace
from core.synthesis.live import ClauseStart, SpokenPiece
from core.text.clean import speakable
from core.text.languages import AUTO

LEAD_MS: Final = 3_000.0
"""Audio is sent so far ahead of its hearing; what is more waits."""
TEXT_IDLE_S: Final = 30.0
"""A text that does not grow for so long while it is waited for counts as complete."""
MAX_CHUNK_BYTES: Final = 64 * 1024
"""Audio of one `audio_chunk`; a longer piece becomes several."""
_LONGEST_SLEEP_S: Final = 1.0
"""After so long the pace is reckoned anew: the client may have reported to be further."""
_TOO_LARGE: Final = (
    f"The audio as hex is larger than a frame of {MAX_AUDIO_FRAME_BYTES} bytes may be."
)


class Stopped(Exception):
    """An utterance was stopped between two clauses; it goes on elsewhere."""


class Speaking:
    """Speaks for one session; `counts` tells what was done."""

    __slots__ = (
        *("_arriving", "_between", "_journal", "_outbox", "_parts", "_playout", "_state"),
        *("_stopping", "_tenant", "counts"),
    )

    def __init__(
        self,
        state: SessionState,
        parts: SessionParts,
        outbox: Outbox,
        playout: Playout,
        journal: Journal,
    ) -> None:
        self._state = state
        self._tenant = state.tenant
        self._parts = parts
        self._journal = journal
        self._stopping = False
        self._outbox = outbox
        self._playout = playout
        self._arriving: Arriving | None = None
        self._between: Utterance | None = None
        """Of which all that was begun is sent: its next clause is waited for."""
        self.counts = Counts()

    def grown(self) -> None:
        """The text that is being spoken may have grown."""
        if self._arriving is not None:
            self._arriving.grown()

    def stop(self) -> bool:
        """Send no more than the clause that is being sent, and that without regard to the pace;
        False: none is, and the speech may be ended at once."""
        self._stopping = True
        return self._between is None

    def go_on(self) -> None:
        """It is not to be stopped after all."""
        self._stopping = False

    async def speak(self, utterance: Utterance) -> None:
        """Speak and send it, or send an error.

        Raises:
            ClientLost: the client cannot be reached any more.
            Stopped: by `stop()`; its last mark says from where it is to go on.
        """
        parts = self._parts
        complete = utterance.complete
        request = SpeechRequest(
            tenant=self._tenant,
            text=utterance.text[utterance.start_char :] if complete else "",
            agent_id=utterance.voice_agent_id,
            language=None if utterance.language == AUTO else utterance.language,
            output_format=utterance.format,
            optimize_for_speed=utterance.optimize_for_speed,
            enable_caching=utterance.enable_caching,
            begun_in=utterance.begun_in or None,
        )
        request_id = parts.new_request_id()
        trace = parts.service.new_trace(request_id, request)
        self._playout.begin(utterance.number, utterance.start_ms)
        try:
            if not utterance.stream:
                await self._whole(utterance, request, trace)
            elif complete:
                await self._pieces(utterance, request, trace)
            else:
                await self._converse(utterance, request, trace)
            self._count(utterance, trace)
        except (asyncio.CancelledError, ClientLost, Stopped):
            trace.error_code = TextTooLong.code if utterance.too_long else CLIENT_GONE
            raise
        except Exception as error:
            if utterance.over:  # interrupted: its end is told already
                trace.error_code = CLIENT_GONE
                return
            shown = error
            if not isinstance(shown, SeiketsuError):
                parts.report(error, request_id)
                shown = SeiketsuError("Something went wrong inside the gateway.")
            trace.error_code = shown.code
            self.counts.failed += 1
            await failed(self._outbox, utterance, shown, request_id)
        finally:
            self._playout.ended(utterance.number)
            trace.processing_ms = trace.now_ms()
            parts.recorder.record(trace)

    async def _whole(
        self, utterance: Utterance, request: SpeechRequest, trace: SpeechTrace
    ) -> None:
        parts = self._parts
        plan = await parts.service.plan(request)
        entry = parts.service.peek(plan, trace)
        if entry is None:
            with parts.place():
                entry = await parts.service.whole(plan, trace, parts.service.new_deadline())
        size = 2 * len(entry.audio)
        if size > MAX_AUDIO_FRAME_BYTES:
            raise FrameTooLarge(_TOO_LARGE)
        event = AudioResponse(
            audio_data=entry.audio.hex(),
            metadata=metadata(utterance, trace, plan.language, plan.output_format),
            command_id=utterance.command_id,
        )
        size += 6 * len(utterance.text) + 2048
        if size > MAX_AUDIO_FRAME_BYTES and len(encode_event(event)) > MAX_AUDIO_FRAME_BYTES:
            raise FrameTooLarge(_TOO_LARGE)
        turn = Turn(utterance.number, 0.0)
        utterance.last_sequence = await self._outbox.tell(event, turn=turn, size=size)
        utterance.words = entry.words
        utterance.sent_ms = entry.duration_ms
        self._playout.sent(utterance.number, entry.duration_ms, paced=False)

    async def _pieces(
        self, utterance: Utterance, request: SpeechRequest, trace: SpeechTrace
    ) -> None:
        service = self._parts.service
        if utterance.start_char and not speakable(request.text):
            await self._finish(utterance, trace)
            return
        plan = await service.plan(request)
        with ExitStack() as until_audio:
            until_audio.enter_context(self._parts.place())
            pieces = service.pieces(plan, trace, service.new_deadline())
            await self._send(utterance, pieces, trace, until_audio)

    async def _converse(
        self, utterance: Utterance, request: SpeechRequest, trace: SpeechTrace
    ) -> None:
        # Without a place among the requests: what waits for its writer is bounded by the sessions.
        arriving = self._arriving = Arriving(utterance, TEXT_IDLE_S)
        try:
            pieces = self._parts.service.converse(request, arriving, trace, lead_s=self._lead_s)
            await self._send(utterance, pieces, trace, ExitStack())
        finally:
            if self._arriving is arriving:
                self._arriving = None

    async def _send(
        self,
        utterance: Utterance,
        pieces: AsyncGenerator[SpokenPiece, None],
        trace: SpeechTrace,
        until_audio: ExitStack,
    ) -> None:
        utterance.words = words = [*utterance.words]
        turn = Turn(utterance.number)
        clause, marked, told = -1, False, False
        self._between = utterance
        try:
            async with aclosing(pieces):
                if self._stopping:
                    raise Stopped
                async for piece in pieces:
                    if piece.clause != clause:
                        utterance.begun_in = utterance.begun_in or trace.language
                        if not marked:
                            begins = ClauseStart(piece.clause_start_char, piece.clause_offset_ms)
                            self._mark(utterance, begins)
                        clause, marked = piece.clause, False
                        if utterance.clauses[-1].start_char:
                            # The beginning needs no note: its first audio waits for nothing.
                            await self._journal.settled()
                    if not told:
                        told = True
                        until_audio.close()
                        await self._outbox.tell(started(utterance, trace), turn=turn)
                    await self._pace(piece)
                    self._between = None
                    heard = shifted(piece.words, utterance)
                    if heard:
                        words.extend(heard)
                        await self._outbox.tell(alignment(utterance, heard), turn=turn)
                    await self._send_audio(utterance, piece)
                    if piece.next_clause is not None:
                        self._mark(utterance, piece.next_clause)
                        marked = True
                        if self._stopping:
                            raise Stopped
                        self._between = utterance
        except TextEmpty:
            if not utterance.start_char:  # else the rest of what was heard before
                raise
        finally:
            if self._between is utterance:
                self._between = None
        await self._finish(utterance, trace)

    async def _finish(self, utterance: Utterance, trace: SpeechTrace) -> None:
        if utterance.encoding == "binary":
            await self._put_audio(utterance, b"", utterance.sent_ms, 0.0, last=True)
        # Behind its last clause nothing was planned: all of it was spoken before it was regained.
        language = trace.language or utterance.begun_in
        output_format = trace.output_format or utterance.format
        finished = SpeechFinished(
            utterance_id=utterance.id,
            metadata=metadata(utterance, trace, language, output_format),
            command_id=utterance.command_id,
        )
        size = 1024 + 2 * len(utterance.text)
        utterance.last_sequence = await self._outbox.tell(
            finished, turn=Turn(utterance.number), size=size
        )

    def _mark(self, utterance: Utterance, begins: ClauseStart) -> None:
        """Note where a clause begins, before anything of it is sent. Who goes on there does so
        without what the encoder holds back of the clause before, a blink of its pause.
        """
        at = utterance.start_char + begins.char
        offset_ms = min(utterance.start_ms + begins.offset_ms, utterance.sent_ms)
        utterance.clauses.append(ClauseMark(self._state.sequence + 1, at, offset_ms))
        self._journal.changed(utterance)

    async def _send_audio(self, utterance: Utterance, piece: SpokenPiece) -> None:
        size = max(1, len(piece.data))
        start_ms = utterance.start_ms + piece.offset_ms
        for begin in range(0, len(piece.data), MAX_CHUNK_BYTES):
            data = piece.data[begin : begin + MAX_CHUNK_BYTES]
            at_ms = start_ms + piece.duration_ms * begin / size
            lasts_ms = piece.duration_ms * len(data) / size
            await self._put_audio(utterance, data, at_ms, lasts_ms)
            utterance.sent_ms = at_ms + lasts_ms
            utterance.heard_unix_s = self._playout.sent(utterance.number, lasts_ms)

    async def _put_audio(
        self,
        utterance: Utterance,
        data: bytes,
        at_ms: float,
        lasts_ms: float,
        *,
        last: bool = False,
    ) -> None:
        utterance.chunks += 1
        frame = AudioPiece(
            utterance_id=utterance.id,
            utterance=utterance.number,
            encoding=utterance.encoding,
            chunk=utterance.chunks,
            offset_ms=round(at_ms),
            duration_ms=round(at_ms + lasts_ms) - round(at_ms),
            data=data,
            first=utterance.chunks == 1,
            last=last,
        )
        size = 256 + (len(data) if frame.binary else 2 * len(data))
        turn = Turn(utterance.number, at_ms)
        await self._outbox.put(frame.encode, size, binary=frame.binary, turn=turn)

    async def _pace(self, piece: SpokenPiece) -> None:
        """Wait until the audio is due to be sent."""
        while piece.duration_ms and (early_ms := self._playout.ahead_ms() - LEAD_MS) > 0:
            if self._stopping:
                return
            await asyncio.sleep(min(early_ms / 1000, _LONGEST_SLEEP_S))

    def _lead_s(self) -> float:
        return self._playout.ahead_ms() / 1000

    def _count(self, utterance: Utterance, trace: SpeechTrace) -> None:
        counts = self.counts
        counts.served += 1
        counts.cached += trace.cached
        counts.characters += len(utterance.text)
        counts.audio_bytes += trace.audio_bytes
        counts.processing_ms += trace.now_ms()
