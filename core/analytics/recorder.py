"""One record per request: counters and percentiles of this process, and one log line."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from core.analytics.agents import AgentWatch
from core.analytics.anomaly import AnomalyWatch
from core.analytics.figures import MAX_LANGUAGES, Figures, LanguageFigures
from core.analytics.histogram import Histogram
from core.analytics.providers import ProviderWatch
from core.speech import SpeechTrace

CLIENT_GONE: Final = "client_gone"
"""In `SpeechTrace.error_code`: the caller left before the end. Nobody's error, so counted apart."""

_MOST_NAMES: Final = 64
_OTHER: Final = "other"
_LONGEST_NAME: Final = 64


_COUNTS: Final = (
    *("requests", "warmups", "cached", "fallbacks", "characters", "audio_bytes"),
    *("redis_trips", "failures", "abandoned"),
)
_NAMES: Final = ("errors", "providers", "sources", "refused")
_HISTOGRAMS: Final = ("first_audio_cached", "first_audio_uncached", "processing", "quality")


class _Language(msgspec.Struct):
    requests: int = 0
    errors: int = 0
    first_audio: Histogram = msgspec.field(default_factory=Histogram)


class Recorder:
    """Counts finished requests. Warm-ups are counted apart and never as demand.

    Names (providers, languages, error codes) are bounded: after 64 of a kind the rest is `other`.
    """

    def __init__(self) -> None:
        # Bound here: a proxy would look the configuration up again for every line.
        self._log = structlog.get_logger().bind()
        self._since_unix_s = time.time()
        self._requests = 0
        self._warmups = 0
        self._cached = 0
        self._fallbacks = 0
        self._characters = 0
        self._audio_bytes = 0
        self._redis_trips = 0
        self._errors: Counter[str] = Counter()
        self._providers: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._languages: dict[str, _Language] = {}
        self._first_audio_cached = Histogram()
        self._first_audio_uncached = Histogram()
        self._processing = Histogram()
        self._quality = Histogram()
        self._failures = 0
        self._abandoned = 0
        self._refused: Counter[str] = Counter()
        self.providers = ProviderWatch()
        self.anomalies = AnomalyWatch()
        self.agents = AgentWatch()
        """By tenant, so not in `snapshot`, which every tenant may see."""
        self.tell: Callable[[SpeechTrace], None] | None = None
        """Told of every finished request; never waits."""

    def record(self, trace: SpeechTrace) -> None:
        """Count a finished request and log it. Never raises and never waits."""
        try:
            source = _source(trace)
            if trace.segments:
                self.providers.observe(trace)
            self.anomalies.observe(trace, abandoned=trace.error_code == CLIENT_GONE)
            if self.tell is not None:
                self.tell(trace)
            if trace.origin == "warmup":
                self._warmups += 1
            else:
                self._count(trace, source)
            if self._log.is_enabled_for(logging.INFO):
                self._write(trace, source)
        except Exception:
            self._failures += 1

    def refuse(self, code: str) -> None:
        """Count a request that was turned away before there was anything to trace."""
        self._refused[_name(self._refused, code)] += 1

    def snapshot(self) -> dict[str, Any]:
        """Everything counted since the start of this process; times in milliseconds."""
        served = self._requests - self._errors.total() - self._abandoned
        first_audio = Histogram()
        first_audio.merge(self._first_audio_cached)
        first_audio.merge(self._first_audio_uncached)
        return {
            "since_unix_s": round(self._since_unix_s, 3),
            "requests": self._requests,
            "warmups": self._warmups,
            "served": served,
            "abandoned": self._abandoned,
            "refused": dict(self._refused),
            "errors": dict(self._errors),
            "error_rate": _ratio(self._errors.total(), self._requests),
            "cached": self._cached,
            "cache_hit_rate": _ratio(self._cached, served),
            "fallbacks": self._fallbacks,
            "fallback_rate": _ratio(self._fallbacks, served),
            "providers": dict(self._providers),
            "sources": dict(self._sources),
            "characters": self._characters,
            "audio_bytes": self._audio_bytes,
            "redis_trips": self._redis_trips,
            "record_failures": self._failures,
            "first_audio_ms": first_audio.summary(),
            "first_audio_cached_ms": self._first_audio_cached.summary(),
            "first_audio_uncached_ms": self._first_audio_uncached.summary(),
            "processing_ms": self._processing.summary(),
            "quality_score": self._quality.summary(),
            "anomalies": [msgspec.structs.asdict(one) for one in self.anomalies.found()],
            "languages": {
                name: {
                    "requests": one.requests,
                    "errors": one.errors,
                    "first_audio_ms": one.first_audio.summary(),
                }
                for name, one in self._languages.items()
            },
        }

    def export(self) -> Figures:
        """Everything counted, for `merge` of a recorder in another process."""
        languages = list(self._languages.items())[:MAX_LANGUAGES]
        return Figures(
            since_unix_s=self._since_unix_s,
            counts={name: getattr(self, f"_{name}") for name in _COUNTS},
            names={name: dict(getattr(self, f"_{name}")) for name in _NAMES},
            histograms={name: getattr(self, f"_{name}").export() for name in _HISTOGRAMS},
            languages={
                name: LanguageFigures(one.requests, one.errors, one.first_audio.export())
                for name, one in languages
            },
            agents=self.agents.export(),
        )

    def merge(self, figures: Figures) -> None:
        """Add what another recorder exported."""
        self._since_unix_s = min(self._since_unix_s, figures.since_unix_s)
        for name in _COUNTS:
            mine = getattr(self, f"_{name}")
            setattr(self, f"_{name}", mine + figures.counts.get(name, 0))
        for kind in _NAMES:
            counter: Counter[str] = getattr(self, f"_{kind}")
            for name, count in figures.names.get(kind, {}).items():
                counter[_name(counter, name)] += count
        for name in _HISTOGRAMS:
            if name in figures.histograms:
                getattr(self, f"_{name}").add_figures(figures.histograms[name])
        for name, told in figures.languages.items():
            language = self._language(name)
            language.requests += told.requests
            language.errors += told.errors
            language.first_audio.add_figures(told.first_audio)
        self.agents.merge(figures.agents)

    def _count(self, trace: SpeechTrace, source: str) -> None:
        self._requests += 1
        self.agents.observe(trace, abandoned=trace.error_code == CLIENT_GONE)
        self._redis_trips += trace.redis_trips
        language = self._language(trace.language)
        language.requests += 1
        if trace.processing_ms is not None:
            self._processing.add(trace.processing_ms)
        if trace.error_code == CLIENT_GONE:
            self._abandoned += 1
            return
        if trace.error_code is not None:
            self._errors[_name(self._errors, trace.error_code)] += 1
            language.errors += 1
            return
        cached = trace.cached
        self._characters += trace.characters
        self._audio_bytes += trace.audio_bytes
        if trace.provider:
            self._providers[_name(self._providers, trace.provider)] += 1
        if trace.fallback:
            self._fallbacks += 1
        if cached:
            self._cached += 1
        self._sources[source] += 1
        if trace.quality_score is not None:
            self._quality.add(trace.quality_score)
        first_ms = trace.first_audio_ms
        if first_ms is not None:
            (self._first_audio_cached if cached else self._first_audio_uncached).add(first_ms)
            language.first_audio.add(first_ms)

    def _language(self, name: str) -> _Language:
        name = _name(self._languages, name or "unknown")
        found = self._languages.get(name)
        if found is None:
            found = self._languages[name] = _Language()
        return found

    def _write(self, trace: SpeechTrace, source: str) -> None:
        # What says nothing is left out: the line is written for every request, hits included.
        fields: dict[str, object] = {
            "request_id": trace.request_id,
            "tenant": trace.tenant,
            "agent": trace.agent_id,
            "language": trace.language,
            "format": trace.output_format,
            "source": source,
            "provider": trace.provider,
            "voice": trace.voice,
            "model": trace.model,
            "characters": trace.characters,
            "audio_bytes": trace.audio_bytes,
            "duration_ms": trace.duration_ms,
            "quality_score": trace.quality_score,
            "first_audio_ms": _rounded(trace.first_audio_ms),
            "processing_ms": _rounded(trace.processing_ms),
        }
        if trace.segments:
            fields["segments"] = len(trace.segments)
            fields["redis_trips"] = trace.redis_trips
        if trace.fallback:
            fields["fallback"] = True
        if trace.origin != "live":
            fields["origin"] = trace.origin
        if trace.error_code is not None:
            fields["error"] = trace.error_code
        self._log.info("speech", **fields)


def _source(trace: SpeechTrace) -> str:
    """Where the reply came from: the rendition's tier, or the costliest source of its segments."""
    if trace.rendition_source is not None:
        return trace.rendition_source
    sources = {segment.source for segment in trace.segments}
    for source in ("flight", "joined", "redis", "memory"):
        if source in sources:
            return source
    return "none"


def _name(known: Counter[str] | dict[str, _Language], name: str) -> str:
    name = name[:_LONGEST_NAME]
    return name if name in known or len(known) < _MOST_NAMES else _OTHER


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
