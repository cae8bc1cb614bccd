"""One utterance whose text is whole: its segments in order, and the rendition kept of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import msgspec

from core.audio.codecs import PIECE_BYTES
from core.audio.formats import OutputFormat
from core.audio.quality import expected_s
from core.cache.envelope import RenditionEntry
from core.cache.tiered import Lookup
from core.deadline import Deadline
from core.errors import Busy
from core.speech import Provenance, SpeechPlan, SpeechTrace, WordTiming
from core.synthesis.segments import Commit, SegmentVoice
from core.synthesis.voicing import ReplyParts, SpokenPiece, Voicing

__all__ = ["AT_LEAST", "Reply"]

AT_LEAST = 0.5
"""Of the usual length of a text, what speech of it takes at any rate."""


class Reply:
    """Made for one request; `encoded()` is read once."""

    def __init__(
        self,
        plan: SpeechPlan,
        fmt: OutputFormat,
        trace: SpeechTrace,
        parts: ReplyParts,
        *,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self._plan = plan
        self._trace = trace
        self._parts = parts
        self._voicing = Voicing(fmt, trace, parts, piece_bytes=piece_bytes)
        self._current: int | None = None
        """The segment that is being heard, where a reply is heard as it is spoken."""
        self.rendition: RenditionEntry | None = None
        """The complete reply; there once `encoded()` has come to its end."""

    async def encoded(
        self, deadline: Deadline, lookup: Lookup, commit: Commit
    ) -> AsyncGenerator[SpokenPiece, None]:
        """Encoded audio as it becomes ready; the first item holds the first audible sample.

        Raises:
            SpeechError, Busy: see `SegmentVoice.chunks`.
        """
        plan, voicing = self._plan, self._voicing
        voices = [self._voice(index, deadline, lookup) for index in range(len(plan.segments))]
        body: list[bytes] = []
        words: list[WordTiming] = []
        try:
            for index, voice in enumerate(voices):
                self._trace.segments.append(voice.result)
                self._current = index if commit == "chunk" else None
                voice.start()
                if commit == "segment":
                    # Nothing is heard before all of it is there, so nothing is worth waiting for.
                    self._start_ahead(voices, index)
                said = voicing.say(
                    plan.segments[index],
                    voice,
                    plan.language,
                    commit,
                    partial(self._start_ahead, voices, index),
                )
                async with aclosing(said) as pieces:
                    async for piece in pieces:
                        body.append(piece.data)
                        words.extend(piece.words)
                        yield piece
                if index + 1 < len(voices):
                    end = voicing.clause_end(plan.segments[index + 1].source_start)
                    words.extend(end.words)
                    yield end
            tail = await voicing.finish()
            body.append(tail.data)
            words.extend(tail.words)
            self._complete(
                voices,
                RenditionEntry(
                    output_format=plan.output_format,
                    audio=voicing.seal(b"".join(body)),
                    duration_ms=voicing.duration_ms,
                    quality_score=voicing.quality_score,
                    words=tuple(words),
                    provenance=_whole([voice.result.provenance for voice in voices]),
                    common=plan.common,
                ),
            )
            if tail.data or tail.words:
                yield tail
        finally:
            for voice in voices:
                voice.close()

    def _complete(self, voices: list[SegmentVoice], rendition: RenditionEntry) -> None:
        """Keep the reply before its last byte leaves, so that the next equal request finds it."""
        plan = self._plan
        self.rendition = rendition
        self._trace.quality_score = rendition.quality_score
        self._trace.duration_ms = rendition.duration_ms
        fallback = any(voice.result.fallback for voice in voices)
        if plan.enable_caching and self._voicing.plausible and not fallback:
            self._parts.cache.admit_rendition(plan.tenant, plan.rendition_key, rendition)

    def _start_ahead(self, voices: list[SegmentVoice], index: int) -> None:
        for voice in voices[index + 1 : index + 1 + self._parts.lookahead_segments]:
            try:
                voice.start()
            except Busy:
                # It was only ahead of its time; in its turn it is asked for again.
                return

    def _voice(self, index: int, deadline: Deadline, lookup: Lookup) -> SegmentVoice:
        new_deadline = (lambda: deadline) if index == 0 else partial(self._later_deadline, index)
        return self._voicing.voice(self._plan, index, new_deadline, lookup)

    def _later_deadline(self, index: int) -> Deadline:
        """For a segment that is due when those before it have been heard."""
        between_s = 0.0
        if self._current is not None:
            # Of the one under way nothing is counted yet: the next are begun at its first chunk.
            between = self._plan.segments[self._current : index]
            between_s = AT_LEAST * sum(
                expected_s(segment.text, self._plan.language) for segment in between
            )
        return self._parts.new_deadline(self._voicing.lead_s() + between_s, self._plan.origin)


def _whole(spoken: list[Provenance | None]) -> Provenance:
    """The first segment's voice, with the price of all."""
    known = [provenance for provenance in spoken if provenance is not None]
    costs = [provenance.credits for provenance in known if provenance.credits is not None]
    return msgspec.structs.replace(known[0], credits=sum(costs) if costs else None)
