"""Profiles and agents: who speaks a language, and how."""

from __future__ import annotations

import itertools

import pytest

from core.agents import PROFILES, VoiceAgent, languages_of, spoken_by
from core.errors import UnsupportedLanguage
from core.text.languages import LANGUAGES, Language, language_of
from core.voices.registry import LOCAL_VOICES


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_profile_speaks_every_language(profile: str, language: Language) -> None:
    by = spoken_by(VoiceAgent("a", "A", profile), language)
    assert by.elevenlabs_model == "eleven_multilingual_v2"
    assert by.elevenlabs_voice == PROFILES[profile].voices["en"].elevenlabs_voice
    assert by.local_voice.startswith(LOCAL_VOICES[language])
    assert by.local_settings.speed is not None


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_profiles_share_a_local_voice_at_one_pitch_and_speed(language: Language) -> None:
    voices = [profile.voices[language] for profile in PROFILES.values()]
    for one, other in itertools.combinations(voices, 2):
        assert (one.local_voice, one.local_speed) != (other.local_voice, other.local_speed)


def test_an_agents_own_speed_holds_for_the_local_voice_too() -> None:
    by = spoken_by(VoiceAgent("a", "A", "casual_male", speed=0.8), "es")
    assert (by.settings.speed, by.local_settings.speed) == (0.8, 0.8)


@pytest.mark.parametrize(
    ("tag", "language"),
    [("en", "en"), ("es-MX", "es"), ("ZH_hans_CN", "zh"), ("cmn", "zh"), ("eng", None), ("", None)],
)
def test_a_region_or_a_script_does_not_change_the_language(tag: str, language: str | None) -> None:
    assert language_of(tag) == language


def test_a_named_language_is_the_only_one_and_an_unknown_one_is_refused() -> None:
    agent = VoiceAgent("a", "A", "casual_male", language_preferences=("es", "en"))
    assert languages_of(agent, None) == ("es", "en")
    assert languages_of(agent, "Auto") == ("es", "en")
    assert languages_of(agent, "en-GB") == ("en",)
    for unknown in ("zh", "fr", "x" * 500):
        with pytest.raises(UnsupportedLanguage) as refused:
            languages_of(agent, unknown)
        assert "es, en" in refused.value.message
        assert len(refused.value.message) < 200
