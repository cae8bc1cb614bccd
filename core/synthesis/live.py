"""Speech of a text that is still being written.

Three parties at a time: one reads the text and cuts it into clauses, one decides and begins them a
little ahead of the listener, and the reader of `pieces()` gets their audio in order.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Final, TypeAlias, cast

import msgspec
import structlog

from core.audio.formats import resolve
from core.audio.pcm import BYTES_PER_S
from core.audio.quality import expected_s
from core.deadline import Deadline
from core.errors import Busy, TextEmpty, TextTooLong
from core.settings import SpeechSettings
from core.speech import SegmentPlan, SpeechPlan, SpeechRequest, SpeechTrace
from core.synthesis.plan import Planner
from core.synthesis.reply import AT_LEAST
from core.synthesis.segments import SegmentVoice
from core.synthesis.voicing import ClauseStart, ReplyParts, SpokenPiece, Voicing
from core.text.clauses import MAX_WAIT_S, ClauseCutter
from core.text.clean import speakable
from core.text.languages import AUTO, Language, language_of

__all__ = [
    "FLUSH",
    "HEARD_PIECE_BYTES",
    "ClauseStart",
    "Flush",
    "LiveReply",
    "SpokenPiece",
    "TextSource",
    "after_marks",
]

log = structlog.get_logger(__name__)

HEARD_PIECE_BYTES: Final = BYTES_PER_S * 2 // 5
"""Canonical audio of a piece: 400 ms. Half as much costs a quarter more work for every second of
audio, and nobody hears a difference."""

AHEAD_S: Final = 1.0
"""While so much is still to be heard, waiting for a better end of a clause costs nothing."""

QUIET_S: Final = 1.2
"""A text that stands still for so long is spoken as it stands, its last word included."""

_TICK_S: Final = 0.01
"""It is not asked more often whether the wait is over: what is ahead may stand still."""
_TURN_CHARS: Final = 64
"""Cut at once; then whatever else the event loop has to do comes first."""
_END_S: Final = 1.0
"""How long the tasks of a reply have to end once they were cancelled."""

_MARKS_LEFT: Final = " \t\r\n!?,;:…。！？，；：、”’»」』）)]】》〉"
"""What a clause may begin with that belongs to the one before: it is not spoken with this one."""


class Flush(msgspec.Struct, frozen=True):
    """Stands in a text for the wish to hear what was written so far."""


FLUSH: Final = Flush()

TextSource: TypeAlias = AsyncIterator[str | Flush]
"""Pieces of a text as they are written; ends when the utterance's text is complete."""


class _Clause(msgspec.Struct, frozen=True):
    """A segment that was begun."""

    segment: SegmentPlan
    voice: SegmentVoice
    language: str
    end: int
    """Where in the text what follows begins, with the marks that belong to this one."""


class LiveReply:
    """Made for one utterance; `pieces()` is read once.

    The first clause decides the language where the request leaves it to the text, and the others
    keep it, so that a name or a number does not change the voice. Only a clause with letters that
    the language's voice cannot read, such as Han characters after English, is detected anew. A
    request that says in what it was begun keeps that.
    """

    def __init__(
        self,
        request: SpeechRequest,
        trace: SpeechTrace,
        parts: ReplyParts,
        planner: Planner,
        settings: SpeechSettings,
        *,
        lead_s: Callable[[], float],
    ) -> None:
        """`lead_s`: seconds of what was handed out that are not heard yet.

        Raises:
            UnsupportedFormat: of the request.
        """
        self._request = request
        self._trace = trace
        self._parts = parts
        self._planner = planner
        self._max_text_chars = settings.max_text_chars
        self._lead_s = lead_s
        fmt = resolve(request.output_format, settings.mp3_kbps)
        self._voicing = Voicing(
            fmt,
            trace,
            parts,
            piece_bytes=HEARD_PIECE_BYTES,
            arriving=True,
            tenant=request.tenant,
        )
        asked = request.language
        self._auto = asked is None or asked.lower() == AUTO
        named = request.begun_in if self._auto else asked
        known = None if named is None else language_of(named)
        self._cutter = ClauseCutter(known, max_chars=settings.max_segment_chars)
        self._language: Language | None = known
        self._clauses: deque[tuple[int, str]] = deque()
        """Cut and not begun, each with its place in the text; bounded by the text's length."""
        self._cut_chars = 0
        self._text = ""
        """All that was read."""
        self._changed = asyncio.Event()
        self._failure: Exception | None = None
        self._ended = False
        self._written_s = 0.0
        self._worth_since_s: float | None = None
        """Since when what is pending could be spoken."""
        self._ready: asyncio.Queue[_Clause | Exception | None] = asyncio.Queue(
            max(1, parts.lookahead_segments - 1)
        )
        self._voices: list[SegmentVoice] = []
        self._segments = 0
        self._unsaid_s: dict[int, float] = {}
        """For each segment that was begun and is not over, how long its audio still is at least."""

    async def pieces(self, text: TextSource) -> AsyncGenerator[SpokenPiece, None]:
        """Encoded audio in order; when it is closed nothing of it is left behind.

        Raises:
            TextTooLong, TextEmpty, UnsupportedLanguage: what was written by then was said.
            SpeechError, Busy: see `SegmentVoice.chunks`.
        """
        self._trace.characters = 0
        tasks = [
            asyncio.create_task(self._read(text), name="live-text"),
            asyncio.create_task(self._begin_all(), name="live-clauses"),
        ]
        try:
            while True:
                clause = await self._ready.get()
                if clause is None:
                    break
                if isinstance(clause, Exception):
                    raise clause
                async with aclosing(self._say(clause)) as pieces:
                    async for piece in pieces:
                        yield piece
            if not self._segments:
                raise TextEmpty()
            tail = await self._voicing.finish()
            self._trace.quality_score = self._voicing.quality_score
            self._trace.duration_ms = self._voicing.duration_ms
            if tail.data or tail.words:
                yield tail
        finally:
            for task in tasks:
                task.cancel()
            for voice in self._voices:
                voice.close()
            _, running = await asyncio.wait(tasks, timeout=_END_S)
            if running:
                log.warning("live_text_does_not_end", tasks=[task.get_name() for task in running])

    async def _say(self, clause: _Clause) -> AsyncGenerator[SpokenPiece, None]:
        segment = clause.segment
        self._trace.segments.append(clause.voice.result)
        said = self._voicing.say(segment, clause.voice, clause.language, "chunk")
        async with aclosing(said) as pieces:
            async for piece in pieces:
                left_s = self._unsaid_s[segment.index] - piece.duration_ms / 1000
                self._unsaid_s[segment.index] = max(0.0, left_s)
                yield piece
        del self._unsaid_s[segment.index]
        self._voices.remove(clause.voice)
        next_char = self._after(clause)
        if next_char is not None:
            yield self._voicing.clause_end(next_char)

    def _after(self, clause: _Clause) -> int | None:
        """Where the next clause begins, as far as the text is known; None: nothing follows."""
        at = after_marks(self._text, clause.end)
        return None if self._ended and not speakable(self._text[at:]) else at

    async def _read(self, text: TextSource) -> None:
        """Cut the text as it comes. Its errors are raised after what was complete by then."""
        try:
            async for piece in text:
                if isinstance(piece, Flush):
                    self._add(self._cutter.flush())
                else:
                    await self._feed(piece)
            self._add(self._cutter.flush())
        except Exception as error:
            self._failure = error
        self._ended = True
        self._changed.set()

    async def _feed(self, piece: str) -> None:
        self._trace.characters += len(piece)
        if self._trace.characters > self._max_text_chars:
            raise TextTooLong(
                f"The text is too long; {self._max_text_chars} characters are allowed."
            )
        self._text += piece
        for at in range(0, len(piece), _TURN_CHARS):
            if at:
                await asyncio.sleep(0)
            self._add(self._cutter.feed(piece[at : at + _TURN_CHARS]))

    def _add(self, clauses: Sequence[str]) -> None:
        now_s = self._written_s = time.monotonic()
        if clauses:
            self._worth_since_s = None
        for clause in clauses:
            self._clauses.append((self._cut_chars, clause))
            self._cut_chars += len(clause)
        if self._worth_since_s is None and self._cutter.releasable:
            self._worth_since_s = now_s
        self._changed.set()

    async def _begin_all(self) -> None:
        """Begin clauses a little ahead; the queue bounds how far."""
        last: Exception | None = None
        try:
            while (clause := await self._next_clause()) is not None:
                await self._begin(*clause)
            last = self._failure
        except Exception as error:
            last = error
        await self._ready.put(last)

    async def _next_clause(self) -> tuple[int, str] | None:
        """The next one, as soon as it is complete or nothing is gained by waiting longer."""
        while not self._clauses:
            if self._ended:
                return None
            self._changed.clear()
            patience_s = self._patience_s()
            if patience_s is not None and patience_s <= 0:
                self._add(self._cutter.release() or self._cutter.flush())
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s and max(_TICK_S, patience_s)):
                    await self._changed.wait()
        return self._clauses.popleft()

    def _patience_s(self) -> float | None:
        """How long more text is waited for; `None`: as long as it takes."""
        if self._worth_since_s is not None:
            due_s = self._worth_since_s + MAX_WAIT_S
        elif speakable(self._cutter.pending):
            due_s = self._written_s + QUIET_S
        else:
            return None
        return max(due_s - time.monotonic(), self._ahead_s() - AHEAD_S)

    def _ahead_s(self) -> float:
        """Seconds until the listener has heard all that was begun, at the least."""
        return self._lead_s() + sum(self._unsaid_s.values())

    async def _begin(self, at: int, written: str) -> None:
        text = written.lstrip(_MARKS_LEFT) if self._segments else written
        if not speakable(text):
            return
        plan = await self._plan(text)
        lookup = await self._parts.cache.lookup(plan, self._trace)
        at, end = at + len(written) - len(text), at + len(written)
        starts = [at + segment.source_start for segment in plan.segments[1:]]
        for index, segment in enumerate(plan.segments):
            number = self._segments
            self._segments += 1
            due = partial(self._deadline, number, self._ahead_s())
            voice = self._voicing.voice(plan, index, due, lookup)
            self._voices.append(voice)
            self._unsaid_s[number] = AT_LEAST * expected_s(segment.text, plan.language)
            try:
                voice.start()
            except Busy:
                # In its turn it is asked for again.
                log.debug("clause_not_begun_ahead")
            placed = _placed(segment, number, at)
            await self._ready.put(_Clause(placed, voice, plan.language, [*starts, end][index]))

    def _deadline(self, number: int, ahead_s: float) -> Deadline:
        """The first clause is due when it is complete, a later one when all before it is heard."""
        return self._parts.new_deadline(ahead_s if number else None, self._request.origin)

    async def _plan(self, text: str) -> SpeechPlan:
        request = msgspec.structs.replace(
            self._request,
            text=text,
            language=self._request.language if self._auto else self._language,
            begun_in=self._language if self._auto else None,
        )
        plan = await self._planner.plan_in_turns(request)
        if self._language is None:
            self._language = self._cutter.language = cast(Language, plan.language)
        if not self._segments:
            self._trace.plan_ms = self._trace.now_ms()
            self._trace.language = plan.language
        return msgspec.structs.replace(plan, rendition_key="")


def after_marks(text: str, at: int) -> int:
    """Where a clause begins whose predecessor ends at `at`, as far as the text is known; 0 stays 0,
    since there is none before it."""
    while 0 < at < len(text) and text[at] in _MARKS_LEFT:
        at += 1
    return at


def _placed(segment: SegmentPlan, number: int, at: int) -> SegmentPlan:
    """A clause's segment as one of the whole text, in which the clause begins at `at`."""
    offsets = segment.source_offsets
    moved: Sequence[int]
    if isinstance(offsets, range):
        moved = range(offsets.start + at, offsets.stop + at)
    else:
        moved = array("I", [offset + at for offset in offsets])
    return msgspec.structs.replace(
        segment,
        index=number,
        source_start=segment.source_start + at,
        source_end=segment.source_end + at,
        source_offsets=moved,
    )
