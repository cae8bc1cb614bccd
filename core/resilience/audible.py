"""Lets through what can be heard: trims the silence before the first sound and refuses an answer
that is no speech. With it inside each arm of the race, the first chunk of an arm is first audio.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from core.audio.pcm import BYTES_PER_S
from core.audio.quality import is_noise
from core.audio.silence import LeadTrimmer
from core.errors import BadAudio
from core.providers.base import SpeechCall, SpeechProvider, SpokenText
from core.speech import AudioChunk, SegmentPlan

_JUDGED_BYTES = BYTES_PER_S // 20
"""The first 50 ms of sound are heard together: less cannot be told from noise, nor is it enough for
an encoder to give a decoder something to play."""


class Audible:
    """A provider whose first chunk holds its first audible sample."""

    def __init__(self, provider: SpeechProvider) -> None:
        self._provider = provider

    @property
    def name(self) -> str:
        """The wrapped provider's name."""
        return self._provider.name

    async def stream(
        self, text: SpokenText, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        """As the wrapped provider, from the first sound on.

        Raises:
            BadAudio: nothing audible came, or noise.
        """
        trimmer = LeadTrimmer()
        first: AudioChunk | None = None
        judged = False
        async with aclosing(self._provider.stream(text, segment, call)) as chunks:
            async for chunk in chunks:
                audible = trimmer.feed(chunk)
                if audible is None:
                    continue
                if judged:
                    yield audible
                    continue
                first = audible if first is None else _joined(first, audible)
                if len(first.pcm) >= _JUDGED_BYTES:
                    judged = True
                    yield self._judge(first)
        if first is None:
            raise BadAudio("The voice sent no audible speech.", provider=self.name)
        if not judged:
            yield self._judge(first)

    def _judge(self, first: AudioChunk) -> AudioChunk:
        if is_noise(first.pcm[: 2 * _JUDGED_BYTES]):
            raise BadAudio("The voice sent noise.", provider=self.name)
        return first

    async def aclose(self) -> None:
        """Close the wrapped provider."""
        await self._provider.aclose()


def _joined(one: AudioChunk, other: AudioChunk) -> AudioChunk:
    return AudioChunk(one.pcm + other.pcm, one.words + other.words)
