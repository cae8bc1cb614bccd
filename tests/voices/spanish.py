"""What tests of the Spanish voice share: sentences, where their words really are, checks."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.audio.pcm import RATE_HZ, SAMPLE_BYTES
from core.text.words import words_of
from core.voices.pico import Pico
from core.voices.pico_native import PicoEngine
from core.voices.registry import Passage
from tests.sentences import SPANISH

SENTENCES: Final = SPANISH
FILES: Final = ("es-ES_ta.bin", "es-ES_zl0_sg.bin")

FRAME_MS: Final = 4
_FRAME: Final = 16 * FRAME_MS
_LOUD: Final = 40
_SOFT: Final = 10


def true_ends_ms(engine: PicoEngine, text: str) -> tuple[list[int], int]:
    """Where each word of a sentence ends in Pico's own audio, and how long that is.

    Pico speaks it twice, once with every second word softer: the words are where the two
    differ. Exact to a frame, save in the silence between two words.
    """
    words = text.replace("¿", "").split()
    even = _raw(engine, words, (_LOUD, _LOUD))
    mixed = _raw(engine, words, (_LOUD, _SOFT))
    assert len(even) == len(mixed)
    level, other = _levels(even), _levels(mixed)
    ratio = np.where(level > 100, other / np.maximum(level, 1), np.nan)
    cost = np.nan_to_num(np.stack([np.abs(ratio - 1), np.abs(ratio - _SOFT / _LOUD)]))
    frames = len(level)
    # The cheapest way to give every frame to a word, in order.
    totals = np.concatenate([np.zeros((2, 1)), np.cumsum(np.minimum(cost, 1), axis=1)], axis=1)
    best = np.full(frames + 1, np.inf)
    best[0] = 0
    came_from = []
    for index in range(len(words)):
        before = best - totals[index % 2]
        least = np.minimum.accumulate(before)
        came_from.append(np.maximum.accumulate(np.where(before <= least, np.arange(frames + 1), 0)))
        best = least + totals[index % 2]
    ends = [frames]
    for sources in reversed(came_from):
        ends.append(int(sources[ends[-1]]))
    return [end * FRAME_MS for end in reversed(ends[:-1])], len(even) * 1000 // 16_000


def _raw(engine: PicoEngine, words: list[str], levels: tuple[int, int]) -> npt.NDArray[np.int16]:
    text = " ".join(f'<volume level="{levels[i % 2]}">{word}' for i, word in enumerate(words))
    return np.frombuffer(engine._obey(f"{text}\0"), np.int16)


def _levels(samples: npt.NDArray[np.int16]) -> npt.NDArray[Any]:
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(float)
    levels: npt.NDArray[Any] = np.sqrt((frames**2).mean(axis=1))
    return levels


def passages_of(engine: Pico, text: str, *, speed: float = 1.0) -> list[Passage]:
    return list(engine.speak("es", text, speed=speed, seed=None))


def pcm_of(engine: Pico, text: str, *, speed: float = 1.0) -> bytes:
    return b"".join(passage.pcm for passage in passages_of(engine, text, speed=speed))


def check(text: str, passages: list[Passage]) -> None:
    """Every word once, in order, where it stands in the text and inside its audio."""
    words = [word for passage in passages for word in passage.words]
    if passages:
        places = [(word.text, word.char_start, word.char_end) for word in words]
        assert places == [(word.text, word.start, word.end) for word in words_of(text)]
    for passage in passages:
        samples = len(passage.pcm) // SAMPLE_BYTES
        assert samples > 0
        at = 0
        for word in passage.words:
            assert word.estimated
            assert at <= word.start_ms <= word.end_ms
            at = word.end_ms
        assert at <= round(samples * 1000 / RATE_HZ)
