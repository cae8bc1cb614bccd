"""The three kinds of audio: real words, ready-made clips, word-coded bursts."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final, Literal

import numpy as np

from benchmarks import wordcode
from benchmarks.emulator import hibari_voice
from benchmarks.emulator.formats import FORMATS, SOURCE_HZ, WireFormat, encode
from benchmarks.emulator.speech import (
    Encoded,
    Speaker,
    Spoken,
    Wish,
    even_times,
    seconds,
    times_of_words,
)
from core.speech import WordTiming
from core.text.words import spoken_length

AudioKind = Literal["words", "clips", "coded"]

_CHARS_PER_S: Final = 15.8
_RATIO: Final = 1.12
"""Neighbouring clips differ by this in length, so a clip is within 6 % of its text's length."""
_SHORTEST_CHARS: Final = 6
_WARM_CHARS: Final = 400
_FADE_MS: Final = 60
_TAIL_MS: Final = 240

PASSAGE: Final = (
    "Good morning, and thank you for calling about the house on Maple Street. "
    "It has three bedrooms, two bathrooms and a large kitchen that opens to the garden. "
    "The owners painted every room last spring, and the roof is only four years old. "
    "There is a school within walking distance, and the train to the city takes twenty minutes. "
    "If you would like to see it, I can offer you a viewing on Tuesday or on Thursday afternoon. "
    "Please bring some identification, and allow about half an hour for the visit. "
    "Parking is free in front of the building, and the agent will wait for you at the door. "
    "Would that suit you, or shall we look for another day together?"
)


class HibariPool:
    """Child processes that speak with hibari."""

    def __init__(self, processes: int) -> None:
        self._pool = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=hibari_voice.prepare,
            initargs=(os.getpid(),),
        )

    async def speak(self, text: str, speed: float, seed: int) -> tuple[bytes, list[WordTiming]]:
        """Speak in a child; concurrent calls share the children."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, hibari_voice.speak, text, speed, seed)

    def close(self) -> None:
        """End the children."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class WordsSpeaker:
    """Every text is really spoken."""

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._pool: HibariPool | None = None

    async def start(self) -> None:
        """Load the voice."""
        self._pool = HibariPool(self._processes)
        await self._pool.speak("Ready.", 1.0, 0)

    async def speak(self, wish: Wish) -> Spoken:
        """Costs about 20 ms of a child for ten words."""
        assert self._pool is not None
        pcm, words = await self._pool.speak(wish.text, wish.speed, wish.seed)
        return await _from_words(wish, pcm, words)

    async def aclose(self) -> None:
        """End the children."""
        if self._pool is not None:
            self._pool.close()


class CodedSpeaker:
    """Every word is a tone burst (`benchmarks.wordcode`); `speed` is not heard."""

    async def start(self) -> None:
        """Nothing to load."""

    async def speak(self, wish: Wish) -> Spoken:
        """Costs about 0.1 ms per second of audio, and the encoding in a thread."""
        pcm, words = wordcode.encode(wish.text, SOURCE_HZ)
        return await _from_words(wish, pcm, words)

    async def aclose(self) -> None:
        """Nothing to release."""


class ClipSpeaker:
    """A bank of clips of one passage, chosen by the text's length; pieces are made once and shared.

    Those of `warm` formats up to 400 characters are made at the start, others when first asked.
    """

    def __init__(self, warm: Sequence[str] = ("pcm_24000",)) -> None:
        self._warm = warm
        self._passage: bytes = b""
        self._words: list[WordTiming] = []
        self._clips: dict[tuple[int, str], asyncio.Future[Encoded]] = {}

    async def start(self) -> None:
        """Speak the passage and cut the bank."""
        pool = HibariPool(1)
        try:
            self._passage, self._words = await pool.speak(PASSAGE, 1.0, 1)
        finally:
            pool.close()
        for name in self._warm:
            for size in range(self._size_of(_WARM_CHARS, 1.0) + 1):
                await self._clip(size, FORMATS[name])

    async def speak(self, wish: Wish) -> Spoken:
        """Costs next to nothing once a clip is made."""
        audio = await self._clip(self._size_of(spoken_length(wish.text), wish.speed), wish.wire)
        lead_s = min(self._words[0].start_ms / 1000, audio.duration_s / 4)
        return Spoken(audio, even_times(wish.text, lead_s, audio.duration_s - _TAIL_MS / 2000))

    async def aclose(self) -> None:
        """Nothing to release."""

    def _size_of(self, chars: float, speed: float) -> int:
        return max(0, round(math.log(max(1.0, chars / speed) / _SHORTEST_CHARS, _RATIO)))

    async def _clip(self, size: int, wire: WireFormat) -> Encoded:
        key = (size, wire.name)
        made = self._clips.get(key)
        if made is None:
            made = asyncio.ensure_future(asyncio.to_thread(self._make, size, wire))
            self._clips[key] = made
        return await asyncio.shield(made)

    def _make(self, size: int, wire: WireFormat) -> Encoded:
        pcm = self._cut(_SHORTEST_CHARS * _RATIO**size / _CHARS_PER_S)
        made = Encoded(encode(pcm, wire), seconds(pcm), wire)
        _ = made.base64
        return made

    def _cut(self, wanted_s: float) -> bytes:
        """The passage up to the word end nearest to that length, repeated if it is too short."""
        whole = np.frombuffer(self._passage, "<i2")
        rounds, rest_ms = divmod(wanted_s * 1000, whole.size * 1000 / SOURCE_HZ)
        ends = [word.end_ms for word in self._words]
        end_ms = min(ends, key=lambda end: abs(end + _TAIL_MS - rest_ms))
        part = whole[: end_ms * SOURCE_HZ // 1000].astype(np.float32)
        fade = min(part.size, _FADE_MS * SOURCE_HZ // 1000)
        part[part.size - fade :] *= np.linspace(1, 0, fade)
        tail = np.zeros(_TAIL_MS * SOURCE_HZ // 1000, "<i2")
        return np.concatenate([*[whole] * int(rounds), part.astype("<i2"), tail]).tobytes()


async def _from_words(wish: Wish, pcm: bytes, words: Sequence[WordTiming]) -> Spoken:
    if wish.wire.name == f"pcm_{SOURCE_HZ}":
        body = pcm
    else:
        body = await asyncio.to_thread(encode, pcm, wish.wire)
    duration_s = seconds(pcm)
    times = times_of_words(wish.text, words, duration_s)
    return Spoken(Encoded(body, duration_s, wish.wire), times)


def open_speaker(kind: AudioKind) -> Speaker:
    """A speaker of that kind, not started."""
    match kind:
        case "words":
            return WordsSpeaker()
        case "clips":
            return ClipSpeaker()
        case "coded":
            return CodedSpeaker()
