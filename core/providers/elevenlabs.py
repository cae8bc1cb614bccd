"""The provider `elevenlabs`: WebSocket for text of an utterance that is still being written, HTTP
with timestamps for everything else. The trace says which."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from core.providers.base import SpeechCall, SpeechProvider, SpokenText
from core.providers.elevenlabs_http import ElevenLabsHttp, open_elevenlabs_http
from core.providers.elevenlabs_words import PROVIDER
from core.providers.elevenlabs_ws import ElevenLabsWebSocket, open_elevenlabs_websocket
from core.settings import UpstreamSettings
from core.speech import Attempt, AudioChunk, SegmentPlan

ENGINE = "http-1"
"""Part of the voice key: raise it when this provider would give other audio for the same input.
Both transports speak with the same voice, model and settings, so what one said is good for the
other."""


def open_elevenlabs(
    settings: UpstreamSettings, *, on_concurrency: Callable[[int], None]
) -> ElevenLabs:
    """The provider with the connections of both transports; needs a running loop."""
    websocket = open_elevenlabs_websocket(settings) if settings.websocket == "on" else None
    return ElevenLabs(open_elevenlabs_http(settings, on_concurrency=on_concurrency), websocket)


class ElevenLabs:
    """Both transports as one provider."""

    name = PROVIDER

    def __init__(self, http: ElevenLabsHttp, websocket: ElevenLabsWebSocket | None) -> None:
        """Without a `websocket` everything goes over HTTP."""
        self._http = http
        self._websocket = websocket

    async def stream(
        self, text: SpokenText, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        """See `SpeechProvider`; raises what the transport raises.

        A second try of a whole text (made by the retry around this, before anything was heard)
        goes over HTTP when the first one went over the socket: whatever broke that connection or
        its handshake may break the next one, while HTTP has warm connections of its own. A text
        that is still being written stays on sockets, since HTTP would have to wait for its end.
        """
        provider = self._way(text, segment, call)
        async with aclosing(provider.stream(text, segment, call)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _way(self, text: SpokenText, segment: SegmentPlan, call: SpeechCall) -> SpeechProvider:
        attempt = segment.attempt_of(self.name)
        if self._websocket is None or attempt is None or not self._websocket.pool.speaks(attempt):
            return self._http
        if not isinstance(text, str):
            return self._websocket
        tried = call.trace.begin(attempt).transport == "websocket"
        doubtful = tried or self._websocket.pool.resting
        return self._websocket if call.arriving and not doubtful else self._http

    def gauges(self) -> dict[str, int]:
        """Open sockets, and contexts on them whose audio is not complete."""
        if self._websocket is None:
            return {}
        pool = self._websocket.pool
        return {"elevenlabs_sockets": pool.sockets, "elevenlabs_contexts": pool.contexts}

    def prepare(self, attempt: Attempt) -> None:
        """Have a socket ready for text that is being written; waits for nothing."""
        if self._websocket is not None and attempt.provider == self.name:
            pool = self._websocket.pool
            if pool.speaks(attempt):
                pool.prepare(attempt)

    async def warm(self) -> None:
        """Open an HTTP connection ahead of the first call."""
        await self._http.warm()

    async def aclose(self) -> None:
        """Close the connections of both."""
        try:
            if self._websocket is not None:
                await self._websocket.aclose()
        finally:
            await self._http.aclose()
