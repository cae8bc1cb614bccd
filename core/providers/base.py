"""The one protocol of everything that turns text into speech.

Leaves (`local`, `elevenlabs`) speak it to a voice; policies (`core.resilience`, the limiter, the
trimmer) wrap a provider and are one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal, Protocol

import msgspec

from core.deadline import Deadline
from core.speech import AudioChunk, SegmentPlan, SegmentTrace

SpokenText = str | AsyncIterator[str]
"""A whole text, or one that is still being written: its pieces in order."""

WorkClass = Literal["live", "bulk"]


class SpeechCall(msgspec.Struct, frozen=True):
    """What surrounds one segment's speech: its time, its record, its class."""

    deadline: Deadline
    trace: SegmentTrace
    work_class: WorkClass = "live"
    arriving: bool = False
    """True for text of an utterance that is still being written."""


class SpeechProvider(Protocol):
    """Streams canonical audio of a segment."""

    @property
    def name(self) -> str:
        """The provider's name as attempts carry it."""
        ...

    def stream(
        self, text: SpokenText, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak `text`; `segment` says with which voice.

        `text` is `segment.text`, or an iterator over its pieces while it is still being written.
        Chunks carry whole samples of canonical audio; word times count from the stream's first
        sample, character offsets count in the whole text. Whoever iterates closes the generator
        (`contextlib.aclosing`); closing ends the call upstream at once.

        Raises:
            ProviderError: no audio (before the first chunk), or `StreamTruncated` after it.
            Busy: no place within the deadline.
            DeadlineExceeded: the first audio was not there in time.
        """
        ...

    async def aclose(self) -> None:
        """Release connections; no stream may be open."""
        ...
