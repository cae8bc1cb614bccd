"""The offline voices, and what a voice engine is.

A new engine is one file that has an engine class, and one line in `ENGINES`. Engines are imported
only inside the children: the server itself loads no model and no numpy.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from core.speech import WordTiming

ENGINES: Final[dict[str, str]] = {"hibari": "core.voices.hibari:Hibari"}
"""Name of an engine, the first part of a voice's id, to `module:class`."""

VERSIONS: Final[dict[str, str]] = {"hibari": "0.2.1-1"}
"""Of each engine: its package, and our own way of using it. Part of the voice key: it changes with
anything that gives the same text another sound."""


def engine_version(voice: str) -> str:
    """The version of the engine that a voice's id names, with the engine's own name."""
    engine = voice.partition("/")[0]
    return f"{engine}-{VERSIONS[engine]}"


class Passage(msgspec.Struct, frozen=True):
    """The audio of one stretch of a text: a sentence, or a part of a long one."""

    pcm: bytes
    """Canonical audio, see `core.audio.pcm`."""
    words: tuple[WordTiming, ...]
    """Times from the first sample of this passage; characters count in the whole text."""


class VoiceEngine(Protocol):
    """A loaded engine. One thread uses it at a time."""

    voices: frozenset[str]
    """Names of its voices, the second part of a voice's id."""

    def speak(self, voice: str, text: str, *, speed: float, seed: int | None) -> Iterator[Passage]:
        """Speak any text at all, passage by passage, each as soon as it is computed.

        Every blank-separated word of the text is in exactly one passage, in order. Without a seed
        one follows from the text: the same words give the same audio. A text in which nothing can
        be spoken gives no passage. Text is never a command, whatever it holds.
        """
        ...


def load_engine(name: str) -> VoiceEngine:
    """Import the engine of that name, load its models and speak once, so that the next is fast."""
    module, _, attribute = ENGINES[name].partition(":")
    engine: VoiceEngine = getattr(importlib.import_module(module), attribute)()
    for _ in engine.speak(min(engine.voices), "One, two.", speed=1.0, seed=0):
        pass
    return engine
