"""One utterance at a time spoken and sent: whole, or piece by piece at the pace it is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from typing import Final

from core.analytics.recorder import CLIENT_GONE
from core.conversation.audio_frames import MAX_AUDIO_FRAME_BYTES, AudioPiece
from core.conversation.events import AudioResponse, SpeechFinished, encode_event, error_event
from core.conversation.outbox import ClientLost, Outbox, Turn
from core.conversation.parts import SessionParts
from core.conversation.playout import Playout
from core.conversation.state import Counts
from core.conversation.telling import alignment, metadata, shifted, started
from core.conversation.utterance import Arriving, ClauseMark, Utterance
from core.errors import FrameTooLarge, SeiketsuError, TextTooLong
from core.speech import SpeechRequest, SpeechTrace
from core.synthesis.live import SpokenPiece
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


class Speaking:
    """Speaks for one session; `counts` tells what was done."""

    __slots__ = ("_arriving", "_outbox", "_parts", "_playout", "_tenant", "counts")

    def __init__(self, tenant: str, parts: SessionParts, outbox: Outbox, playout: Playout) -> None:
        self._tenant = tenant
        self._parts = parts
        self._outbox = outbox
        self._playout = playout
        self._arriving: Arriving | None = None
        self.counts = Counts()

    def grown(self) -> None:
        """The text that is being spoken may have grown."""
        if self._arriving is not None:
            self._arriving.grown()

    async def speak(self, utterance: Utterance) -> None:
        """Speak and send it, or send an error.

        Raises:
            ClientLost: the client cannot be reached any more.
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
        )
        request_id = parts.new_request_id()
        trace = parts.service.new_trace(request_id, request)
        try:
            if not utterance.stream:
                await self._whole(utterance, request, trace)
            elif complete:
                await self._pieces(utterance, request, trace)
            else:
                await self._converse(utterance, request, trace)
            self._count(utterance, trace)
        except (asyncio.CancelledError, ClientLost):
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
            utterance.over = True
            await self._outbox.tell(
                error_event(
                    shown,
                    utterance.command_id,
                    request_id=request_id,
                    utterance_id=utterance.id,
                )
            )
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
        await self._outbox.tell(event, turn=Turn(utterance.number, 0.0), size=size)
        utterance.words = entry.words
        utterance.sent_ms = entry.duration_ms
        self._playout.sent(utterance.number, entry.duration_ms, paced=False)

    async def _pieces(
        self, utterance: Utterance, request: SpeechRequest, trace: SpeechTrace
    ) -> None:
        service = self._parts.service
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
        clause = -1
        async with aclosing(pieces):
            async for piece in pieces:
                if not utterance.chunks:
                    until_audio.close()
                    await self._outbox.tell(started(utterance, trace), turn=turn)
                await self._pace(piece)
                heard = shifted(piece.words, utterance)
                if heard:
                    words.extend(heard)
                    await self._outbox.tell(alignment(utterance, heard), turn=turn)
                sequence = await self._send_audio(utterance, piece)
                if piece.clause != clause and sequence:
                    clause = piece.clause
                    at = utterance.start_char + piece.clause_start_char
                    offset_ms = utterance.start_ms + piece.clause_offset_ms
                    utterance.clauses.append(ClauseMark(sequence, at, offset_ms))
        if utterance.encoding == "binary":
            await self._put_audio(utterance, b"", utterance.sent_ms, 0.0, last=True)
        finished = SpeechFinished(
            utterance_id=utterance.id,
            metadata=metadata(utterance, trace, trace.language, trace.output_format),
            command_id=utterance.command_id,
        )
        await self._outbox.tell(finished, turn=turn, size=1024 + 2 * len(utterance.text))

    async def _send_audio(self, utterance: Utterance, piece: SpokenPiece) -> int:
        """The number of the first frame; 0 when the piece holds nothing."""
        size = max(1, len(piece.data))
        sequence = 0
        start_ms = utterance.start_ms + piece.offset_ms
        for begin in range(0, len(piece.data), MAX_CHUNK_BYTES):
            data = piece.data[begin : begin + MAX_CHUNK_BYTES]
            at_ms = start_ms + piece.duration_ms * begin / size
            lasts_ms = piece.duration_ms * len(data) / size
            found = await self._put_audio(utterance, data, at_ms, lasts_ms)
            sequence = sequence or found
            utterance.sent_ms = at_ms + lasts_ms
            self._playout.sent(utterance.number, lasts_ms)
        return sequence

    async def _put_audio(
        self,
        utterance: Utterance,
        data: bytes,
        at_ms: float,
        lasts_ms: float,
        *,
        last: bool = False,
    ) -> int:
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
        return await self._outbox.put(frame.encode, size, binary=frame.binary, turn=turn)

    async def _pace(self, piece: SpokenPiece) -> None:
        """Wait until the audio is due to be sent."""
        while piece.duration_ms and (early_ms := self._playout.ahead_ms() - LEAD_MS) > 0:
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
