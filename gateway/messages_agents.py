"""What callers send and get about voice agents, profiles, languages and phrases."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from core.agents import PROFILES, AgentRecord, VoiceAgent
from core.phrases import MAX_PHRASE_CHARS, MAX_PHRASES, PhraseSet
from core.text.languages import LANGUAGES, Language

DEFAULT_PROFILE: Final = "professional_male"

_Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern="^[A-Za-z0-9_-]+$",
        description="Letters, digits, `_` and `-`.",
    ),
]
_Profile = Annotated[
    str,
    Meta(
        max_length=64,
        description="The persona; the settings below stand over its own.",
        extra_json_schema={"enum": list(PROFILES)},
    ),
]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Speed = Annotated[float, Meta(ge=0.7, le=1.2)]
_Name = Annotated[str, Meta(min_length=1, max_length=120, description="For people.")]
_Languages = Annotated[
    tuple[Language, ...],
    Meta(min_length=1, max_length=3, description="What it may speak, the preferred one first."),
]


class AgentVoiceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an agent is to speak. Null counts as left out."""

    profile: _Profile | None = DEFAULT_PROFILE
    voice_id: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                pattern="^[A-Za-z0-9_-]+$",
                description="The provider's voice, instead of the profile's.",
            ),
        ]
        | None
    ) = None
    stability: _Share | None = None
    similarity_boost: _Share | None = None
    style: _Share | None = None
    speed: _Speed | None = None
    language_preferences: _Languages | None = LANGUAGES


class AgentVoice(AgentVoiceBody, frozen=True):
    """How an agent speaks. What is null is the profile's."""

    profile: _Profile = DEFAULT_PROFILE
    language_preferences: _Languages = LANGUAGES


class AgentBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent to make, or what an agent is to be from now on. Null counts as left out."""

    name: _Name
    voice_settings: AgentVoiceBody | None = None
    id: _Id | None = None
    revision: (
        Annotated[int, Meta(ge=0, description="With PUT a condition, as `If-Match` is.")] | None
    ) = None


class AgentVoiceChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings to change; what is left out stays. Null is not left out here: it gives a setting
    back to the profile, and is refused for what the profile does not have."""

    profile: _Profile | UnsetType = UNSET
    voice_id: _Id | UnsetType | None = UNSET
    stability: _Share | UnsetType | None = UNSET
    similarity_boost: _Share | UnsetType | None = UNSET
    style: _Share | UnsetType | None = UNSET
    speed: _Speed | UnsetType | None = UNSET
    language_preferences: _Languages | UnsetType = UNSET


class AgentChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of an agent."""

    name: _Name | UnsetType = UNSET
    voice_settings: AgentVoiceChange = msgspec.field(default_factory=AgentVoiceChange)


class AgentReply(msgspec.Struct, frozen=True):
    """A voice agent."""

    id: str
    name: str
    revision: Annotated[int, Meta(description="Grows with every change; also the ETag.")]
    voice_settings: AgentVoice


class AgentList(msgspec.Struct, frozen=True):
    """All voice agents of the caller, by id."""

    agents: list[AgentReply]
    total: int


class PhrasesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent's own phrases in one language; none at all: the shipped ones again."""

    phrases: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=MAX_PHRASE_CHARS)], ...],
        Meta(max_length=MAX_PHRASES),
    ]


class PhrasesReply(msgspec.Struct, frozen=True):
    """What an agent says often: it is spoken ahead by pregeneration."""

    voice_agent_id: str
    language: Language
    own: Annotated[bool, Meta(description="False: these are the shipped ones.")]
    revision: Annotated[int, Meta(description="0 for the shipped ones; also the ETag.")]
    phrases: tuple[str, ...]


class ProfileVoiceReply(msgspec.Struct, frozen=True):
    """How a profile sounds in one language."""

    voice_id: Annotated[str, Meta(description="The provider's voice.")]
    model: Annotated[str, Meta(description="Its model with `optimize_for_speed` false.")]
    fast_model: Annotated[str, Meta(description="Its model with `optimize_for_speed` true.")]
    local_voice: str
    local_pitch_cents: Annotated[int, Meta(description="Over its recording; 100 are a semitone.")]
    local_speed: float
    differs_offline: Annotated[
        bool, Meta(description="Whether the local voice tells it from every other profile.")
    ]


class ProfileReply(msgspec.Struct, frozen=True):
    """A persona that an agent can take."""

    id: str
    title: str
    use: str
    settings: dict[str, float | bool]
    voices: dict[str, ProfileVoiceReply]


class ProfileList(msgspec.Struct, frozen=True):
    """The personas of this installation."""

    profiles: list[ProfileReply]


class LanguageReply(msgspec.Struct, frozen=True):
    """A language that can be asked for."""

    code: str
    name: str
    local_voice: Annotated[str | None, Meta(description="Null for `auto`.")]
    spoken_offline: Annotated[
        bool | None,
        Meta(description="Whether the local voice is ready now; null: the server did not answer."),
    ]


class LanguageList(msgspec.Struct, frozen=True):
    """The languages; `auto` lets the text decide among those of the agent."""

    languages: list[LanguageReply]


def agent_of(body: AgentBody, agent_id: str) -> VoiceAgent:
    """The agent that a body describes."""
    fields = msgspec.structs.asdict(body.voice_settings or AgentVoiceBody())
    given = {name: value for name, value in fields.items() if value is not None}
    return VoiceAgent(id=agent_id, name=body.name, **{"profile": DEFAULT_PROFILE, **given})


def changed(agent: VoiceAgent, change: AgentChange) -> VoiceAgent:
    """The agent with the changes applied."""
    fields = msgspec.structs.asdict(change.voice_settings)
    fields["name"] = change.name
    given = {name: value for name, value in fields.items() if value is not UNSET}
    return msgspec.structs.replace(agent, **given)


def agent_reply(record: AgentRecord) -> AgentReply:
    """An agent as callers see it."""
    agent = record.agent
    voice = msgspec.convert(
        {name: getattr(agent, name) for name in AgentVoice.__struct_fields__}, AgentVoice
    )
    return AgentReply(agent.id, agent.name, record.revision, voice)


def phrases_reply(agent_id: str, found: PhraseSet) -> PhrasesReply:
    """Phrases as callers see them."""
    return PhrasesReply(agent_id, found.language, found.own, found.revision, found.phrases)
