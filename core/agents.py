"""Voice profiles and voice agents, and what they come down to: a voice, a model and settings.

Agents are read from a snapshot in memory; nothing on the way of a request waits for a store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from core.errors import InvalidRequest, UnknownAgent, UnsupportedLanguage
from core.speech import VoiceSettings
from core.text.languages import AUTO, LANGUAGES, Language, language_of
from core.voices.registry import LOCAL_VOICES

FAST_MODEL: Final = "eleven_flash_v2_5"
"""Half the price and about 75 ms of inference (vendor's table)."""


RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "stability": (0.0, 1.0),
    "similarity_boost": (0.0, 1.0),
    "style": (0.0, 1.0),
    "speed": (0.7, 1.2),
}
"""What the provider takes (vendor's reference)."""

MAX_NAME_CHARS: Final = 120
MAX_AGENTS: Final = 1_000
"""Voice agents of one owner: every process holds all of them."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ProfileVoice(msgspec.Struct, frozen=True):
    """How a profile sounds in one language."""

    elevenlabs_voice: str
    elevenlabs_model: str
    """The model where speed is not asked for."""
    local_voice: str
    """The voice server's id, `ENGINE/NAME` or `ENGINE/NAME:CENTS` (see `core.voices.registry`)."""
    local_speed: float = 1.0
    """How fast the local voice speaks where the agent sets no speed of its own."""


class VoiceProfile(msgspec.Struct, frozen=True):
    """A persona an agent can take."""

    id: str
    title: str
    use: str
    settings: VoiceSettings
    voices: Mapping[Language, ProfileVoice]


class VoiceAgent(msgspec.Struct, frozen=True):
    """A configured agent: a profile, and what it sets differently."""

    id: str
    name: str
    profile: str
    language_preferences: tuple[Language, ...] = LANGUAGES
    """The languages it may speak, the preferred one first."""
    voice_id: str | None = None
    stability: float | None = None
    similarity_boost: float | None = None
    style: float | None = None
    speed: float | None = None


class SpokenBy(msgspec.Struct, frozen=True):
    """What an agent comes down to in one language."""

    profile: str
    language: Language
    elevenlabs_voice: str
    elevenlabs_model: str
    settings: VoiceSettings
    """For the provider."""
    local_voice: str
    local_settings: VoiceSettings


_MULTILINGUAL: Final = "eleven_multilingual_v2"


def _profile(
    id: str,
    title: str,
    use: str,
    voice: str,
    settings: VoiceSettings,
    *,
    cents: int = 0,
    speed: float = 1.0,
) -> VoiceProfile:
    """One row of the table. The provider's voices speak every language with its multilingual
    models; the local voices, one a language, are told apart by pitch (`cents`) and speed."""
    pitch = f":{cents}" if cents else ""
    voices: dict[Language, ProfileVoice] = {
        language: ProfileVoice(voice, _MULTILINGUAL, f"{local}{pitch}", speed)
        for language, local in LOCAL_VOICES.items()
    }
    return VoiceProfile(id, title, use, settings, voices)


PROFILES: Final[Mapping[str, VoiceProfile]] = {
    profile.id: profile
    for profile in (
        _profile(
            "professional_male",
            "Professional Male",
            "Corporate, formal interactions",
            "21m00Tcm4TlvDq8ikWAM",
            VoiceSettings(stability=0.8, similarity_boost=0.75),
            cents=-250,
            speed=0.94,
        ),
        _profile(
            "friendly_female",
            "Friendly Female",
            "Warm, welcoming customer service",
            "AZnzlk1XvdvUeBnXmlld",
            VoiceSettings(stability=0.7, similarity_boost=0.8, style=0.4),
            cents=100,
            speed=1.04,
        ),
        _profile(
            "authoritative_male",
            "Authoritative Male",
            "Expert consultations, serious discussions",
            "EXAVITQu4vr4xnSDxMaL",
            VoiceSettings(stability=0.85, similarity_boost=0.75, style=0.0),
            cents=-400,
            speed=0.93,
        ),
        _profile(
            "casual_male",
            "Casual Male",
            "Informal, conversational interactions",
            "ErXwobaYiN019PkySvjV",
            VoiceSettings(stability=0.6, similarity_boost=0.75, style=0.5),
            cents=-100,
            speed=1.1,
        ),
        _profile(
            "multilingual_female",
            "Multilingual Female",
            "Multi-language support",
            "Xb7hH8MSUJpSbSDYk0k2",
            VoiceSettings(stability=0.7, similarity_boost=0.75),
        ),
    )
}
"""The five profiles of a new installation."""

DEFAULT_AGENTS: Final = (VoiceAgent("agent_123", "Reception", "professional_male"),)
"""Agents that every owner has on a new installation."""


class AgentRecord(msgspec.Struct, frozen=True):
    """An agent as it is stored."""

    agent: VoiceAgent
    revision: int
    """Grows with every change an owner makes to any agent; 0 for a default one never changed."""


class AgentSnapshot:
    """The agents of all owners as this process knows them; an owner's are swapped whole.

    `defaults` are the agents of every owner of whom nothing else is known.
    """

    def __init__(self, defaults: tuple[VoiceAgent, ...] = DEFAULT_AGENTS) -> None:
        self.defaults: Mapping[str, AgentRecord] = {a.id: AgentRecord(a, 0) for a in defaults}
        self.version = 1
        """Changes with every change of any agent."""
        self._owners: dict[str, Mapping[str, AgentRecord]] = {}

    def get(self, tenant: str, agent_id: str) -> VoiceAgent:
        """The owner's agent with that id.

        Raises:
            UnknownAgent: there is none.
        """
        return self.record(tenant, agent_id).agent

    def record(self, tenant: str, agent_id: str) -> AgentRecord:
        """The same with its revision.

        Raises:
            UnknownAgent: there is none.
        """
        found = self.of(tenant).get(agent_id)
        if found is None:
            raise UnknownAgent(f"There is no voice agent {agent_id[:80]!r}.")
        return found

    def of(self, tenant: str) -> Mapping[str, AgentRecord]:
        """All agents of an owner by id."""
        return self._owners.get(tenant, self.defaults)

    @property
    def owners(self) -> frozenset[str]:
        """Owners whose agents are not just the defaults."""
        return frozenset(self._owners)

    def replace(self, tenant: str, agents: Mapping[str, AgentRecord] | None) -> None:
        """Take over an owner's agents; None gives back the defaults."""
        if agents is None:
            self._owners.pop(tenant, None)
        else:
            self._owners[tenant] = agents
        self.version += 1


def is_agent_id(text: str) -> bool:
    """Whether an agent could have that id."""
    return _ID.fullmatch(text) is not None


def check_agent(agent: VoiceAgent) -> None:
    """Refuse an agent that could not be spoken with, or not be told apart.

    Raises:
        InvalidRequest: a field is out of range; the message names it as callers write it.
    """
    if not _ID.fullmatch(agent.id):
        raise InvalidRequest("`id` is 1 to 64 letters, digits, `_` or `-`.")
    if not (1 <= len(agent.name) <= MAX_NAME_CHARS and agent.name.isprintable()):
        raise InvalidRequest(f"`name` is 1 to {MAX_NAME_CHARS} printable characters.")
    if agent.profile not in PROFILES:
        raise InvalidRequest(f"`profile` is one of: {', '.join(PROFILES)}.")
    if agent.voice_id is not None and not _ID.fullmatch(agent.voice_id):
        raise InvalidRequest("`voice_id` is 1 to 64 letters, digits, `_` or `-`.")
    for field, (low, high) in RANGES.items():
        value = getattr(agent, field)
        if value is not None and not low <= value <= high:
            raise InvalidRequest(f"`{field}` lies between {low:g} and {high:g}.")
    languages = agent.language_preferences
    if not languages or len(set(languages)) != len(languages) or set(languages) - set(LANGUAGES):
        listed = ", ".join(LANGUAGES)
        raise InvalidRequest(f"`language_preferences` are one or more of: {listed}; each once.")


def in_profile(agent: VoiceAgent, profile: str) -> VoiceAgent:
    """The same agent as it would be in that profile, with no settings of its own."""
    return VoiceAgent(agent.id, agent.name, profile, agent.language_preferences)


def languages_of(agent: VoiceAgent, asked: str | None) -> tuple[Language, ...]:
    """The languages a request may be spoken in, the likeliest first: one where the caller names it
    or the agent speaks no other; `None` and `auto` leave it to the text.

    Raises:
        UnsupportedLanguage: it is none of ours, or none of the agent's.
    """
    own = agent.language_preferences
    if asked is None or asked.lower() == AUTO:
        return own
    language = language_of(asked)
    if language is None:
        raise UnsupportedLanguage(
            f"Language {asked[:20]!r} is not spoken here; use one of: {', '.join(own)}, {AUTO}."
        )
    if language not in own:
        raise UnsupportedLanguage(
            f"The agent does not speak {language!r}; it speaks: {', '.join(own)}."
        )
    return (language,)


def spoken_by(agent: VoiceAgent, language: Language) -> SpokenBy:
    """Resolve an agent in a language."""
    profile = PROFILES[agent.profile]
    voice = profile.voices[language]
    base = profile.settings
    return SpokenBy(
        profile=profile.id,
        language=language,
        elevenlabs_voice=agent.voice_id or voice.elevenlabs_voice,
        elevenlabs_model=voice.elevenlabs_model,
        settings=VoiceSettings(
            stability=base.stability if agent.stability is None else agent.stability,
            similarity_boost=(
                base.similarity_boost if agent.similarity_boost is None else agent.similarity_boost
            ),
            style=base.style if agent.style is None else agent.style,
            use_speaker_boost=base.use_speaker_boost,
            speed=base.speed if agent.speed is None else agent.speed,
        ),
        local_voice=voice.local_voice,
        local_settings=VoiceSettings(speed=agent.speed or voice.local_speed),
    )
