"""Voice profiles and voice agents, and what they come down to: a voice, a model and settings.

Agents are read from a snapshot in memory; nothing on the way of a request waits for a store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from core.errors import UnknownAgent, UnsupportedLanguage
from core.speech import VoiceSettings

FAST_MODEL: Final = "eleven_flash_v2_5"
"""Half the price and about 75 ms of inference (vendor's table)."""

LANGUAGES: Final = ("en",)
"""Languages that every profile speaks, online and offline."""


class ProfileVoice(msgspec.Struct, frozen=True):
    """How a profile sounds in one language."""

    elevenlabs_voice: str
    elevenlabs_model: str
    """The model where speed is not asked for."""
    local_voice: str


class VoiceProfile(msgspec.Struct, frozen=True):
    """A persona an agent can take."""

    id: str
    title: str
    use: str
    settings: VoiceSettings
    voices: Mapping[str, ProfileVoice]
    """By language."""


class VoiceAgent(msgspec.Struct, frozen=True):
    """A configured agent: a profile, and what it sets differently."""

    id: str
    name: str
    profile: str
    language_preferences: tuple[str, ...] = ("en",)
    voice_id: str | None = None
    stability: float | None = None
    similarity_boost: float | None = None
    style: float | None = None
    speed: float | None = None


class SpokenBy(msgspec.Struct, frozen=True):
    """What an agent comes down to in one language."""

    profile: str
    language: str
    elevenlabs_voice: str
    elevenlabs_model: str
    local_voice: str
    settings: VoiceSettings


_LOCAL_ENGLISH: Final = "hibari/heart"
_MULTILINGUAL: Final = "eleven_multilingual_v2"


def _profile(id: str, title: str, use: str, voice: str, settings: VoiceSettings) -> VoiceProfile:
    english = ProfileVoice(voice, _MULTILINGUAL, _LOCAL_ENGLISH)
    return VoiceProfile(id, title, use, settings, {"en": english})


PROFILES: Final[Mapping[str, VoiceProfile]] = {
    profile.id: profile
    for profile in (
        _profile(
            "professional_male",
            "Professional Male",
            "Corporate, formal interactions",
            "21m00Tcm4TlvDq8ikWAM",
            VoiceSettings(stability=0.8, similarity_boost=0.75),
        ),
        _profile(
            "friendly_female",
            "Friendly Female",
            "Warm, welcoming customer service",
            "AZnzlk1XvdvUeBnXmlld",
            VoiceSettings(stability=0.7, similarity_boost=0.8, style=0.4),
        ),
        _profile(
            "authoritative_male",
            "Authoritative Male",
            "Expert consultations, serious discussions",
            "EXAVITQu4vr4xnSDxMaL",
            VoiceSettings(stability=0.85, similarity_boost=0.75, style=0.0),
        ),
        _profile(
            "casual_male",
            "Casual Male",
            "Informal, conversational interactions",
            "ErXwobaYiN019PkySvjV",
            VoiceSettings(stability=0.6, similarity_boost=0.75, style=0.5),
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


def spoken_by(agent: VoiceAgent, language: str | None) -> SpokenBy:
    """Resolve an agent in a language (its own first one where the caller names none).

    Raises:
        UnsupportedLanguage: the agent's profile has no voice for it.
    """
    profile = PROFILES[agent.profile]
    wanted = language or agent.language_preferences[0]
    voice = profile.voices.get(wanted)
    if voice is None:
        known = ", ".join(sorted(profile.voices))
        raise UnsupportedLanguage(
            f"Language {wanted[:20]!r} is not spoken here; use one of: {known}."
        )
    base = profile.settings
    return SpokenBy(
        profile=profile.id,
        language=wanted,
        elevenlabs_voice=agent.voice_id or voice.elevenlabs_voice,
        elevenlabs_model=voice.elevenlabs_model,
        local_voice=voice.local_voice,
        settings=VoiceSettings(
            stability=base.stability if agent.stability is None else agent.stability,
            similarity_boost=(
                base.similarity_boost if agent.similarity_boost is None else agent.similarity_boost
            ),
            style=base.style if agent.style is None else agent.style,
            use_speaker_boost=base.use_speaker_boost,
            speed=base.speed if agent.speed is None else agent.speed,
        ),
    )
