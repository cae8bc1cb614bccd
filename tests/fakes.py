"""A voice with knobs behind the provider protocol, and what tests need around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import numpy as np

from core.audio.pcm import RATE_HZ
from core.deadline import Deadline
from core.errors import SeiketsuError
from core.providers.base import SpeechCall, SpokenText
from core.speech import Attempt, AudioChunk, SegmentPlan, SegmentTrace
from core.text.shared import whole_text


def tone(ms: int, *, level: float = 0.2, hz: float = 440.0) -> bytes:
    """Canonical audio: a sine."""
    t = np.arange(RATE_HZ * ms // 1000) / RATE_HZ
    return (np.sin(2 * np.pi * hz * t) * level * 32767).astype("<i2").tobytes()


def silence(ms: int) -> bytes:
    """Canonical audio: zeros."""
    return bytes(RATE_HZ * ms // 1000 * 2)


class FakeVoice:
    """Speaks `pieces`; every knob can be turned while it runs."""

    def __init__(
        self,
        name: str = "elevenlabs",
        *,
        pieces: Sequence[bytes] = (),
        first_after_s: float = 0.0,
        between_s: float = 0.0,
        error_before: Sequence[SeiketsuError | None] = (),
        error_after: SeiketsuError | None = None,
        silent: bool = False,
    ) -> None:
        self.name = name
        self.pieces = list(pieces) or [tone(100), tone(100), tone(100)]
        self.first_after_s = first_after_s
        self.between_s = between_s
        self.error_before = list(error_before)
        """One for each call; raised before the first piece."""
        self.error_after = error_after
        """Raised after the last piece."""
        self.silent = silent
        self.gate: asyncio.Event | None = None
        """When set, the second piece waits for it."""
        self.calls = 0
        self.open = 0
        self.closed_early = 0
        self.texts: list[str] = []
        self.deadlines: list[Deadline] = []
        """One for each of `texts`."""

    async def stream(
        self, text: SpokenText, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        self.calls += 1
        self.open += 1
        finished = False
        number = self.calls - 1
        attempt = segment.attempt_of(self.name)
        assert attempt is not None
        call.trace.begin(attempt).tries += 1
        try:
            self.texts.append(await whole_text(text))
            self.deadlines.append(call.deadline)
            if self.silent:
                await asyncio.sleep(3600)
            await asyncio.sleep(self.first_after_s)
            error = self.error_before[number] if number < len(self.error_before) else None
            if error is not None:
                raise error
            for index, chunk in enumerate(self.chunks_of(segment)):
                if index == 1 and self.gate is not None:
                    await self.gate.wait()
                if index:
                    await asyncio.sleep(self.between_s)
                yield chunk
            if self.error_after is not None:
                raise self.error_after
            finished = True
        finally:
            self.open -= 1
            self.closed_early += not finished

    def chunks_of(self, segment: SegmentPlan) -> list[AudioChunk]:
        """What is said for a segment."""
        return [AudioChunk(piece) for piece in self.pieces]

    async def aclose(self) -> None:
        """Nothing to release."""


def attempt(provider: str = "elevenlabs", key: str = "k1") -> Attempt:
    return Attempt(
        provider=provider,
        account="a",
        voice="v",
        model="m",
        language="en",
        settings=None,
        voice_key=f"{provider}-{key}",
    )


def segment_of(
    text: str = "Hello there.", *, key: str = "k1", providers: Sequence[str] = ("elevenlabs",)
) -> SegmentPlan:
    return SegmentPlan(
        index=0,
        text=text,
        source_start=0,
        source_end=len(text),
        source_offsets=range(len(text) + 1),
        attempts=tuple(attempt(provider, key) for provider in providers),
    )


def call_of(*, first_audio_s: float = 2.0, whole_s: float = 10.0) -> SpeechCall:
    return SpeechCall(
        deadline=Deadline.after(first_audio_s=first_audio_s, whole_s=whole_s), trace=SegmentTrace()
    )
