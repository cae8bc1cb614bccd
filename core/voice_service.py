"""Speech for a program in Python, without a gateway in between.

    from core.voice_service import Language, get_voice_agent, voice_service

    await voice_service.initialize()
    voice_agent = await get_voice_agent("agent_123")
    result = await voice_service.synthesize_speech(
        text="Welcome to Seiketsu AI!", voice_agent=voice_agent, language=Language.ENGLISH
    )
    await voice_service.close()

It is the gateway's own pipeline on the same databases, so what one has spoken the other finds.
Importing opens nothing.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

import msgspec

from core.agents import VoiceAgent
from core.audio.formats import resolve
from core.cache.envelope import RenditionEntry
from core.errors import ConfigurationError, SeiketsuError
from core.runtime import Runtime, open_runtime
from core.settings import Settings, load_settings
from core.speech import SpeechRequest, SpeechTrace
from core.text.languages import AUTO

DEFAULT_TENANT: Final = "default"
_CLOSE_S: Final = 10.0
"""Longest time that closing everything may take."""


class Language(StrEnum):
    """The languages of a request."""

    ENGLISH = "en"
    SPANISH = "es"
    MANDARIN = "zh"
    AUTO = AUTO
    """The text decides among the agent's languages."""


class VoiceResult(msgspec.Struct, frozen=True):
    """Speech that was made, and how it went."""

    audio: bytes
    content_type: str
    format: str
    """Canonical name, e.g. `mp3_24000_128`."""
    processing_time_ms: float
    first_audio_ms: float | None
    """Until the first audible piece was ready."""
    cached: bool
    """No provider was called or waited for."""
    quality_score: float
    """0 to 1, measured."""
    duration_ms: int
    provider: str | None
    voice_id: str | None
    """The provider's own id of the voice heard."""
    model: str | None
    fallback: bool
    """Another provider than the first was heard."""
    language: str
    characters: int
    request_id: str


class VoiceService:
    """Opened by `initialize`, or as `async with VoiceService(settings) as service`.

    It belongs to the event loop that opened it, until it is closed.
    """

    def __init__(self, settings: Settings | None = None, *, tenant: str = DEFAULT_TENANT) -> None:
        """Without settings the environment is read when it is opened. `tenant` owns the agents and
        the cached audio."""
        self._settings = settings
        self._tenant = tenant
        self._runtime: Runtime | None = None
        self._holder: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._opening = asyncio.Lock()

    async def initialize(self, settings: Settings | None = None) -> None:
        """Open everything; once it is open, nothing.

        Raises:
            ConfigurationError: a setting is wrong, or Redis or the voice server does not answer.
        """
        async with self._opening:
            if self._runtime is not None:
                return
            chosen = settings or self._settings or load_settings(os.environ)
            self._closing = asyncio.Event()  # of this loop
            opened: asyncio.Future[Runtime] = asyncio.get_running_loop().create_future()
            # One task opens and closes, whoever calls `close`.
            self._holder = asyncio.create_task(self._hold(chosen, opened), name="voice-service")
            try:
                runtime = await asyncio.shield(opened)
                _require(await runtime.ready())
            except BaseException:
                await self._end()
                raise
            self._runtime = runtime

    async def get_voice_agent(self, agent_id: str) -> VoiceAgent:
        """The agent with that id.

        Raises:
            UnknownAgent: there is none.
        """
        return self._open().agents.get(self._tenant, agent_id)

    async def synthesize_speech(
        self,
        text: str,
        voice_agent: VoiceAgent | str,
        language: Language | str = Language.AUTO,
        *,
        format: str = "mp3",
        optimize_for_speed: bool = True,
        enable_caching: bool = True,
    ) -> VoiceResult:
        """Speak a text with a stored agent (itself or its id), as `POST /synthesize` does.

        Raises:
            RequestError: the request cannot be carried out as it is.
            Busy, SpeechError: no whole speech could be made.
        """
        runtime = self._open()
        request = SpeechRequest(
            tenant=self._tenant,
            text=text,
            agent_id=voice_agent if isinstance(voice_agent, str) else voice_agent.id,
            language=str(language),
            output_format=format,
            optimize_for_speed=optimize_for_speed,
            enable_caching=enable_caching,
        )
        trace = runtime.service.new_trace(f"req_{secrets.token_hex(12)}", request)
        try:
            plan = await runtime.service.plan(request)
            entry = runtime.service.peek(plan, trace)
            if entry is None:
                deadline = runtime.service.new_deadline()
                entry = await runtime.service.whole(plan, trace, deadline)
        except SeiketsuError as error:
            trace.error_code = trace.error_code or error.code
            raise
        finally:
            trace.processing_ms = trace.now_ms()
            runtime.recorder.record(trace)
        return _result(entry, trace, plan.language, plan.characters)

    async def close(self) -> None:
        """Close everything; harmless when nothing is open."""
        async with self._opening:
            self._runtime = None
            await self._end()

    async def __aenter__(self) -> Self:
        """`initialize`."""
        await self.initialize()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """`close`."""
        await self.close()

    def _open(self) -> Runtime:
        if self._runtime is None:
            raise ConfigurationError("The voice service is not open: await initialize() first.")
        return self._runtime

    async def _hold(self, settings: Settings, opened: asyncio.Future[Runtime]) -> None:
        try:
            async with open_runtime(settings) as runtime:
                opened.set_result(runtime)
                await self._closing.wait()
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)

    async def _end(self) -> None:
        holder, self._holder = self._holder, None
        if holder is None:
            return
        self._closing.set()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await holder
        finally:
            holder.cancel()


def _require(checks: dict[str, bool]) -> None:
    names = {
        "local_voice": "the voice server",
        "state_store": "the state database (REDIS_URL)",
        "cache_store": "the audio database (CACHE_REDIS_URL)",
    }
    silent = [names.get(name, name) for name, answers in checks.items() if not answers]
    if silent:
        raise ConfigurationError(
            f"No answer from {' and '.join(silent)}: start them with `seiketsu up`, and give this "
            "program the same settings."
        )


def _result(
    entry: RenditionEntry, trace: SpeechTrace, language: str, characters: int
) -> VoiceResult:
    return VoiceResult(
        audio=entry.audio,
        content_type=resolve(entry.output_format, 0).content_type,
        format=entry.output_format,
        processing_time_ms=round(trace.processing_ms or trace.now_ms(), 3),
        first_audio_ms=None if trace.first_audio_ms is None else round(trace.first_audio_ms, 3),
        cached=trace.cached,
        quality_score=entry.quality_score,
        duration_ms=entry.duration_ms,
        provider=trace.provider,
        voice_id=trace.voice,
        model=trace.model,
        fallback=trace.fallback,
        language=language,
        characters=characters,
        request_id=trace.request_id,
    )


voice_service: Final = VoiceService()
"""The service of a program that needs one; `initialize` opens it."""


async def get_voice_agent(agent_id: str) -> VoiceAgent:
    """An agent of `voice_service`.

    Raises:
        UnknownAgent: there is none.
    """
    return await voice_service.get_voice_agent(agent_id)
