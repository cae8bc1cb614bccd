"""Voice profiles and voice agents, and what they come down to: a voice, a model and settings.

Agents are read from a snapshot in memory; nothing on the way of a request waits for a store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from core.errors import UnknownAgent, UnsupportedLanguage
from core.speech import VoiceSettings
from core.text.languages import AUTO, LANGUAGES, Language, language_of
from core.voices.registry import LOCAL_VOICES

FAST_MODEL: Final = "eleven_flash_v2_5"
"""Half the price and about 75 ms of inference (vendor's table)."""


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


class AgentSnapshot:
    """The agents of all owners as this process knows them; swapped whole when they change."""

    def __init__(self, agents: tuple[VoiceAgent, ...] = DEFAULT_AGENTS) -> None:
        self._agents = {agent.id: agent for agent in agents}
        self.version = 1
        """Changes with every change of any agent."""

    def get(self, tenant: str, agent_id: str) -> VoiceAgent:
        """The owner's agent with that id.

        Raises:
            UnknownAgent: there is none.
        """
        del tenant  # every owner has the same agents until they can be stored
        agent = self._agents.get(agent_id)
        if agent is None:
            raise UnknownAgent(f"There is no voice agent {agent_id[:80]!r}.")
        return agent


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
