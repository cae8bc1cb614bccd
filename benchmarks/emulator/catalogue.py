"""What an account has: voices, models, plans. Figures are those of the vendor's pages (2026-09)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Family = Literal["flash", "turbo", "multilingual"]
"""How a model is timed and which of a plan's two limits it falls under (flash and turbo: one)."""


class Plan(msgspec.Struct, frozen=True):
    """A subscription: its credits of a period and how many requests may run at once."""

    credits: int
    multilingual: int
    flash: int
    rank: int

    def limit(self, family: Family) -> int:
        """Requests at once for models of that family."""
        return self.multilingual if family == "multilingual" else self.flash


PLANS: Final[dict[str, Plan]] = {
    "free": Plan(10_000, 2, 4, 0),
    "starter": Plan(30_000, 3, 6, 1),
    "creator": Plan(121_000, 5, 10, 2),
    "pro": Plan(600_000, 10, 20, 3),
    "scale": Plan(1_800_000, 15, 30, 4),
    "business": Plan(6_000_000, 15, 30, 5),
    "enterprise": Plan(50_000_000, 50, 100, 6),
}
"""Enterprise is "elevated" in the vendor's table; the numbers here are an assumption."""


class Model(msgspec.Struct, frozen=True):
    """One speech model."""

    model_id: str
    name: str
    family: Family
    credits_per_char: float
    max_chars: int
    languages: tuple[str, ...]
    speaks: bool = True
    """False: the text-to-speech endpoints refuse it (dialogue and speech-to-speech models)."""
    has_style: bool = False
    takes_context: bool = True
    """Whether `previous_text` and `next_text` are supported."""

    def public(self) -> dict[str, Any]:
        """As `GET /v1/models` lists it."""
        return {
            "model_id": self.model_id,
            "name": self.name,
            "can_be_finetuned": self.family == "multilingual",
            "can_do_text_to_speech": self.speaks,
            "can_do_voice_conversion": "sts" in self.model_id,
            "can_use_style": self.has_style,
            "can_use_speaker_boost": self.has_style,
            "serves_pro_voices": False,
            "token_cost_factor": self.credits_per_char,
            "description": f"{self.name} speech model.",
            "requires_alpha_access": False,
            "max_characters_request_free_user": min(2_500, self.max_chars),
            "max_characters_request_subscribed_user": self.max_chars,
            "maximum_text_length_per_request": self.max_chars,
            "languages": [{"language_id": code, "name": code} for code in self.languages],
            "model_rates": {
                "character_cost_multiplier": self.credits_per_char,
                "cost_discount_multiplier": 1.0,
            },
            "concurrency_group": "standard" if self.family == "multilingual" else "turbo",
        }


_MANY: Final = ("en", "es", "zh", "de", "fr", "it", "pt", "ja", "ko", "hi", "ar", "pl", "nl")
_MODELS: Final = (
    Model(
        "eleven_multilingual_v2", "Multilingual v2", "multilingual", 1, 10_000, _MANY, True, True
    ),
    Model("eleven_flash_v2_5", "Flash v2.5", "flash", 0.5, 40_000, _MANY),
    Model("eleven_flash_v2", "Flash v2", "flash", 0.5, 30_000, ("en",)),
    Model("eleven_turbo_v2_5", "Turbo v2.5", "turbo", 0.5, 40_000, _MANY),
    Model("eleven_turbo_v2", "Turbo v2", "turbo", 0.5, 30_000, ("en",)),
    Model("eleven_v3", "v3", "multilingual", 1, 5_000, _MANY, True, True, takes_context=False),
    Model("eleven_v4", "v4", "multilingual", 1, 10_000, _MANY, True, True),
    Model("eleven_multilingual_v1", "Multilingual v1", "multilingual", 1, 10_000, _MANY),
    Model("eleven_monolingual_v1", "English v1", "multilingual", 1, 10_000, ("en",)),
    Model("eleven_v3_conversational", "v3 Conversational", "flash", 0.5, 5_000, _MANY, False),
    Model("eleven_v4_turbo", "v4 Turbo", "flash", 0.5, 10_000, _MANY, False),
    Model(
        "eleven_multilingual_sts_v2", "Multilingual STS", "multilingual", 1, 10_000, _MANY, False
    ),
)
MODELS: Final = {model.model_id: model for model in _MODELS}
DEFAULT_MODEL: Final = "eleven_multilingual_v2"


class Voice(msgspec.Struct, frozen=True):
    """One premade voice."""

    voice_id: str
    name: str
    gender: str
    description: str
    category: str = "premade"

    def public(self) -> dict[str, Any]:
        """As the voices endpoints show it."""
        return {
            "voice_id": self.voice_id,
            "name": self.name,
            "samples": None,
            "category": self.category,
            "fine_tuning": {"is_allowed_to_fine_tune": False, "state": {}},
            "labels": {"gender": self.gender, "accent": "american", "language": "en"},
            "description": self.description,
            "preview_url": None,
            "available_for_tiers": [],
            "settings": {
                "stability": 0.5,
                "similarity_boost": 0.75,
                "style": 0.0,
                "use_speaker_boost": True,
                "speed": 1.0,
            },
            "sharing": None,
            "high_quality_base_model_ids": ["eleven_multilingual_v2", "eleven_flash_v2_5"],
            "verified_languages": [],
            "is_owner": False,
            "is_legacy": False,
            "created_at_unix": 1_690_000_000,
        }


_VOICES: Final = (
    Voice("21m00Tcm4TlvDq8ikWAM", "Rachel", "female", "Matter-of-fact, personable."),
    Voice("AZnzlk1XvdvUeBnXmlld", "Domi", "female", "Strong."),
    Voice("EXAVITQu4vr4xnSDxMaL", "Bella", "female", "Soft."),
    Voice("ErXwobaYiN019PkySvjV", "Antoni", "male", "Well-rounded."),
    Voice("Xb7hH8MSUJpSbSDYk0k2", "Alice", "female", "Clear and engaging, British."),
)
VOICES: Final = {voice.voice_id: voice for voice in _VOICES}
