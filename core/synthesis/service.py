"""The pipeline on one screen: request -> plan -> cache -> flights of providers -> reply.

Called by the routes of the gateway and by workers; the one place that knows the whole way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from typing import Final

from core.audio.codecs import PIECE_BYTES
from core.audio.formats import resolve
from core.cache.envelope import RenditionEntry
from core.cache.tiered import SpeechCache
from core.deadline import Deadline
from core.errors import SeiketsuError, SpeechError
from core.settings import Settings
from core.speech import Origin, Provenance, SpeechPlan, SpeechRequest, SpeechTrace
from core.synthesis.live import HEARD_PIECE_BYTES, LiveReply, TextSource
from core.synthesis.plan import Planner
from core.synthesis.rendition import in_pieces
from core.synthesis.reply import Reply
from core.synthesis.segments import Commit
from core.synthesis.voicing import ReplyParts, SpokenPiece

_PATIENCE_S: Final = 8.0
"""How long a segment that follows another is waited for after it was due."""
_BULK_FIRST_AUDIO_S: Final = 10.0
_BULK_PATIENCE_S: Final = 60.0
"""The same for every segment of work that nobody waits for."""


class SpeechService:
    """Turns requests into speech."""

    def __init__(
        self, settings: Settings, planner: Planner, cache: SpeechCache, parts: ReplyParts
    ) -> None:
        self._settings = settings
        self._planner = planner
        self._cache = cache
        self._parts = parts

    async def plan(self, request: SpeechRequest) -> SpeechPlan:
        """Decide a request; waits for nothing but its turns.

        Raises:
            RequestError: it cannot be carried out as it is.
        """
        return await self._planner.plan_in_turns(request)

    def new_trace(self, request_id: str, request: SpeechRequest) -> SpeechTrace:
        """The record of a request that begins now."""
        return SpeechTrace(
            request_id=request_id,
            tenant=request.tenant,
            agent_id=request.agent_id,
            origin=request.origin,
            characters=len(request.text),
        )

    def new_deadline(self, origin: Origin = "live") -> Deadline:
        """The time of a request that begins now; work nobody waits for has more of it."""
        return deadline_maker(self._settings)(None, origin)

    def peek(self, plan: SpeechPlan, trace: SpeechTrace) -> RenditionEntry | None:
        """The complete reply if this process's memory has it; waits for nothing."""
        if not plan.enable_caching:
            return None
        entry = self._cache.peek_rendition(plan.tenant, plan.rendition_key)
        if entry is None:
            return None
        self._begin(plan, trace)
        self._from_cache(trace, entry, "memory")
        return entry

    async def speak(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> AsyncGenerator[bytes, None]:
        """Encoded bytes as they become ready; the first item holds the first audible sample.

        Raises:
            SpeechError, Busy: no speech; after the first item the reply is broken off and must not
                be ended as if it were whole.
        """
        async with aclosing(self._speak(plan, trace, deadline, "chunk", [])) as pieces:
            async for piece in pieces:
                if piece.data:
                    yield piece.data

    async def whole(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> RenditionEntry:
        """The complete reply, with exact container headers.

        Raises:
            SpeechError, Busy: no speech.
        """
        done: list[RenditionEntry] = []
        async with aclosing(self._speak(plan, trace, deadline, "segment", done)) as pieces:
            async for _ in pieces:
                pass
        return done[0]

    async def pieces(
        self, plan: SpeechPlan, trace: SpeechTrace, deadline: Deadline
    ) -> AsyncGenerator[SpokenPiece, None]:
        """The same as `speak`, in short pieces that tell what is said in them, kept replies too.

        Raises:
            SpeechError, Busy: see `speak`.
        """
        done: list[RenditionEntry] = []
        spoken = self._speak(plan, trace, deadline, "chunk", done, HEARD_PIECE_BYTES)
        async with aclosing(spoken) as pieces:
            async for piece in pieces:
                if trace.rendition_source is None:
                    yield piece
                else:
                    for part in in_pieces(done[0], plan):
                        yield part

    async def converse(
        self,
        request: SpeechRequest,
        text: TextSource,
        trace: SpeechTrace,
        *,
        lead_s: Callable[[], float],
    ) -> AsyncGenerator[SpokenPiece, None]:
        """Speech of a text that is still being written; the request's own text is not read.

        `lead_s` tells how many seconds of what was handed out the listener has not heard yet.
        Closing the generator stops reading `text`; speech of clauses that are complete runs on and
        is kept.

        Raises:
            RequestError: the text cannot be spoken as it is.
            SpeechError, Busy: no speech; what was handed out by then was said.
        """
        speech = self._settings.speech
        with self._recorded(trace):
            trace.output_format = resolve(request.output_format, speech.mp3_kbps).name
            if self._parts.prepare is not None:
                self._parts.prepare(self._planner.likely(request))
            reply = LiveReply(request, trace, self._parts, self._planner, speech, lead_s=lead_s)
            async with aclosing(reply.pieces(text)) as pieces:
                async for piece in pieces:
                    if trace.provider is None:
                        self._spoken(trace)
                    trace.audio_bytes += len(piece.data)
                    yield piece
            self._spoken(trace)

    async def _speak(
        self,
        plan: SpeechPlan,
        trace: SpeechTrace,
        deadline: Deadline,
        commit: Commit,
        done: list[RenditionEntry],
        piece_bytes: int = PIECE_BYTES,
    ) -> AsyncGenerator[SpokenPiece, None]:
        """A kept rendition is one piece; it is in `done` by then."""
        self._begin(plan, trace)
        with self._recorded(trace):
            lookup = await self._cache.lookup(plan, trace)
            kept = lookup.rendition
            if kept is not None and lookup.rendition_source is not None:
                self._from_cache(trace, kept, lookup.rendition_source)
                done.append(kept)
                yield SpokenPiece(kept.audio, 0.0, kept.duration_ms, kept.words, 0, 0, 0.0)
                return
            output_format = resolve(plan.output_format, 0)
            reply = Reply(plan, output_format, trace, self._parts, piece_bytes=piece_bytes)
            async with aclosing(reply.encoded(deadline, lookup, commit)) as pieces:
                async for piece in pieces:
                    if trace.provider is None:
                        self._spoken(trace)
                    trace.audio_bytes += len(piece.data)
                    yield piece
            if reply.rendition is None:
                raise SpeechError("The speech did not come to its end.")
            done.append(reply.rendition)
            self._spoken(trace)

    @contextmanager
    def _recorded(self, trace: SpeechTrace) -> Generator[None, None, None]:
        """Notes how it ended."""
        try:
            yield
        except SeiketsuError as error:
            trace.error_code = error.code
            raise
        except (asyncio.CancelledError, GeneratorExit):
            trace.error_code = trace.error_code or "client_gone"
            raise
        finally:
            trace.processing_ms = trace.now_ms()

    def _begin(self, plan: SpeechPlan, trace: SpeechTrace) -> None:
        trace.language = plan.language
        trace.output_format = plan.output_format
        trace.characters = plan.characters
        trace.plan_ms = trace.now_ms()

    def _spoken(self, trace: SpeechTrace) -> None:
        """Say whose voice is heard: the first segment's, and whether any was a fallback."""
        first = trace.segments[0].provenance if trace.segments else None
        if first is not None:
            self._name(trace, first)
        trace.fallback = any(segment.fallback for segment in trace.segments)

    def _from_cache(self, trace: SpeechTrace, entry: RenditionEntry, source: str) -> None:
        trace.rendition_source = "memory" if source == "memory" else "redis"
        self._name(trace, entry.provenance)
        trace.duration_ms = entry.duration_ms
        trace.quality_score = entry.quality_score
        trace.audio_bytes = len(entry.audio)
        trace.first_audio_ms = trace.processing_ms = trace.now_ms()

    def _name(self, trace: SpeechTrace, provenance: Provenance) -> None:
        trace.provider = provenance.provider
        trace.voice = provenance.voice
        trace.model = provenance.model


def deadline_maker(settings: Settings) -> Callable[[float | None, Origin], Deadline]:
    """Makes deadlines that start when they are made: for the beginning of an utterance (`None`), or
    for audio that follows what is heard for so many seconds more. Work that nobody waits for gives
    way to the rest, and is not spoken by a fallback as soon as somebody would have to be answered.
    """
    first_audio_s = settings.speech.response_timeout_ms / 1000
    whole_s = settings.upstream.timeout_s

    def new_deadline(lead_s: float | None, origin: Origin) -> Deadline:
        if origin != "live":
            return Deadline.after(
                first_audio_s=_BULK_FIRST_AUDIO_S,
                whole_s=_BULK_FIRST_AUDIO_S + _BULK_PATIENCE_S + whole_s,
                patience_s=_BULK_PATIENCE_S,
            )
        if lead_s is None:
            return Deadline.after(first_audio_s=first_audio_s, whole_s=whole_s)
        return Deadline.after(
            first_audio_s=first_audio_s + lead_s, whole_s=whole_s + lead_s, patience_s=_PATIENCE_S
        )

    return new_deadline
