"""Where a segment's audio comes from: the cache, or a flight, and what to do when that one fails.

One `SegmentVoice` per segment of a request. The reply opens them a little ahead of the listener and
closes them all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Literal

import structlog

from core.audio.codecs import CodecPool, decompress
from core.audio.quality import is_plausible
from core.cache.envelope import SegmentEntry
from core.deadline import Deadline
from core.errors import BadAudio, SpeechError, StoreError
from core.providers.base import WorkClass
from core.speech import AudioChunk, Provenance, SegmentPlan, SegmentResult, Source
from core.synthesis.flight import Flight, FlightBoard, Keep, Listener

log = structlog.get_logger(__name__)

Commit = Literal["chunk", "segment"]
"""When a segment counts as heard: with its first chunk (streaming), or only when it is complete
(a whole reply, where a broken segment can still be spoken by the next voice)."""


_RESCUE_S = 0.5
"""Time the rest of the chain gets at the least when the voice that was heard broke off late."""


class SegmentVoice:
    """One segment of one reply."""

    def __init__(
        self,
        segment: SegmentPlan,
        *,
        board: FlightBoard,
        codecs: CodecPool,
        new_deadline: Callable[[], Deadline],
        work_class: WorkClass,
        keep: Keep | None,
        peek: Callable[[], SegmentEntry | None],
        arriving: bool = False,
    ) -> None:
        self._segment = segment
        self._board = board
        self._codecs = codecs
        self._new_deadline = new_deadline
        self._deadline: Deadline | None = None
        self._work_class = work_class
        self._keep = keep
        self._peek = peek
        self._arriving = arriving
        self._entry: SegmentEntry | None = None
        self._listener: Listener | None = None
        self.result = SegmentResult(source="flight")

    def use(self, entry: SegmentEntry, source: Literal["memory", "redis"]) -> None:
        """Take the audio from the cache."""
        self._entry = entry
        self.result.source = source
        self.result.provenance = entry.provenance

    @property
    def entry(self) -> SegmentEntry | None:
        """What the cache had, once it is started."""
        return self._entry

    def start(self) -> None:
        """Begin speaking, or join who does.

        Raises:
            Busy: the process holds too much already.
        """
        if self._entry is None and self._listener is None:
            # The lookup is some time ago: whoever spoke this meanwhile was paid for it.
            found = self._peek()
            if found is not None:
                self.use(found, "memory")
            else:
                self._begin()

    async def chunks(self, commit: Commit) -> AsyncGenerator[AudioChunk, None]:
        """The segment's audio.

        A voice that failed before anything of the segment was heard gives way to the rest of the
        chain.

        Raises:
            SpeechError, Busy: no voice could speak it, or the one that was heard broke off.
        """
        self.start()
        if self._entry is not None:
            kept = await self._kept(self._entry)
            if kept is not None:
                yield kept
                return
            self._entry = None
            self._begin()
        candidate = self._segment
        joined_again = False
        while True:
            listener, deadline = self._listener, self._deadline
            assert listener is not None and deadline is not None  # noqa: S101, PT018
            heard = False
            try:
                async with aclosing(listener.chunks(deadline)) as stream:
                    if commit == "segment":
                        held = [chunk async for chunk in stream]
                        self._check(listener, candidate)
                        self._note(listener)
                        for chunk in held:
                            heard = True
                            yield chunk
                    else:
                        async for chunk in stream:
                            if not heard:
                                heard = True
                                self._note(listener)
                            yield chunk
                return
            except SpeechError:
                failed = listener.flight.trace.winner
                if heard:
                    raise
                if failed is not None:
                    candidate = candidate.without(failed.provider)
                    if not candidate.attempts:
                        raise
                elif listener.joined and not joined_again and self._time_for_another(deadline):
                    # It died by the clock of whoever began it; ours has time for a call of our own.
                    joined_again = True
                else:
                    raise
            listener.close()
            self._deadline = Deadline.after(
                first_audio_s=max(_RESCUE_S, deadline.due_left_s()),
                whole_s=deadline.left_s(),
                patience_s=deadline.give_up_at_s - deadline.first_audio_at_s,
            )
            self._listener = self._join(candidate, self._deadline)

    async def _kept(self, entry: SegmentEntry) -> AudioChunk | None:
        """The audio that the cache had; one that cannot be decoded is a miss."""
        try:
            return AudioChunk(await decompress(entry, self._codecs), entry.words)
        except StoreError as error:
            log.warning("kept_segment_unreadable", code=error.code)
            return None

    def _time_for_another(self, deadline: Deadline) -> bool:
        return deadline.first_audio_left_s() >= _RESCUE_S

    def _check(self, listener: Listener, candidate: SegmentPlan) -> None:
        """Let the next voice speak what is no speech, as long as there is one.

        Raises:
            BadAudio: the audio cannot be the text.
        """
        winner = listener.flight.trace.winner
        if winner is None or len(candidate.attempts) < 2:
            return
        if not is_plausible(listener.flight.quality, self._segment.text):
            raise BadAudio("The audio cannot be the text.", provider=winner.provider)

    def _begin(self) -> None:
        self._deadline = self._new_deadline()
        self._listener = self._join(self._segment, self._deadline)

    def quality(self) -> tuple[float, bool] | None:
        """Score and plausibility of what was heard; None where it must be measured."""
        if self._listener is not None and self._listener.flight.ended:
            report = self._listener.flight.quality
            return report.score, is_plausible(report, self._segment.text)
        if self._listener is None and self._entry is not None and self._entry.quality_score:
            return self._entry.quality_score, True
        return None

    def close(self) -> None:
        """Give up the place on the flight; calling it again does nothing."""
        if self._listener is not None:
            self._listener.close()

    def _join(self, candidate: SegmentPlan, deadline: Deadline) -> Listener:
        asked = candidate is self._segment
        return self._board.join(
            candidate,
            deadline,
            work_class=self._work_class,
            share=self._keep is not None,
            keep=self._keep if asked else None,
            arriving=self._arriving,
        )

    def _note(self, listener: Listener) -> None:
        provenance = provenance_of(listener.flight)
        self.result.source = _source_of(listener)
        self.result.trace = listener.flight.trace
        self.result.provenance = provenance
        self.result.fallback = provenance.provider != self._segment.attempts[0].provider


def _source_of(listener: Listener) -> Source:
    if not listener.joined:
        return "flight"
    # An ended flight is found until its audio is in the memory tier: it is the same thing.
    return "memory" if listener.complete else "joined"


def provenance_of(flight: Flight) -> Provenance:
    """Who speaks a flight that has been heard."""
    attempt = flight.trace.winner
    assert attempt is not None, "a flight with audio has a winner"  # noqa: S101
    record = flight.trace.begin(attempt)
    return Provenance(
        provider=attempt.provider,
        voice=attempt.voice,
        model=attempt.model,
        language=attempt.language,
        request_id=record.request_id,
        credits=record.credits,
        created_unix_s=flight.started_unix_s,
    )
