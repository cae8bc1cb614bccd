"""What was asked (`SpeechRequest`), what was decided (`SpeechPlan`), what happened (`SpeechTrace`).

A request is planned once; the plan is frozen and everything after it only reads it. The trace is
the one mutable record of a request: each layer appends to it, exporters read it when it is over.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import msgspec

Origin = Literal["live", "bulk", "warmup"]
"""Who asked: a caller who waits, a bulk job, or a warm-up (which never counts as demand)."""


class VoiceSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The provider's voice settings. `None` means the voice's own stored value, which is another
    thing than any explicit number, the provider's documented default included."""

    stability: float | None = None
    """0 to 1."""
    similarity_boost: float | None = None
    """0 to 1."""
    style: float | None = None
    """0 to 1."""
    use_speaker_boost: bool | None = None
    speed: float | None = None
    """0.7 to 1.2."""


class WordTiming(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One word of a text and when it sounds.

    `char_start` and `char_end` count characters of the text the timing belongs to: the segment's
    text as spoken where it comes from a provider, the caller's own text where it leaves the core.
    Times count from the first sample of the same audio.
    """

    text: str
    start_ms: int
    end_ms: int
    char_start: int
    char_end: int
    estimated: bool = False
    """True where the voice gave no timings and they follow from the text's length."""


class AudioChunk(msgspec.Struct, frozen=True, gc=False):
    """A piece of canonical audio (`core.audio.pcm`) with the timings of the words that start in it.

    Word times count from the first sample of the stream that the chunk belongs to.
    """

    pcm: bytes
    words: tuple[WordTiming, ...] = ()


class SpeechRequest(msgspec.Struct, frozen=True, gc=False):
    """What a caller asked for, decoded and not yet decided."""

    tenant: str
    text: str
    agent_id: str
    language: str | None = None
    """A BCP 47 tag; `None` and `auto`: the text decides among the agent's languages."""
    output_format: str = "mp3"
    optimize_for_speed: bool = True
    """True takes the fast model, False the profile's own; never another voice."""
    enable_caching: bool = True
    """False neither reads nor writes the cache, and shares no provider call."""
    origin: Origin = "live"
    common: bool = False
    """A response that is often given: kept for `CacheSettings.common_ttl_s`."""
    profile: str | None = None
    """Speak in this profile instead, with none of the agent's own settings."""
    begun_in: str | None = None
    """The language that what comes before this text was said in. Where the text decides, it is kept
    for all that its voice has letters for."""


class Attempt(msgspec.Struct, frozen=True):
    """One way to speak a segment: a provider, its own voice and the key of what it would say."""

    provider: str
    account: str
    voice: str
    """The provider's own id of the voice."""
    model: str
    language: str
    settings: VoiceSettings | None
    voice_key: str
    """Names the canonical audio of this attempt: 32 hex digits, see `core.synthesis.keys`."""
    seed: int | None = None


class SegmentPlan(msgspec.Struct, frozen=True):
    """One segment of an utterance: a sentence, or a clause of a long one."""

    index: int
    text: str
    """As it will be spoken (normalised)."""
    source_start: int
    """Where the segment stands in the caller's own text, in characters."""
    source_end: int
    source_offsets: Sequence[int]
    """For each character of `text` its place in the caller's text; one more at the end."""
    attempts: tuple[Attempt, ...]
    """In order of preference; the first is what was asked for, the others are fallbacks."""

    def attempt_of(self, provider: str) -> Attempt | None:
        """This segment's attempt with that provider, if it has one."""
        for attempt in self.attempts:
            if attempt.provider == provider:
                return attempt
        return None

    def without(self, provider: str) -> SegmentPlan:
        """The same segment with that provider's attempt taken out."""
        rest = tuple(a for a in self.attempts if a.provider != provider)
        return msgspec.structs.replace(self, attempts=rest)


class SpeechPlan(msgspec.Struct, frozen=True):
    """Everything decided about a request, once."""

    tenant: str
    agent_id: str
    profile: str
    language: str
    output_format: str
    """A canonical name of `core.audio.formats`, e.g. `mp3_24000_128`."""
    characters: int
    """Characters of the caller's text."""
    enable_caching: bool
    origin: Origin
    common: bool
    segments: tuple[SegmentPlan, ...]
    rendition_key: str
    """Names the encoded bytes of the whole utterance: its voice keys and the output format. Empty
    where they are neither looked for nor kept: a part of an utterance."""


class Provenance(msgspec.Struct, frozen=True):
    """Who spoke a piece of audio and what it cost; kept with the audio."""

    provider: str
    voice: str
    model: str
    language: str
    request_id: str | None = None
    """The provider's own id of the call."""
    credits: float | None = None
    """The provider's price of the call, in its credits (`character-cost`)."""
    created_unix_s: float = 0.0


Outcome = Literal["running", "won", "lost", "failed"]


class AttemptTrace(msgspec.Struct):
    """What one attempt of the race did. Times count from the start of its segment's race."""

    provider: str
    voice: str
    model: str
    started_ms: float
    outcome: Outcome = "running"
    error_code: str | None = None
    tries: int = 0
    queued_ms: float = 0.0
    first_chunk_ms: float | None = None
    request_id: str | None = None
    credits: float | None = None
    concurrency_limit: int | None = None
    region: str | None = None
    transport: str | None = None
    """How the provider was asked where it can be asked in several ways: `http`, `websocket`."""


class SegmentTrace(msgspec.Struct):
    """What happened to one segment: every attempt, and which of them was heard.

    It belongs to the flight that speaks the segment; requests that joined the flight share it.
    """

    started_s: float = msgspec.field(default_factory=time.monotonic)
    attempts: list[AttemptTrace] = msgspec.field(default_factory=list)
    winner: Attempt | None = None

    def now_ms(self) -> float:
        """Milliseconds since this segment's race began."""
        return (time.monotonic() - self.started_s) * 1000

    def begin(self, attempt: Attempt) -> AttemptTrace:
        """The record of an attempt that starts now, or of the one under way with that provider."""
        for known in self.attempts:
            if known.provider == attempt.provider:
                return known
        record = AttemptTrace(
            provider=attempt.provider,
            voice=attempt.voice,
            model=attempt.model,
            started_ms=self.now_ms(),
        )
        self.attempts.append(record)
        return record


Source = Literal["memory", "redis", "flight", "joined"]
"""Where a segment's audio came from: a cache tier, a provider call of this request's own, or one
that another request had begun."""


class SegmentResult(msgspec.Struct):
    """How one segment of one request was served."""

    source: Source
    provenance: Provenance | None = None
    fallback: bool = False
    """True when another provider than the one asked for was heard."""
    trace: SegmentTrace | None = None


class SpeechTrace(msgspec.Struct):
    """The one record of a request. Times count from `started_s`, which is `time.monotonic()`."""

    request_id: str
    tenant: str
    agent_id: str
    origin: Origin = "live"
    started_s: float = msgspec.field(default_factory=time.monotonic)
    language: str = ""
    output_format: str = ""
    characters: int = 0
    segments: list[SegmentResult] = msgspec.field(default_factory=list)
    rendition_source: Literal["memory", "redis"] | None = None
    """Set when the encoded reply itself came from a cache tier."""
    redis_trips: int = 0
    """Round trips to Redis that the reply waited for."""
    plan_ms: float | None = None
    first_audio_ms: float | None = None
    """Until the first audible piece was handed to the edge."""
    processing_ms: float | None = None
    duration_ms: int | None = None
    quality_score: float | None = None
    error_code: str | None = None
    provider: str | None = None
    voice: str | None = None
    model: str | None = None
    fallback: bool = False
    audio_bytes: int = 0

    def now_ms(self) -> float:
        """Milliseconds since the request began."""
        return (time.monotonic() - self.started_s) * 1000

    @property
    def cached(self) -> bool:
        """True when no provider was called for this reply and none was waited for."""
        if self.rendition_source is not None:
            return True
        return bool(self.segments) and all(s.source in ("memory", "redis") for s in self.segments)
