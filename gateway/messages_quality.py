"""What callers send and get about the quality of speech."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from core.analytics.quality_advice import Recommendation
from core.analytics.quality_check import Analysis
from core.audio.quality import QualityReport

DEFAULT_THRESHOLD: Final = 0.8


class AnalyzeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text to speak and to judge. Null counts as left out."""

    text: Annotated[str, Meta(description="What to say; at least one letter or digit.")]
    voice_agent_id: Annotated[str, Meta(min_length=1, max_length=128)]
    quality_threshold: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="Below it the other profiles are tried."),
    ] = DEFAULT_THRESHOLD
    language: Annotated[str, Meta(min_length=2, max_length=35)] | None = None

    @property
    def threshold(self) -> float:
        """The score that is good enough."""
        return DEFAULT_THRESHOLD if self.quality_threshold is None else self.quality_threshold


class MeasurementsReply(msgspec.Struct, frozen=True):
    """What the score is the product of, each 0 to 1, and two measures behind it."""

    decodes: float
    level: float
    clipping: float
    silence: float
    dropouts: float
    noise: float
    pace: float
    ending: float
    active_dbfs: Annotated[
        float | None, Meta(description="Level of what is audible; null: nothing is.")
    ]
    longest_pause_ms: int


class RecommendationReply(msgspec.Struct, frozen=True):
    """One thing that cost score, or may have, and what to do about it."""

    factor: str
    measured: float
    advice: str


class AlternativeReply(msgspec.Struct, frozen=True):
    """The same text in another profile."""

    profile: str
    quality_score: float
    provider: str | None
    meets_threshold: bool


class UnmeasuredReply(msgspec.Struct, frozen=True):
    """A profile that could not be measured."""

    profile: str
    code: str
    message: str


class AnalyzeReply(msgspec.Struct, frozen=True):
    """How good the speech of a text is, and what to do about it."""

    status: Literal["success"]
    request_id: str
    text_characters: int
    voice_agent_id: str
    language: str
    profile: str
    provider: str | None
    fallback: Annotated[bool, Meta(description="Another provider than the first was heard.")]
    quality_score: float
    quality_threshold: float
    meets_threshold: bool
    measurements: MeasurementsReply
    duration_ms: int
    first_audio_ms: float | None
    processing_time_ms: float
    recommendations: list[RecommendationReply]
    alternative_profiles: Annotated[
        list[AlternativeReply],
        Meta(description="Best first; empty while the threshold is met."),
    ]
    alternatives_not_measured: Annotated[
        list[UnmeasuredReply], Meta(description="Profiles that could not speak the text in time.")
    ]


def analyze_reply(analysis: Analysis, threshold: float, processing_ms: float) -> AnalyzeReply:
    """An analysis as callers see it."""
    heard = analysis.heard
    return AnalyzeReply(
        status="success",
        request_id=heard.trace.request_id,
        text_characters=heard.plan.characters,
        voice_agent_id=heard.plan.agent_id,
        language=heard.plan.language,
        profile=heard.plan.profile,
        provider=heard.trace.provider,
        fallback=heard.trace.fallback,
        quality_score=heard.report.score,
        quality_threshold=threshold,
        meets_threshold=analysis.meets_threshold,
        measurements=_measurements(heard.report),
        duration_ms=heard.duration_ms,
        first_audio_ms=_rounded(heard.trace.first_audio_ms),
        processing_time_ms=round(processing_ms, 3),
        recommendations=[_recommendation(one) for one in analysis.recommendations],
        alternative_profiles=[
            AlternativeReply(
                one.profile, one.report.score, one.provider, one.report.score >= threshold
            )
            for one in analysis.alternatives
        ],
        alternatives_not_measured=[
            UnmeasuredReply(one.profile, one.error.code, one.error.message)
            for one in analysis.unmeasured
        ],
    )


def _measurements(report: QualityReport) -> MeasurementsReply:
    fields: dict[str, Any] = {}
    for name in MeasurementsReply.__struct_fields__:
        value = getattr(report, name)
        fields[name] = round(value, 4) if isinstance(value, float) else value
    return MeasurementsReply(**fields)


def _recommendation(one: Recommendation) -> RecommendationReply:
    return RecommendationReply(one.factor, one.measured, one.advice)


def _rounded(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 3)
