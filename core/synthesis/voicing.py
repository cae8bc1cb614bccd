"""The segments of one utterance in order: joined, encoded, measured, and kept for the next one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

import msgspec
import structlog

from core.audio.codecs import (
    FIRST_PIECE_BYTES,
    PIECE_BYTES,
    CodecPool,
    compress,
    pieces,
)
from core.audio.formats import OutputFormat, bytes_per_ms
from core.audio.joiner import Joiner
from core.audio.pcm import RATE_HZ, duration_ms, samples_of
from core.audio.plain import WAV_HEADER_BYTES
from core.audio.quality import is_plausible, quality_score
from core.cache.envelope import SegmentEntry
from core.cache.tiered import Lookup, SpeechCache
from core.deadline import Deadline
from core.speech import Attempt, Origin, SegmentPlan, SpeechPlan, SpeechTrace, WordTiming
from core.synthesis.encoding import Paths, UtteranceEncoder
from core.synthesis.flight import Flight, FlightBoard
from core.synthesis.segments import Commit, SegmentVoice, provenance_of

log = structlog.get_logger(__name__)


class ReplyParts(msgspec.Struct, frozen=True):
    """What every reply of a process shares."""

    cache: SpeechCache
    board: FlightBoard
    codecs: CodecPool
    new_deadline: Callable[[float | None, Origin], Deadline]
    """See `core.synthesis.service.deadline_maker`."""
    lookahead_segments: int
    prepare: Callable[[Attempt], None] | None = None
    """Told which voice is going to speak a text that somebody has begun to write."""


class ClauseStart(msgspec.Struct, frozen=True):
    """Where a clause begins of which nothing was handed out yet."""

    char: int
    """In the caller's text."""
    offset_ms: float
    """On the utterance's clock."""


class SpokenPiece(msgspec.Struct, frozen=True):
    """Encoded audio on its way to a listener, and what is said in it."""

    data: bytes
    """In order: all pieces joined are one playable stream of the format."""
    offset_ms: float
    """Where its audio begins on the utterance's clock."""
    duration_ms: float
    """Audio added by it; 0 for a header or a tail. Of pcm, wav and the telephone's codecs what its
    bytes hold; of the others what the encoder was given, which holds back some 50 ms of it."""
    words: tuple[WordTiming, ...]
    """Words that start in it: times on the utterance's clock, characters of the whole text as its
    caller wrote it."""
    clause: int
    """Of the clause (segment) it belongs to, counted over the utterance."""
    clause_start_char: int
    """Where that clause begins in the caller's text."""
    clause_offset_ms: float
    """Where that clause begins on the utterance's clock."""
    next_clause: ClauseStart | None = None
    """This piece, which may hold no audio, is the last one of its clause, and that is where the
    next begins; None: more of it may come, or nothing follows but a tail."""


class Voicing:
    """One utterance on its way out. Segments are said one after another, then `finish()`."""

    def __init__(
        self,
        fmt: OutputFormat,
        trace: SpeechTrace,
        parts: ReplyParts,
        *,
        piece_bytes: int = PIECE_BYTES,
        arriving: bool = False,
        tenant: str | None = None,
    ) -> None:
        """With a `tenant` its clauses are encoded once for all its utterances."""
        self.plausible = True
        """Whether every segment so far can be what it should say."""
        self._trace = trace
        self._parts = parts
        self._piece_bytes = piece_bytes
        self._arriving = arriving
        self._joiner = Joiner()
        paths = None if tenant is None else Paths(parts.cache, tenant)
        self._encoder = UtteranceEncoder(fmt, parts.codecs, paths)
        self._bytes_per_ms = bytes_per_ms(fmt)
        self._header_bytes = WAV_HEADER_BYTES if fmt.codec == "wav" else 0
        self._words: deque[WordTiming] = deque()
        """Whose audio has not left."""
        self._fed_bytes = 0
        self._sent_bytes = 0
        self._sent_ms = 0.0
        self._weighted_quality = 0.0
        self._heard_at_s: float | None = None
        self._segment = (0, 0, 0.0)

    @property
    def duration_ms(self) -> int:
        """Of all that was said."""
        return duration_ms(self._joiner.samples)

    @property
    def quality_score(self) -> float:
        """Of all segments that were said, each by its length."""
        return round(self._weighted_quality / max(1, self._joiner.samples), 3)

    def voice(
        self, plan: SpeechPlan, index: int, new_deadline: Callable[[], Deadline], lookup: Lookup
    ) -> SegmentVoice:
        """Who says the segment `index` of `plan`; whoever takes it closes it."""
        parts = self._parts
        voice = SegmentVoice(
            plan.segments[index],
            board=parts.board,
            codecs=parts.codecs,
            new_deadline=new_deadline,
            work_class="live" if plan.origin == "live" else "bulk",
            keep=partial(self._keep, plan) if plan.enable_caching else None,
            peek=partial(parts.cache.peek_segment, plan, index),
            arriving=self._arriving,
        )
        found = lookup.segments.get(index)
        if found is not None:
            voice.use(*found)
        return voice

    async def say(
        self,
        segment: SegmentPlan,
        voice: SegmentVoice,
        language: str,
        commit: Commit,
        on_first: Callable[[], None] | None = None,
    ) -> AsyncGenerator[SpokenPiece, None]:
        """The segment's audio as it becomes ready; `on_first` is called at its first chunk.

        Raises:
            SpeechError, Busy: see `SegmentVoice.chunks`.
        """
        began_at = self._joiner.samples
        self._segment = (segment.index, segment.source_start, began_at * 1000 / RATE_HZ)
        voice.start()
        entry = voice.entry if voice.quality() is not None else None
        known = self._encoder.known(entry, segment.attempts[0].voice_key)
        pcm: list[bytes] = []
        most_bytes = self._piece_bytes
        if known is not None and entry is not None:
            if on_first is not None:
                on_first()
            self._words.extend(self._joiner.place(segment, entry.samples, entry.words))
            for fed_bytes, data in known.pieces:
                self._fed_bytes += fed_bytes
                if data:
                    self._heard()
                    yield self._piece(data)
        else:
            async with aclosing(voice.chunks(commit)) as chunks:
                async for chunk in chunks:
                    if not pcm and on_first is not None:
                        on_first()
                    joined = self._joiner.add(segment, chunk)
                    pcm.append(joined.pcm)
                    self._words.extend(joined.words)
                    # Once something is heard there is time for larger pieces, which cost less.
                    first_bytes = FIRST_PIECE_BYTES if self._heard_at_s is None else most_bytes
                    for piece in pieces(joined.pcm, most_bytes, first_bytes=first_bytes):
                        data = await self._encoder.feed(piece)
                        self._fed_bytes += len(piece)
                        if data:
                            self._heard()
                            yield self._piece(data)
            self._encoder.made(of_entry=voice.entry is entry)
        self._joiner.end_segment()
        score, plausible = voice.quality() or _measured(b"".join(pcm), segment.text, language)
        voice.close()
        self.plausible = self.plausible and plausible
        self._weighted_quality += score * (self._joiner.samples - began_at)

    def clause_end(self, next_char: int) -> SpokenPiece:
        """Says without audio that the segment is over, and where in the caller's text the next one
        begins. Its last words come with it, though the encoder may hold back some of their audio.
        """
        left, self._words = tuple(self._words), deque()
        follows = ClauseStart(next_char, self._joiner.samples * 1000 / RATE_HZ)
        return SpokenPiece(b"", self._sent_ms, 0.0, left, *self._segment, follows)

    async def finish(self) -> SpokenPiece:
        """What was held back, perhaps nothing; no segment may follow."""
        data = await self._encoder.finish()
        if data:
            self._heard()
        last = self._piece(data)
        left, self._words = tuple(self._words), deque()
        return msgspec.structs.replace(last, words=last.words + left) if left else last

    def seal(self, body: bytes) -> bytes:
        """All that was returned, with the exact length in its headers."""
        return self._encoder.seal(body)

    def lead_s(self) -> float:
        """Audio that has left and cannot have been played yet, in seconds."""
        if self._heard_at_s is None:
            return 0.0
        played_s = time.monotonic() - self._heard_at_s
        return max(0.0, self._joiner.samples / RATE_HZ - played_s)

    def _heard(self) -> None:
        if self._heard_at_s is None:
            self._heard_at_s = time.monotonic()
            self._trace.first_audio_ms = self._trace.now_ms()

    def _piece(self, data: bytes) -> SpokenPiece:
        if self._bytes_per_ms is None:
            end_ms = samples_of(self._fed_bytes) * 1000 / RATE_HZ
        else:
            self._sent_bytes += len(data)
            end_ms = max(0, self._sent_bytes - self._header_bytes) / self._bytes_per_ms
        offset_ms, self._sent_ms = self._sent_ms, end_ms
        words: list[WordTiming] = []
        while self._words and self._words[0].start_ms < end_ms:
            words.append(self._words.popleft())
        return SpokenPiece(data, offset_ms, end_ms - offset_ms, tuple(words), *self._segment)

    async def _keep(self, plan: SpeechPlan, flight: Flight) -> None:
        """Admit what the asked voice said; what a fallback spoke is kept nowhere."""
        winner = flight.trace.winner
        if winner is None or winner.voice_key != flight.key:
            return
        pcm = b"".join(chunk.pcm for chunk in flight.chunks)
        if not is_plausible(flight.quality, flight.segment.text):
            log.warning("audio_not_kept", provider=winner.provider, model=winner.model)
            return
        codec, audio = await compress(pcm, self._parts.codecs)
        entry = SegmentEntry(
            codec=codec,
            audio=audio,
            samples=samples_of(len(pcm)),
            words=tuple(word for chunk in flight.chunks for word in chunk.words),
            provenance=provenance_of(flight),
            common=plan.common,
            quality_score=flight.quality.score,
        )
        self._parts.cache.admit_segment(plan.tenant, flight.key, entry)


def _measured(pcm: bytes, text: str, language: str) -> tuple[float, bool]:
    report = quality_score(pcm, text, language)
    return report.score, is_plausible(report, text)
