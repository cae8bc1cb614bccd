"""ElevenLabs over HTTP: whole texts on `/stream/with-timestamps`, over pooled warm connections.

Leaf of the race. It neither retries nor limits; wrappers do.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
import structlog

from core.errors import (
    ProviderRejected,
    ProviderSilent,
    ProviderUnavailable,
    StreamTruncated,
)
from core.providers.base import SpeechCall, SpokenText
from core.providers.elevenlabs_wire import (
    OUTPUT_FORMAT,
    TimestampStream,
    error_of,
    request_body,
)
from core.providers.elevenlabs_words import PROVIDER
from core.settings import UpstreamSettings
from core.speech import AttemptTrace, AudioChunk, SegmentPlan
from core.text.shared import whole_text

log = structlog.get_logger(__name__)

_KEEPALIVE_S = 120.0
_CONNECT_S = 5.0
_ERROR_BODY_BYTES = 64 * 1024


class ElevenLabsHttp:
    """The provider `elevenlabs` over HTTP. Open it with `open_elevenlabs_http`."""

    name = PROVIDER

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: UpstreamSettings,
        *,
        on_concurrency: Callable[[int], None],
    ) -> None:
        self._session = session
        self._base_url = settings.base_url.rstrip("/")
        self._timeout_s = settings.timeout_s
        self._stall_s = settings.stall_timeout_s
        self._headers = {"xi-api-key": settings.api_key, "content-type": "application/json"}
        self._on_concurrency = on_concurrency

    async def stream(
        self, text: SpokenText, segment: SegmentPlan, call: SpeechCall
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak a whole text (one that is still being written is waited for).

        Raises:
            ProviderBusy, ProviderRejected, ProviderUnavailable: the vendor's errors.
            ProviderSilent: no bytes before the first audio was due.
            BadAudio, StreamTruncated: see `TimestampStream`; also a stall or a lost connection.
        """
        attempt = segment.attempt_of(self.name)
        if attempt is None:
            raise ProviderRejected("The segment has no voice of ElevenLabs.", provider=self.name)
        record = call.trace.begin(attempt)
        spoken = await whole_text(text)
        record.tries += 1
        record.transport = "http"
        deadline_s = min(self._timeout_s, call.deadline.left_s())
        give_up_at = asyncio.get_running_loop().time() + deadline_s
        url = f"{self._base_url}/text-to-speech/{quote(attempt.voice, safe='')}"
        heard = False
        async with self._post(
            f"{url}/stream/with-timestamps?output_format={OUTPUT_FORMAT}",
            request_body(spoken, attempt),
            call,
        ) as response:
            self._note(response.headers, record)
            if response.status != 200:
                raise error_of(response.status, await self._error_body(response, call))
            reply = TimestampStream(spoken)
            while True:
                wait_s = self._stall_s if heard else call.deadline.first_audio_left_s()
                left_s = give_up_at - asyncio.get_running_loop().time()
                data = await self._read(response, min(wait_s, left_s), heard=heard)
                chunks = reply.feed(data) if data else reply.finish()
                for chunk in chunks:
                    heard = True
                    yield chunk
                if not data:
                    return

    @asynccontextmanager
    async def _post(
        self, url: str, body: bytes, call: SpeechCall
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with asyncio.timeout(call.deadline.first_audio_left_s()):
                # A redirect would carry the key and the text to wherever it points.
                response = await self._session.post(
                    url, data=body, headers=self._headers, allow_redirects=False
                )
        except TimeoutError as error:
            raise ProviderSilent("ElevenLabs did not answer.", provider=self.name) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ProviderUnavailable(
                f"ElevenLabs cannot be reached ({type(error).__name__}).", provider=self.name
            ) from error
        try:
            yield response
        finally:
            # A body read to its end has given its connection back; any other must not be reused.
            response.close()

    async def _read(self, response: aiohttp.ClientResponse, wait_s: float, *, heard: bool) -> bytes:
        try:
            async with asyncio.timeout(max(0.0, wait_s)):
                return await response.content.readany()
        except TimeoutError as error:
            if heard:
                raise StreamTruncated("ElevenLabs stalled.", provider=self.name) from error
            raise ProviderSilent("ElevenLabs sent no audio.", provider=self.name) from error
        except (aiohttp.ClientError, OSError) as error:
            said = f"ElevenLabs broke off ({type(error).__name__})."
            if heard:
                raise StreamTruncated(said, provider=self.name) from error
            raise ProviderUnavailable(said, provider=self.name) from error

    async def _error_body(self, response: aiohttp.ClientResponse, call: SpeechCall) -> bytes:
        body = b""
        try:
            async with asyncio.timeout(call.deadline.first_audio_left_s()):
                while len(body) < _ERROR_BODY_BYTES and (data := await response.content.readany()):
                    body += data
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            log.info("upstream_error_cut", kind=type(error).__name__)
        return body

    def _note(self, headers: Mapping[str, str], record: AttemptTrace) -> None:
        record.request_id = headers.get("request-id") or headers.get("x-trace-id")
        record.region = headers.get("x-region")
        record.credits = _number(headers.get("character-cost"))
        limit = _number(headers.get("maximum-concurrent-requests"))
        if limit is not None and limit >= 1:
            record.concurrency_limit = int(limit)
            self._on_concurrency(int(limit))

    async def warm(self) -> None:
        """Open a connection ahead of the first call; a failure is only logged."""
        try:
            async with (
                asyncio.timeout(_CONNECT_S),
                self._session.get(
                    f"{self._base_url}/models", headers=self._headers, allow_redirects=False
                ) as response,
            ):
                await response.content.read(_ERROR_BODY_BYTES)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            log.warning("upstream_not_reached", kind=type(error).__name__)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()


def open_elevenlabs_http(
    settings: UpstreamSettings, *, on_concurrency: Callable[[int], None]
) -> ElevenLabsHttp:
    """The provider with its connection pool; needs a running loop."""
    connector = aiohttp.TCPConnector(
        limit=settings.max_concurrent + 4,
        keepalive_timeout=_KEEPALIVE_S,
        ttl_dns_cache=60,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        auto_decompress=True,
    )
    return ElevenLabsHttp(session, settings, on_concurrency=on_concurrency)


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None
