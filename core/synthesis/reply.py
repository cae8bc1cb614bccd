"""One utterance on its way out: segments in order, joined, encoded, measured and kept."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

import msgspec
import structlog

from core.audio.codecs import CodecPool, compress, open_encoder, pieces
from core.audio.formats import OutputFormat
from core.audio.joiner import Joiner
from core.audio.pcm import RATE_HZ, duration_ms, samples_of
from core.audio.quality import expected_s, is_plausible, quality_score
from core.cache.envelope import RenditionEntry, SegmentEntry
from core.cache.tiered import Lookup, SpeechCache
from core.deadline import Deadline
from core.errors import Busy
from core.speech import Origin, Provenance, SpeechPlan, SpeechTrace, WordTiming
from core.synthesis.flight import Flight, FlightBoard
from core.synthesis.segments import Commit, SegmentVoice, provenance_of

log = structlog.get_logger(__name__)


_AT_LEAST = 0.5
"""Of the usual length of a text, what speech of it takes at any rate."""


class ReplyParts(msgspec.Struct, frozen=True):
    """What every reply of a process shares."""

    cache: SpeechCache
    board: FlightBoard
    codecs: CodecPool
    new_deadline: Callable[[float | None, Origin], Deadline]
    """See `core.synthesis.service.deadline_maker`."""
    lookahead_segments: int


class Reply:
    """Made for one request; `encoded()` is read once."""

    def __init__(
        self, plan: SpeechPlan, fmt: OutputFormat, trace: SpeechTrace, parts: ReplyParts
    ) -> None:
        self._plan = plan
        self._format = fmt
        self._trace = trace
        self._parts = parts
        self._joiner = Joiner()
        self._heard_at_s: float | None = None
        self._current: int | None = None
        """The segment that is being heard, where a reply is heard as it is spoken."""
        self._plausible = True
        self.rendition: RenditionEntry | None = None
        """The complete reply; there once `encoded()` has come to its end."""

    async def encoded(
        self, deadline: Deadline, lookup: Lookup, commit: Commit
    ) -> AsyncGenerator[bytes, None]:
        """Encoded bytes as they become ready; the first item holds the first audible sample.

        Raises:
            SpeechError, Busy: see `SegmentVoice.chunks`.
        """
        voices = [self._voice(index, deadline, lookup) for index in range(len(self._plan.segments))]
        encoder = open_encoder(self._format, self._parts.codecs)
        joiner = self._joiner
        body: list[bytes] = []
        words: list[WordTiming] = []
        weighted_quality = 0.0
        try:
            for index, voice in enumerate(voices):
                self._trace.segments.append(voice.result)
                self._current = index if commit == "chunk" else None
                voice.start()
                if commit == "segment":
                    # Nothing is heard before all of it is there, so nothing is worth waiting for.
                    self._start_ahead(voices, index)
                pcm: list[bytes] = []
                async with aclosing(voice.chunks(commit)) as chunks:
                    async for chunk in chunks:
                        if not pcm:
                            self._start_ahead(voices, index)
                        joined = joiner.add(self._plan.segments[index], chunk)
                        pcm.append(joined.pcm)
                        words.extend(joined.words)
                        for piece in pieces(joined.pcm):
                            data = await encoder.feed(piece)
                            if data:
                                body.append(data)
                                self._heard()
                                yield data
                joiner.end_segment()
                voice.close()
                weighted_quality += self._quality(index, b"".join(pcm))
            tail = await encoder.finish()
            body.append(tail)
            self._complete(
                voices,
                RenditionEntry(
                    output_format=self._plan.output_format,
                    audio=encoder.seal(b"".join(body)),
                    duration_ms=duration_ms(joiner.samples),
                    quality_score=round(weighted_quality / max(1, joiner.samples), 3),
                    words=tuple(words),
                    provenance=_whole([voice.result.provenance for voice in voices]),
                    common=self._plan.common,
                ),
            )
            if tail:
                self._heard()
                yield tail
        finally:
            for voice in voices:
                voice.close()

    def _heard(self) -> None:
        if self._heard_at_s is None:
            self._heard_at_s = time.monotonic()
            self._trace.first_audio_ms = self._trace.now_ms()

    def _lead_s(self) -> float:
        """Audio that has left and cannot have been played yet, in seconds."""
        if self._heard_at_s is None:
            return 0.0
        played_s = time.monotonic() - self._heard_at_s
        return max(0.0, self._joiner.samples / RATE_HZ - played_s)

    def _quality(self, index: int, pcm: bytes) -> float:
        """The segment's score times its samples."""
        text = self._plan.segments[index].text
        report = quality_score(pcm, text, self._plan.language)
        self._plausible = self._plausible and is_plausible(report, text)
        return report.score * samples_of(len(pcm))

    def _complete(self, voices: list[SegmentVoice], rendition: RenditionEntry) -> None:
        """Keep the reply before its last byte leaves, so that the next equal request finds it."""
        plan = self._plan
        self.rendition = rendition
        self._trace.quality_score = rendition.quality_score
        self._trace.duration_ms = rendition.duration_ms
        fallback = any(voice.result.fallback for voice in voices)
        if plan.enable_caching and self._plausible and not fallback:
            self._parts.cache.admit_rendition(plan.tenant, plan.rendition_key, rendition)

    def _start_ahead(self, voices: list[SegmentVoice], index: int) -> None:
        for voice in voices[index + 1 : index + 1 + self._parts.lookahead_segments]:
            try:
                voice.start()
            except Busy:
                # It was only ahead of its time; in its turn it is asked for again.
                return

    def _voice(self, index: int, deadline: Deadline, lookup: Lookup) -> SegmentVoice:
        plan, parts = self._plan, self._parts
        voice = SegmentVoice(
            plan.segments[index],
            board=parts.board,
            codecs=parts.codecs,
            new_deadline=(lambda: deadline) if index == 0 else partial(self._later_deadline, index),
            work_class="live" if plan.origin == "live" else "bulk",
            keep=self._keep if plan.enable_caching else None,
            peek=partial(self._peek, index),
        )
        found = lookup.segments.get(index)
        if found is not None:
            voice.use(*found)
        return voice

    def _later_deadline(self, index: int) -> Deadline:
        """For a segment that is due when those before it have been heard."""
        between_s = 0.0
        if self._current is not None:
            # Of the one under way nothing is counted yet: the next are begun at its first chunk.
            between = self._plan.segments[self._current : index]
            between_s = _AT_LEAST * sum(
                expected_s(segment.text, self._plan.language) for segment in between
            )
        return self._parts.new_deadline(self._lead_s() + between_s, self._plan.origin)

    def _peek(self, index: int) -> SegmentEntry | None:
        return self._parts.cache.peek_segment(self._plan, index)

    async def _keep(self, flight: Flight) -> None:
        """Admit what the asked voice said; what a fallback spoke is kept nowhere."""
        winner = flight.trace.winner
        if winner is None or winner.voice_key != flight.key:
            return
        pcm = b"".join(chunk.pcm for chunk in flight.chunks)
        text = flight.segment.text
        if not is_plausible(quality_score(pcm, text, winner.language), text):
            log.warning("audio_not_kept", provider=winner.provider, model=winner.model)
            return
        codec, audio = await compress(pcm, self._parts.codecs)
        entry = SegmentEntry(
            codec=codec,
            audio=audio,
            samples=samples_of(len(pcm)),
            words=tuple(word for chunk in flight.chunks for word in chunk.words),
            provenance=provenance_of(flight),
            common=self._plan.common,
        )
        self._parts.cache.admit_segment(self._plan.tenant, flight.key, entry)


def _whole(spoken: list[Provenance | None]) -> Provenance:
    """The first segment's voice, with the price of all."""
    known = [provenance for provenance in spoken if provenance is not None]
    costs = [provenance.credits for provenance in known if provenance.credits is not None]
    return msgspec.structs.replace(known[0], credits=sum(costs) if costs else None)
