"""The offline voices, and what a voice engine is.

A new engine is one file that has an engine class, and one line in `ENGINES`. Engines are imported
only inside the children: the server itself loads no model and no numpy.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Final, Literal, Protocol

import msgspec

from core.speech import WordTiming
from core.text.languages import Language

Lane = Literal["quick", "slow"]
"""Which children of the voice server speak with an engine: a slow one must not hold up others."""


class Engine(msgspec.Struct, frozen=True):
    """One line of the table of engines."""

    target: str
    """`module:class`; the class is called with `EngineOptions`."""
    version: str
    """Of its package, and of our own way of using it. Part of the voice key: it changes with
    anything that gives the same text another sound."""
    lane: Lane
    greeting: str
    """Spoken once after loading, so that the next is fast."""
    usual_lufs: float | None = None
    """Loudness of its sentences, where it gives them in several passages."""


class EngineOptions(msgspec.Struct, frozen=True):
    """What engines are told about the installation."""

    data_dir: str
    """Where large models may be kept."""
    kokoro_model: str = ""
    """Path of the Kokoro model; empty: put together from its packages and kept in `data_dir`."""


ENGINES: Final[dict[str, Engine]] = {
    "hibari": Engine("core.voices.hibari:Hibari", "0.2.1-2", "quick", "One, two."),
    "pico": Engine("core.voices.pico:Pico", "0.1.1-1", "quick", "Uno, dos."),
    "kokoro": Engine("core.voices.kokoro:Kokoro", "1.0-int8-2", "slow", "您好。", usual_lufs=-20.4),
}
"""By name, which is the first part of a voice's id: `ENGINE/NAME`, or `ENGINE/NAME:CENTS` for the
same voice at another pitch (100 cents are a semitone)."""

LOCAL_VOICES: Final[dict[Language, str]] = {
    "en": "hibari/heart",
    "es": "pico/es",
    "zh": "kokoro/zf_xiaobei",
}
"""The voice of each language; always the same, live and in the background."""


def engine_version(voice: str) -> str:
    """The version of the engine that a voice's id names, with the engine's own name."""
    engine = voice.partition("/")[0]
    return f"{engine}-{ENGINES[engine].version}"


def lane_of(voice: str) -> Lane:
    """The lane of the engine that a voice's id names; an unknown engine is quick to refuse."""
    engine = ENGINES.get(voice.partition("/")[0])
    return "quick" if engine is None else engine.lane


class Passage(msgspec.Struct, frozen=True):
    """The audio of one stretch of a text: a sentence, or a part of a long one."""

    pcm: bytes
    """Canonical audio, see `core.audio.pcm`."""
    words: tuple[WordTiming, ...]
    """Times from the first sample of this passage; characters count in the whole text."""
    goes_on: bool = False
    """Whether it ends within a sentence: the next passage goes on without a pause."""


class VoiceEngine(Protocol):
    """A loaded engine. One thread uses it at a time."""

    voices: frozenset[str]
    """Names of its voices, the second part of a voice's id."""

    def speak(self, voice: str, text: str, *, speed: float, seed: int | None) -> Iterator[Passage]:
        """Speak any text at all, passage by passage, each as soon as it is computed.

        Every word of the text (`core.text.words`) is in exactly one passage, in order. Without a
        seed one follows from the text: the same words give the same audio. A text in which nothing
        can be spoken gives no passage. Text is never a command, whatever it holds.
        """
        ...


def load_engine(name: str, options: EngineOptions) -> VoiceEngine:
    """Import the engine of that name, load its models and speak once."""
    module, _, attribute = ENGINES[name].target.partition(":")
    engine: VoiceEngine = getattr(importlib.import_module(module), attribute)(options)
    for _ in engine.speak(min(engine.voices), ENGINES[name].greeting, speed=1.0, seed=0):
        pass
    return engine
