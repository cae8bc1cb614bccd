"""A second try at the same provider, before anything was heard."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from core.errors import Busy, SeiketsuError
from core.providers.base import SpeechCall, SpeechProvider, SpokenText
from core.speech import AudioChunk, SegmentPlan
from core.text.shared import SharedText


class Retry:
    """Calls again after an error that is marked retryable, as long as no chunk has come and the
    deadline of the first audio leaves time for the pause and a call. `Busy` is for the caller: it
    is said because there is no time for waiting."""

    def __init__(self, provider: SpeechProvider, *, tries: int, pause_s: float) -> None:
        self._provider = provider
        self._tries = tries
        self._pause_s = pause_s

    @property
    def name(self) -> str:
        """The wrapped provider's name."""
        return self._provider.name

    async def stream(
        self, text: SpokenText, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        """As the wrapped provider; raises its last error."""
        if isinstance(text, str):
            async with aclosing(self._tries_of(text, None, segment, call)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        async with (
            SharedText(text) as shared,
            aclosing(self._tries_of("", shared, segment, call)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    async def _tries_of(
        self, text: str, shared: SharedText | None, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        for number in range(1, self._tries + 1):
            heard = False
            spoken: SpokenText = text if shared is None else shared.reader()
            try:
                async with aclosing(self._provider.stream(spoken, segment, call)) as chunks:
                    async for chunk in chunks:
                        heard = True
                        yield chunk
                return
            except SeiketsuError as error:
                pause_s = error.retry_after_s or self._pause_s * (0.5 + random.random())  # noqa: S311
                hopeless = pause_s >= call.deadline.first_audio_left_s()
                last = hopeless or number == self._tries or isinstance(error, Busy)
                if heard or last or not error.retryable:
                    raise
            await asyncio.sleep(pause_s)

    async def aclose(self) -> None:
        """Close the wrapped provider."""
        await self._provider.aclose()
