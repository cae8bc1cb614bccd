"""Voices at another pitch and speed: `ENGINE/NAME:CENTS`.

Pitch comes from resampling, so the formants move with it as they do from speaker to speaker; speed
from a change of tempo afterwards. Engines speak at their own speed: some round the length of each
sound to 25 ms, so that at 1.3 they are 1.16 times faster, and at 1.4 1.58 times.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
import soxr

from core.audio.pcm import RATE_HZ, duration_ms
from core.audio.tempo import Tempo
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

    At 0 and 1.0 it is the engine's own audio. Else the passages of a sentence together last exactly
    `1 / speed` of the engine's; where one goes on in the next, its last 0.1 s are in that.
    """
    changer: _Changer | None = None
    for passage in engine.speak(voice, text, speed=1.0, seed=seed):
        if cents == 0 and speed == 1:
            yield passage
            continue
        # One for each sentence: what is said in a passage must not wait for the next sentence.
        changer = changer or _Changer(cents, speed)
        yield changer.change(passage)
        if not passage.goes_on:
            changer = None


class _Changer:
    """Changes the passages of one sentence as one sound: where they meet nothing is heard."""

    def __init__(self, cents: int, speed: float) -> None:
        factor = 2 ** (cents / 1200)
        self._speed = speed
        self._pitch = (
            soxr.ResampleStream(RATE_HZ * factor, RATE_HZ, 1, "float32", "HQ") if cents else None
        )
        self._tempo = None if np.isclose(factor, speed) else Tempo(speed / factor)
        self._taken = 0
        self._given = 0
        self._words: list[WordTiming] = []
        """Of which no sound was given yet, at the sentence's time."""

    def change(self, passage: Passage) -> Passage:
        samples = np.frombuffer(passage.pcm, "<i2").astype(np.float32)
        self._words += [_scaled(word, self._taken, self._speed) for word in passage.words]
        self._taken += len(samples)
        last = not passage.goes_on
        if self._pitch is not None:
            samples = self._pitch.resample_chunk(samples, last=last)
        if self._tempo is not None:
            samples = self._tempo.feed(samples, last=last)
        if last:  # rounding may leave a sample to add or to drop
            audio = np.zeros(max(0, round(self._taken / self._speed) - self._given), np.float32)
            audio[: len(samples)] = samples[: len(audio)]
            samples = audio
        words = self._words_until(self._given + len(samples), last=last)
        self._given += len(samples)
        pcm = np.clip(np.rint(samples), -32_768, 32_767).astype("<i2").tobytes()
        return Passage(pcm, words, goes_on=passage.goes_on)

    def _words_until(self, end: int, *, last: bool) -> tuple[WordTiming, ...]:
        """The words that start before sample `end`, at the time of the passage that ends there.
        The last of them may end in the next passage."""
        base_ms, end_ms = duration_ms(self._given), duration_ms(end)
        if last:
            here, self._words = [_within(word, end_ms) for word in self._words], []
        else:
            count = bisect.bisect_left(self._words, end_ms, key=lambda word: word.start_ms)
            here, self._words = self._words[:count], self._words[count:]
        return tuple(
            msgspec.structs.replace(
                word, start_ms=word.start_ms - base_ms, end_ms=word.end_ms - base_ms
            )
            for word in here
        )


def _scaled(word: WordTiming, samples_before: int, speed: float) -> WordTiming:
    before_ms = duration_ms(samples_before)
    return msgspec.structs.replace(
        word,
        start_ms=round((before_ms + word.start_ms) / speed),
        end_ms=round((before_ms + word.end_ms) / speed),
    )


def _within(word: WordTiming, end_ms: int) -> WordTiming:
    return msgspec.structs.replace(
        word, start_ms=min(word.start_ms, end_ms), end_ms=min(word.end_ms, end_ms)
    )
