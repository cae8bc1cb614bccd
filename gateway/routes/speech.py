"""`POST /synthesize` and `POST /streaming/synthesize/streaming`: plain ASGI, because they are hot.

A reply that this process holds in memory is answered without a task, a timer or a wait.
"""

from __future__ import annotations

import asyncio
import base64
import re
from functools import lru_cache
from typing import Final

from litestar.enums import ScopeType
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import Receive, Scope, Send

from core.analytics.recorder import CLIENT_GONE
from core.audio.formats import content_types, resolve
from core.cache.envelope import RenditionEntry
from core.errors import SeiketsuError, StoreError
from core.speech import SpeechPlan, SpeechRequest, SpeechTrace
from gateway.edge import Edge
from gateway.errors import (
    Headers,
    MethodNotAllowed,
    NotAcceptable,
    error_reply,
    log_unexpected,
    new_request_id,
)
from gateway.http import (
    ANY_AUDIO,
    JSON_TYPE,
    NOT_MADE,
    ClientGone,
    read_body,
    require_json,
    require_post,
    send_reply,
    wanted_audio,
)
from gateway.messages import SynthesizeReply, decode_request, encode
from gateway.routes.audio import audio_path
from gateway.streaming import StreamBroken, send_audio, while_connected

_NOT_PLAIN: Final = re.compile(rb"[^\x21-\x7e]")
_MAX_INLINE_BYTES: Final = 8 * 1024 * 1024
"""Larger audio goes into a JSON reply only where the caller asked for it."""
_DEFAULT_FORMAT: Final = "mp3"


def speech_routes(edge: Edge) -> list[ASGIRouteHandler]:
    """The two synthesis routes."""

    @asgi("/synthesize", name="synthesize", copy_scope=False)
    async def synthesize(scope: Scope, receive: Receive, send: Send) -> None:
        await _serve(edge, scope, receive, send, audio_always=False)

    @asgi("/streaming/synthesize/streaming", name="stream_speech", copy_scope=False)
    async def stream_speech(scope: Scope, receive: Receive, send: Send) -> None:
        await _serve(edge, scope, receive, send, audio_always=True)

    return [synthesize, stream_speech]


async def _serve(
    edge: Edge, scope: Scope, receive: Receive, send: Send, *, audio_always: bool
) -> None:
    if scope["type"] != ScopeType.HTTP:
        await send({"type": "websocket.close", "code": 1008, "reason": "not a WebSocket route"})
        return
    request_id = new_request_id()
    exchange = _Exchange(edge, request_id, receive, send)
    try:
        require_post(scope)
        headers = dict(scope["headers"])
        principal = edge.gate.admit(headers)
        require_json(headers)
        body = await read_body(receive, headers, edge.settings.gateway.max_body_bytes)
        asked = decode_request(body)
        audio = ANY_AUDIO if audio_always else None
        accept = headers.get(b"accept")
        if accept is not None and len(accept) <= 1024:
            audio = wanted_audio(accept) or audio
        output_format = asked.format
        if output_format is None:
            if audio == NOT_MADE:
                raise NotAcceptable(f"The audio types are: {', '.join(content_types())}.")
            output_format = audio if audio not in (None, ANY_AUDIO) else _DEFAULT_FORMAT
        request = SpeechRequest(
            tenant=principal.tenant,
            text=asked.text,
            agent_id=asked.voice_agent_id,
            language=asked.language,
            output_format=output_format,
            optimize_for_speed=asked.optimize_for_speed is not False,
            enable_caching=asked.enable_caching is not False,
        )
        inline = asked.include_audio is True
        await exchange.answer(request, as_audio=audio is not None, inline=inline)
    except StreamBroken as broken:
        # Nothing more is sent: the server then cuts the connection and the client sees why not to
        # trust what it got.
        cause = broken.__cause__ or broken
        if not isinstance(cause, SeiketsuError):
            log_unexpected(cause, request_id)
        exchange.failed(cause)
    except ClientGone:
        exchange.gone()
    except asyncio.CancelledError:
        # The server ends and its time for running replies is over.
        exchange.gone()
        raise
    except Exception as error:
        exchange.failed(error)
        status, error_headers, text = error_reply(error, request_id)
        if isinstance(error, MethodNotAllowed):
            error_headers.append((b"allow", b"POST"))
        await send_reply(send, status, error_headers, text)
    finally:
        exchange.close()


class _Exchange:
    """One request and its reply."""

    __slots__ = ("_edge", "_receive", "_refusal", "_request_id", "_send", "_service", "_trace")

    def __init__(self, edge: Edge, request_id: str, receive: Receive, send: Send) -> None:
        self._edge = edge
        self._request_id = request_id
        self._receive = receive
        self._send = send
        self._service = edge.runtime.service
        self._trace: SpeechTrace | None = None
        self._refusal: str | None = None

    async def answer(self, request: SpeechRequest, *, as_audio: bool, inline: bool) -> None:
        service = self._service
        trace = self._trace = service.new_trace(self._request_id, request)
        try:
            plan = await service.plan(request)
        except Exception:
            # Not known to be an agent's id: it may be anything the caller wrote.
            trace.agent_id = ""
            raise
        plan_ms = trace.now_ms()
        entry = service.peek(plan, trace)
        peek_ms = trace.now_ms() - plan_ms
        if entry is None:
            with self._edge.place():
                if as_audio:
                    await self._stream(plan, trace, plan_ms)
                    return
                entry = await while_connected(
                    self._receive, service.whole(plan, trace, service.new_deadline())
                )
        if as_audio:
            headers = _audio_headers(plan, trace, plan_ms, peek_ms)
            headers.append((b"content-length", b"%d" % len(entry.audio)))
            await send_reply(self._send, 200, headers, entry.audio)
        else:
            await self._send_json(plan, trace, entry, inline=inline)

    async def _stream(self, plan: SpeechPlan, trace: SpeechTrace, plan_ms: float) -> None:
        service = self._service
        chunks = service.speak(plan, trace, service.new_deadline())
        await while_connected(
            self._receive,
            send_audio(self._send, chunks, lambda: _audio_headers(plan, trace, plan_ms, None)),
        )

    async def _send_json(
        self, plan: SpeechPlan, trace: SpeechTrace, entry: RenditionEntry, *, inline: bool
    ) -> None:
        audio_id = await self._keep(plan, entry)
        if audio_id is None and not inline and len(entry.audio) > _MAX_INLINE_BYTES:
            raise StoreError(
                "The audio cannot be kept just now and is too large for a JSON reply: ask for the "
                "audio itself with Accept: audio/*.",
                retry_after_s=1,
            )
        reply = SynthesizeReply(
            status="success",
            request_id=trace.request_id,
            processing_time_ms=round(trace.now_ms(), 3),
            first_audio_ms=None if trace.first_audio_ms is None else round(trace.first_audio_ms, 3),
            cached=trace.cached,
            quality_score=entry.quality_score,
            voice_id=trace.voice,
            provider=trace.provider,
            model=trace.model,
            fallback=trace.fallback,
            language=plan.language,
            format=plan.output_format,
            content_type=resolve(plan.output_format, 0).content_type,
            duration_ms=entry.duration_ms,
            characters=plan.characters,
            voice_agent_id=plan.agent_id,
            audio_bytes=len(entry.audio),
            audio_url=None if audio_id is None else audio_path(audio_id),
            audio_base64=(
                base64.b64encode(entry.audio).decode() if inline or audio_id is None else None
            ),
        )
        body = encode(reply)
        await send_reply(
            self._send,
            200,
            [
                JSON_TYPE,
                (b"content-length", b"%d" % len(body)),
                (b"cache-control", b"no-store"),
                (b"x-request-id", trace.request_id.encode()),
            ],
            body,
        )

    async def _keep(self, plan: SpeechPlan, entry: RenditionEntry) -> str | None:
        """The signed id of the audio in the result store; None when the store does not answer."""
        results = self._edge.runtime.results
        if not plan.enable_caching:
            key = None
        else:
            key = plan.rendition_key
            known = results.remembered(plan.tenant, plan.agent_id, key, entry)
            if known is not None:
                return known
        try:
            return await results.put(plan.tenant, plan.agent_id, key, entry)
        except StoreError:
            return None

    def failed(self, error: BaseException) -> None:
        """Note why there is no whole reply."""
        code = error.code if isinstance(error, SeiketsuError) else "internal_error"
        if self._trace is None:
            self._refusal = code
        elif self._trace.error_code in (None, CLIENT_GONE):
            self._trace.error_code = code

    def gone(self) -> None:
        """Note that the caller left."""
        if self._trace is not None:
            self._trace.error_code = CLIENT_GONE

    def close(self) -> None:
        """Hand the request over to the recorder."""
        recorder = self._edge.runtime.recorder
        trace = self._trace
        if trace is not None:
            trace.processing_ms = trace.now_ms()
            recorder.record(trace)
        elif self._refusal is not None:
            recorder.refuse(self._refusal)


def _audio_headers(
    plan: SpeechPlan, trace: SpeechTrace, plan_ms: float, peek_ms: float | None
) -> Headers:
    """Headers of an audio reply at the moment its first piece is there."""
    first_ms = trace.first_audio_ms if trace.first_audio_ms is not None else trace.now_ms()
    cached = trace.cached
    found = trace.rendition_source or ("segments" if cached else "miss")
    lookup = b"" if peek_ms is None else b";dur=%.3f" % peek_ms
    headers: Headers = [
        (b"content-type", _plain(resolve(plan.output_format, 0).content_type)),
        (b"cache-control", b"no-store"),
        (b"x-request-id", trace.request_id.encode()),
        (b"x-provider", _plain(trace.provider or "")),
        (b"x-voice-id", _plain(trace.voice or "")),
        (b"x-model", _plain(trace.model or "")),
        (b"x-fallback", b"true" if trace.fallback else b"false"),
        (b"x-cached", b"true" if cached else b"false"),
        (b"x-language", _plain(plan.language)),
        (b"x-format", _plain(plan.output_format)),
        (b"x-first-audio-ms", b"%.3f" % first_ms),
        (
            b"server-timing",
            b"plan;dur=%.3f, cache;desc=%s%s, first_audio;dur=%.3f"
            % (plan_ms, found.encode(), lookup, first_ms),
        ),
    ]
    if trace.quality_score is not None:
        headers.append((b"x-quality-score", b"%.3f" % trace.quality_score))
    if trace.duration_ms is not None:
        headers.append((b"x-duration-ms", b"%d" % trace.duration_ms))
    return headers


@lru_cache(maxsize=1024)
def _plain(value: str) -> bytes:
    """A value that may stand in a header; anything but visible ASCII becomes `?`."""
    return _NOT_PLAIN.sub(b"?", value.encode("ascii", "replace"))
