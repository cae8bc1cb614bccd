"""ElevenLabs over WebSocket: text that is still arriving, on `multi-stream-input`.

One context for each call, on a warm socket that other calls share. A call is a clause, not an
utterance: each is looked up in the cache, shared with equal ones, retried and handed to another
voice by itself, and one that is never heard is never paid for; a context of the whole utterance
could do none of that. Opening one costs no round trip. Leaf of the race, as
`elevenlabs_http` is: it neither retries nor limits.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from core.errors import ProviderError, ProviderRejected, ProviderSilent, StreamTruncated
from core.providers.base import SpeechCall, SpokenText
from core.providers.elevenlabs_context import Context
from core.providers.elevenlabs_frames import Frame
from core.providers.elevenlabs_pool import SocketPool
from core.providers.elevenlabs_words import PROVIDER, AlignedSpeech
from core.settings import UpstreamSettings
from core.speech import AudioChunk, SegmentPlan

_SPARE_SOCKETS: Final = 4
"""Sockets beside one for each call there may be: contexts that were left hold theirs a little."""

_WHOLE_WORDS: Final = re.compile(r".*(?:\s|[\u3000-\u303f\u3400-\u9fff\uf900-\uffef])", re.DOTALL)
"""The part of a text that ends with a word: at a blank, or at a character of Chinese."""


class ElevenLabsWebSocket:
    """The provider `elevenlabs` over its sockets. Open it with `open_elevenlabs_websocket`."""

    name = PROVIDER

    def __init__(self, pool: SocketPool, settings: UpstreamSettings) -> None:
        self.pool = pool
        self._timeout_s = settings.timeout_s
        self._stall_s = settings.stall_timeout_s

    async def stream(
        self, text: SpokenText, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        """See `SpeechProvider`. Of a text still being written whole words are sent as they come.

        Raises:
            ProviderBusy, ProviderRejected, ProviderUnavailable: the vendor's errors, or a lost
                connection.
            ProviderSilent: no connection or no audio before the first audio was due.
            BadAudio: the vendor sent no audio at all, or something that is none.
            StreamTruncated: any of these after the first chunk, a stall, or an end of the audio
                before the text's.
        """
        attempt = segment.attempt_of(self.name)
        if attempt is None:
            raise ProviderRejected("The segment has no voice of ElevenLabs.", provider=self.name)
        record = call.trace.begin(attempt)
        record.tries += 1
        record.transport = "websocket"
        call.deadline.require_first_audio_time()
        give_up_at_s = _now_s() + min(self._timeout_s, call.deadline.left_s())
        context = await self.pool.lease(attempt, call.deadline.first_audio_left_s())
        record.request_id, record.region = context.trace_id, context.region
        speech = AlignedSpeech()
        writing: asyncio.Task[None] | None = None
        heard = False
        try:
            if isinstance(text, str):
                speech.extend(text)
                context.say(text, flush=True)
                context.finish()
            else:
                writing = asyncio.create_task(_write(text, context, speech), name="text-feed")
            while True:
                wait_s = self._wait_s(context, call, heard=heard)
                frame = await self._next(context, min(wait_s, give_up_at_s - _now_s()), heard=heard)
                if frame is None:
                    continue
                chunk = speech.feed(frame.audio or b"", frame.characters(speech.heard_s))
                if chunk is not None:
                    heard = True
                    yield chunk
                if frame.final:
                    break
            last = speech.finish()
            if last is not None:
                yield last
        finally:
            context.leave()
            if writing is not None:
                writing.cancel()
                await asyncio.wait([writing])

    def _wait_s(self, context: Context, call: SpeechCall, *, heard: bool) -> float:
        if not heard:
            return call.deadline.first_audio_left_s()
        # Silence is no stall as long as the vendor may be waiting for text.
        return call.deadline.left_s() if context.owed_at_s is None else self._stall_s

    async def _next(self, context: Context, wait_s: float, *, heard: bool) -> Frame | None:
        try:
            return await context.next(wait_s)
        except TimeoutError as error:
            context.socket.distrust(wait_s)
            if heard:
                raise StreamTruncated("ElevenLabs stalled.", provider=self.name) from error
            raise ProviderSilent("ElevenLabs sent no audio.", provider=self.name) from error
        except ProviderError as error:
            if heard and not isinstance(error, StreamTruncated):
                raise StreamTruncated(
                    error.message, provider=self.name, vendor_code=error.vendor_code
                ) from error
            raise

    async def aclose(self) -> None:
        """Close the sockets."""
        await self.pool.aclose()


def open_elevenlabs_websocket(settings: UpstreamSettings) -> ElevenLabsWebSocket:
    """The provider with its pool of sockets; needs a running loop."""
    pool = SocketPool(
        settings.base_url.rstrip("/"),
        settings.api_key,
        stall_s=settings.stall_timeout_s,
        max_sockets=settings.max_concurrent + _SPARE_SOCKETS,
    )
    return ElevenLabsWebSocket(pool, settings)


async def _write(text: AsyncIterator[str], context: Context, speech: AlignedSpeech) -> None:
    """Send a text as it comes: the vendor speaks a word that is cut in two as two words. What the
    text's own source raises is raised in the stream."""
    held = ""
    try:
        async for piece in text:
            speech.extend(piece)
            held += piece
            whole = _WHOLE_WORDS.match(held)
            if whole is not None and whole.group().strip():
                context.say(whole.group())
                held = held[whole.end() :]
                # Pieces that are there already would fill the socket's queue in one go.
                await context.written()
        if held.strip():
            context.say(held)
        context.finish(flush=True)
    except Exception as error:
        context.put(error)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
