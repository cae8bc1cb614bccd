"""What the sessions of the load ask: languages, formats, texts and when, the same for one seed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

Language = Literal["en", "es", "zh"]
LANGUAGES: Final[tuple[tuple[Language, float], ...]] = (("en", 0.7), ("es", 0.2), ("zh", 0.1))
FORMATS: Final = ("ulaw", "mp3")
FRESH_SHARE: Final = 0.3
"""Texts that nobody has asked for before."""
WRITTEN_SHARE: Final = 0.3
"""Texts that arrive as a language model writes them."""
INTERRUPTED_SHARE: Final = 0.05
TOKENS_PER_S: Final = 25.0
TURN_EVERY_S: Final = 5.0

COMMON: Final[dict[Language, tuple[str, ...]]] = {
    "en": (
        "Welcome! How can I help you today?",
        "One moment please, I am looking that up for you.",
        "Would you like to visit the house on Saturday morning?",
        "May I have your name and your telephone number?",
        "Thank you for calling. Have a nice day!",
        "The apartment has two bedrooms and a large balcony.",
        "Yes, it is still available.",
        "I am sorry, could you say that again?",
        "Heating and water are included in the rent.",
        "Our office is open from nine to five.",
        "Shall I send you the address?",
        "The owner can show you the house tomorrow.",
    ),
    "es": (
        "¡Bienvenido! ¿En qué puedo ayudarle hoy?",
        "Un momento, por favor, lo estoy buscando.",
        "¿Le gustaría visitar la casa el sábado?",
        "La vivienda tiene dos dormitorios y un balcón.",
        "Gracias por llamar. ¡Que tenga un buen día!",
        "Sí, todavía está disponible.",
    ),
    "zh": (
        "您好，请问有什么可以帮您？",
        "请稍等，我马上为您查询。",
        "这套房子有两个卧室和一个阳台。",
        "感谢您的来电，祝您愉快。",
    ),
}
"""Each takes less than a turn's time to be said."""

_DIGITS: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "es": ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
    "zh": tuple("零一二三四五六七八九"),
}
_FRESH: Final[dict[Language, str]] = {
    "en": "The house at {} is free now.",
    "es": "La casa {} está libre ahora.",
    "zh": "房子{}号离车站很近。",
}
_FIGURES: Final = 5


class Ask(msgspec.Struct, frozen=True):
    """One turn of one session."""

    due_s: float
    """From the beginning of the load."""
    text: str
    fresh: bool
    written: bool
    interrupt_ms: float | None
    """So long after its first audio it is interrupted."""


class Talk(msgspec.Struct, frozen=True):
    """One session of the load."""

    number: int
    language: Language
    format: str
    asks: tuple[Ask, ...]


def fresh_texts(language: Language, seed: int) -> Iterator[str]:
    """Texts that differ from each other, without an end: the figures count."""
    for number in itertools.count(seed * 1_000):
        figures = f"{number % 10**_FIGURES:0{_FIGURES}d}"
        joint = "" if language == "zh" else " "
        yield _FRESH[language].format(joint.join(_DIGITS[language][int(f)] for f in figures))


def talks(sessions: int, seconds: float, seed: int) -> list[Talk]:
    """The turns of every session. The sessions begin one after the other within one turn's time;
    shares of languages and formats are exact, those of texts as the dice fall."""
    dice = random.Random(seed)
    fresh = {language: fresh_texts(language, seed) for language, _ in LANGUAGES}
    spoken = _spread(sessions, dice)
    made: list[Talk] = []
    for number, language in enumerate(spoken):
        start_s = number * TURN_EVERY_S / sessions
        asks: list[Ask] = []
        for turn in itertools.count():
            due_s = start_s + turn * TURN_EVERY_S
            if due_s >= seconds:
                break
            new = dice.random() < FRESH_SHARE
            asks.append(
                Ask(
                    due_s=due_s,
                    text=next(fresh[language]) if new else dice.choice(COMMON[language]),
                    fresh=new,
                    written=dice.random() < WRITTEN_SHARE,
                    interrupt_ms=(
                        dice.uniform(100, 1500) if dice.random() < INTERRUPTED_SHARE else None
                    ),
                )
            )
        made.append(Talk(number, language, FORMATS[number % len(FORMATS)], tuple(asks)))
    return made


def tokens_of(text: str, language: Language) -> list[str]:
    """The text as pieces that a language model might write: words with the blank before them, in
    Mandarin characters."""
    if language == "zh":
        return list(text)
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


def _spread(sessions: int, dice: random.Random) -> list[Language]:
    found: list[Language] = []
    for language, share in LANGUAGES[1:]:
        found += [language] * round(sessions * share)
    found = [LANGUAGES[0][0]] * (sessions - len(found)) + found
    dice.shuffle(found)
    return found
