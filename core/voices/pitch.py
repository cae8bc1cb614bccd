"""Voices at another pitch and speed: `ENGINE/NAME:CENTS`.

Pitch comes from resampling, so the formants move with it as they do from speaker to speaker; speed
from a change of tempo afterwards. Engines speak at their own speed: some round the length of each
sound to 25 ms, so that at 1.3 they are 1.16 times faster, and at 1.4 1.58 times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
import soxr

from core.audio.pcm import RATE_HZ, duration_ms
from core.audio.tempo import at_tempo
from core.speech import WordTiming
from core.voices.registry import Passage, VoiceEngine

MAX_CENTS: Final = 600
"""Half an octave up or down."""

_VOICE: Final = re.compile(r"([a-z0-9_-]{1,40})/([a-z0-9_-]{1,40})(?::(-?[0-9]{1,4}))?")


def parse_voice(voice: str) -> tuple[str, str, int]:
    """Engine, name and cents of a voice's id; whether there are such is not looked at.

    Raises:
        ValueError: it is not of the form `ENGINE/NAME` or `ENGINE/NAME:CENTS`, or the pitch is not
            within `MAX_CENTS`.
    """
    match = _VOICE.fullmatch(voice)
    if match is None:
        raise ValueError("A voice's id is ENGINE/NAME or ENGINE/NAME:CENTS.")
    engine, name, cents = match.groups(default="0")
    if abs(int(cents)) > MAX_CENTS:
        raise ValueError(f"A voice's pitch is -{MAX_CENTS} to {MAX_CENTS} cents.")
    return engine, name, int(cents)


def speak_at(
    engine: VoiceEngine, voice: str, text: str, *, cents: int, speed: float, seed: int | None
) -> Iterator[Passage]:
    """What `engine.speak` gives, `cents` higher (100 are a semitone) and `speed` times as fast.

    At 0 and 1.0 it is the engine's own audio. A passage lasts exactly `1 / speed` of the engine's.
    """
    for passage in engine.speak(voice, text, speed=1.0, seed=seed):
        yield passage if cents == 0 and speed == 1 else _changed(passage, cents, speed)


def _changed(passage: Passage, cents: int, speed: float) -> Passage:
    factor = 2 ** (cents / 1200)
    samples = np.frombuffer(passage.pcm, "<i2").astype(np.float32)
    count = round(len(samples) / speed)
    if cents:
        samples = soxr.resample(samples, RATE_HZ * factor, RATE_HZ, "HQ")
    if not np.isclose(factor, speed):
        samples = at_tempo(samples, speed / factor)
    audio = np.zeros(count, np.float32)  # rounding may leave a sample to add or to drop
    audio[: len(samples)] = samples[:count]
    pcm = np.clip(np.rint(audio), -32_768, 32_767).astype("<i2").tobytes()
    return Passage(pcm, tuple(_scaled(word, speed, duration_ms(count)) for word in passage.words))


def _scaled(word: WordTiming, speed: float, limit_ms: int) -> WordTiming:
    return msgspec.structs.replace(
        word,
        start_ms=min(round(word.start_ms / speed), limit_ms),
        end_ms=min(round(word.end_ms / speed), limit_ms),
    )
