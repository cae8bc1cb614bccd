"""Decides a request once: agent, language, voice, model, segments, attempts and keys. Pure.

Called by the service for every request; nothing here waits or touches a store.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Generator, Sequence
from typing import Final, cast

import msgspec

from core.agents import (
    FAST_MODEL,
    AgentSnapshot,
    SpokenBy,
    in_profile,
    languages_of,
    spoken_by,
)
from core.audio.formats import resolve
from core.errors import TextEmpty, TextTooLong, UnsupportedLanguage
from core.settings import SpeechSettings
from core.speech import Attempt, SegmentPlan, SpeechPlan, SpeechRequest, VoiceSettings
from core.synthesis.keys import identify, rendition_key, voice_key
from core.text.clean import clean, speakable
from core.text.detect import detect
from core.text.languages import Language
from core.text.script import readable
from core.text.spoken import spoken_segments
from core.voices.registry import engine_version


class ChainLink(msgspec.Struct, frozen=True):
    """A provider of the chain as the planner knows it."""

    provider: str
    """`elevenlabs` or `local`."""
    account: str
    engine: str | None = None
    """Version of the code path; `None`: the voice's own engine tells it."""


_KEPT_PLANS: Final = 1024
_KEPT_CHARS: Final = 1_000_000
"""Spoken characters of all plans that are kept; each takes about 30 bytes with all that is around
it."""

_TURN_S: Final = 0.001
"""A long text is planned in turns with whatever else the event loop has to do."""


class Planner:
    """Makes plans, and remembers the last of them: equal requests are the point of a cache."""

    def __init__(
        self, agents: AgentSnapshot, chain: Sequence[ChainLink], settings: SpeechSettings
    ) -> None:
        self._agents = agents
        self._chain = tuple(chain)
        self._settings = settings
        self._known: OrderedDict[tuple[int, SpeechRequest], SpeechPlan] = OrderedDict()
        self._known_chars = 0

    def plan(self, request: SpeechRequest) -> SpeechPlan:
        """Decide `request` in one go.

        Raises:
            UnknownAgent, UnsupportedLanguage, UnsupportedFormat, TextEmpty, TextTooLong
        """
        steps = self._steps(request)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return cast(SpeechPlan, done.value)

    async def plan_in_turns(self, request: SpeechRequest) -> SpeechPlan:
        """The same, giving the event loop a turn whenever it took longer than a millisecond.

        Raises:
            UnknownAgent, UnsupportedLanguage, UnsupportedFormat, TextEmpty, TextTooLong
        """
        steps = self._steps(request)
        began_s = time.monotonic()
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return cast(SpeechPlan, done.value)
            if time.monotonic() - began_s > _TURN_S:
                await asyncio.sleep(0)
                began_s = time.monotonic()

    def likely(self, request: SpeechRequest) -> Attempt:
        """With which voice a text that is not known yet will be spoken, as far as that can be told.

        Raises:
            UnknownAgent, UnsupportedLanguage
        """
        agent = self._agents.get(request.tenant, request.agent_id)
        languages = languages_of(agent, request.language)
        by = spoken_by(agent, _begun_in(request, languages) or languages[0])
        return self._attempt(self._chain[0], request, by, "")

    def _steps(self, request: SpeechRequest) -> Generator[None, None, SpeechPlan]:
        key = (self._agents.version, request)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        plan = yield from self._decide(request)
        if key not in self._known:
            self._known[key] = plan
            self._known_chars += _spoken_chars(plan)
        while len(self._known) > _KEPT_PLANS or self._known_chars > _KEPT_CHARS:
            _, oldest = self._known.popitem(last=False)
            self._known_chars -= _spoken_chars(oldest)
        return plan

    def _decide(self, request: SpeechRequest) -> Generator[None, None, SpeechPlan]:
        limit = self._settings.max_text_chars
        if len(request.text) > limit:
            raise TextTooLong(f"The text has {len(request.text)} characters; {limit} are allowed.")
        agent = self._agents.get(request.tenant, request.agent_id)
        if request.profile is not None:
            agent = in_profile(agent, request.profile)
        languages = languages_of(agent, request.language)
        output_format = resolve(request.output_format, self._settings.mp3_kbps).name
        cleaned = clean(request.text)
        if not speakable(cleaned.text):
            raise TextEmpty()
        by = spoken_by(agent, _language(request, cleaned.text, languages))
        yield
        segments: list[SegmentPlan] = []
        for spoken in spoken_segments(
            cleaned, by.language, max_chars=self._settings.max_segment_chars
        ):
            segments.append(
                SegmentPlan(
                    index=len(segments),
                    text=spoken.text,
                    source_start=spoken.source_offsets[0],
                    source_end=spoken.source_offsets[-1],
                    source_offsets=spoken.source_offsets,
                    attempts=self._attempts(request, by, spoken.text),
                )
            )
            yield
        if not segments:
            raise TextEmpty()
        return SpeechPlan(
            tenant=request.tenant,
            agent_id=agent.id,
            profile=by.profile,
            language=by.language,
            output_format=output_format,
            characters=len(request.text),
            enable_caching=request.enable_caching,
            origin=request.origin,
            common=request.common,
            segments=tuple(segments),
            rendition_key=rendition_key(
                [s.attempts[0].voice_key for s in segments],
                output_format,
                request.text,
            ),
        )

    def _attempts(self, request: SpeechRequest, by: SpokenBy, text: str) -> tuple[Attempt, ...]:
        # The local voice would leave out, without a word, what it has no letters for.
        attempts = tuple(
            self._attempt(link, request, by, text)
            for link in self._chain
            if link.provider != "local" or readable(text, by.language)
        )
        if not attempts:
            raise UnsupportedLanguage(
                f"The text has letters that the local voice of {by.language!r} cannot read."
            )
        return attempts

    def _attempt(self, link: ChainLink, request: SpeechRequest, by: SpokenBy, text: str) -> Attempt:
        settings: VoiceSettings | None
        if link.provider == "elevenlabs":
            voice = by.elevenlabs_voice
            model = FAST_MODEL if request.optimize_for_speed else by.elevenlabs_model
            settings = by.settings
        else:
            voice = by.local_voice
            model = voice.partition("/")[0]
            settings = by.local_settings
        identity = identify(
            tenant=request.tenant,
            provider=link.provider,
            account=link.account,
            engine=link.engine or engine_version(voice),
            voice=voice,
            model=model,
            language=by.language,
            settings=settings,
            text=text,
        )
        return Attempt(
            provider=link.provider,
            account=link.account,
            voice=voice,
            model=model,
            language=by.language,
            settings=settings,
            voice_key=voice_key(identity),
        )


def _language(request: SpeechRequest, text: str, languages: Sequence[Language]) -> Language:
    """The one that was begun in, unless its voice cannot read the text; else the text decides."""
    kept = _begun_in(request, languages)
    return kept if kept is not None and readable(text, kept) else detect(text, languages)


def _begun_in(request: SpeechRequest, languages: Sequence[Language]) -> Language | None:
    return next((one for one in languages if one == request.begun_in), None)


def _spoken_chars(plan: SpeechPlan) -> int:
    return sum(len(segment.text) for segment in plan.segments)
