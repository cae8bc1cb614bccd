"""Mandarin: Kokoro-82M with the voice `zf_xiaobei`, in pieces while it is being computed.

A sentence is planned whole, so that its melody is that of the sentence, and sounds piece by piece
(`core.voices.kokoro_graph`): first audio is there after 0.6 s of work instead of two. The words'
times are the plan's own.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from core.audio.pcm import RATE_HZ
from core.errors import ConfigurationError
from core.speech import WordTiming
from core.text.words import Word, words_of
from core.voices.kokoro_model import Network, networks
from core.voices.kokoro_net import NORMS_OF_A_PIECE, UNIT_MS, UNIT_SAMPLES, KokoroNet, Plan
from core.voices.kokoro_norms import load_norms
from core.voices.kokoro_pieces import (
    MARGIN_UNITS,
    SHORT_TAIL_UNITS,
    SHORT_UNITS,
    Pacer,
    Piece,
)
from core.voices.mandarin import Ending, Mandarin, Reading
from core.voices.registry import EngineOptions, Passage
from core.voices.seams import Samples, Seam, carried_on, cut_off, faded

SPEEDS: Final = (0.5, 2.0)
"""Slower and faster than this it is no speech any more; other speeds are taken for the nearest."""

_PAUSE_MS: Final[dict[Ending, int]] = {"sentence": 350, "clause": 160, "word": 40}
"""Silence after a reading, besides `kokoro_pieces.LEAD_UNITS` and `TAIL_UNITS`."""
_LONG_WORD_SYMBOLS: Final = 40


class Kokoro:
    """A loaded model. Computes in the calling thread; onnxruntime and numpy release the GIL."""

    voices = frozenset({"zf_xiaobei"})

    def __init__(self, options: EngineOptions) -> None:
        """Load the networks and the dictionaries; nothing is ever fetched.

        Raises:
            ConfigurationError: there is no model, or it cannot be used.
        """
        self._net = _load(options)
        self._reader = Mandarin(self._net.vocabulary)

    def speak(self, voice: str, text: str, *, speed: float, seed: int | None) -> Iterator[Passage]:
        """See `VoiceEngine.speak`; the voice has no noise of its own, so a seed changes nothing."""
        del seed
        if voice not in self.voices:
            raise KeyError(voice)
        speed = min(max(speed, SPEEDS[0]), SPEEDS[1])
        readings = self._reader.read(text)
        pacer = Pacer()
        for reading, words in zip(readings, _by_reading(words_of(text), readings), strict=True):
            plan = self._net.plan(reading.symbols, speed)
            yield from self._sound(reading, plan, pacer.pieces(plan, _cuts(reading, words)), words)

    def _sound(
        self, reading: Reading, plan: Plan, pieces: list[Piece], words: list[_Placed]
    ) -> Iterator[Passage]:
        """One passage for each piece; all words of the reading, each in one of them."""
        seam: Seam | None = None
        for index, piece in enumerate(pieces):
            is_last = index == len(pieces) - 1
            first = piece.first - (MARGIN_UNITS if index else 0)
            if len(pieces) == 1 and piece.last - piece.first <= SHORT_UNITS:
                sound = self._short(plan, piece)
            else:
                last = piece.last + (0 if is_last else MARGIN_UNITS)
                sound = self._net.decode(plan, first, last, NORMS_OF_A_PIECE)
            origin = first * UNIT_SAMPLES
            if seam is None:
                sound = faded(sound, at_start=True, at_end=False)
            else:
                sound, origin = carried_on(seam, sound, origin)
            if is_last:
                sound = faded(sound, at_start=False, at_end=True)
                pause = np.zeros(RATE_HZ * _PAUSE_MS[reading.ending] // 1000, np.float32)
                sound = np.concatenate([sound, pause])
                here, words = words, []
            else:
                sound, seam = cut_off(sound, origin, piece.last * UNIT_SAMPLES)
                count = bisect.bisect_left(
                    words, piece.last, key=lambda word: int(plan.starts[word.first])
                )
                here, words = words[:count], words[count:]
            pcm = (np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes()
            timings = tuple(_timed(here, plan, origin, len(sound)))
            yield Passage(pcm, timings, goes_on=not is_last)

    def _short(self, plan: Plan, piece: Piece) -> Samples:
        """A few words alone, decoded with the silence around them: the usual norms are not theirs,
        and some of them would hardly be heard."""
        last = min(plan.units, piece.last + SHORT_TAIL_UNITS)
        sound = self._net.decode(plan, 0, last, 0.0)
        return sound[piece.first * UNIT_SAMPLES : piece.last * UNIT_SAMPLES]


class _Placed(msgspec.Struct, frozen=True):
    """A word and the symbols that it is read as; none for a silent one."""

    word: Word
    first: int
    last: int


def _by_reading(words: list[Word], readings: list[Reading]) -> list[list[_Placed]]:
    """For each reading its words. A silent word follows the one before it; what is silent before
    the first sound stands at its beginning."""
    out: list[list[_Placed]] = [[] for _ in readings]
    if not readings:
        return out
    spans = [(i, span) for i, reading in enumerate(readings) for span in reading.spans]
    at, place, symbol = 0, 0, spans[0][1].first
    for word in words:
        while at < len(spans) and spans[at][1].end <= word.start:
            at += 1
        until = at
        while until < len(spans) and spans[until][1].start < word.end:
            until += 1
        own = [span for index, span in spans[at:until] if index == spans[at][0]]
        if not own:
            out[place].append(_Placed(word, symbol, symbol))
            continue
        place, symbol = spans[at][0], own[-1].last
        out[place].append(_Placed(word, own[0].first, symbol))
    return out


def _cuts(reading: Reading, words: list[_Placed]) -> list[int]:
    """Symbols at which a piece may begin: where a word does. A word of the text that is read as
    several is cut only if it is long."""
    inside = {
        symbol
        for word in words
        if word.last - word.first <= _LONG_WORD_SYMBOLS
        for symbol in range(word.first + 1, word.last)
    }
    return [symbol for symbol in reading.words if symbol not in inside]


def _timed(words: list[_Placed], plan: Plan, origin: int, samples: int) -> Iterator[WordTiming]:
    """The words' times within a passage that begins at sample `origin` of the plan."""
    end_ms = samples * 1000 // RATE_HZ
    now = 0
    for placed in words:
        first, last = int(plan.starts[placed.first]), int(plan.starts[placed.last])
        # A pause belongs to the symbols around it and is no part of the word.
        while first < last and not plan.sounding[first]:
            first += 1
        while last > first and not plan.sounding[last - 1]:
            last -= 1
        shift_ms = origin * 1000 / RATE_HZ
        start = min(max(now, round(first * UNIT_MS - shift_ms)), end_ms)
        now = start
        if placed.first < placed.last:
            now = min(max(start, round(last * UNIT_MS - shift_ms)), end_ms)
        yield WordTiming(placed.word.text, start, now, placed.word.start, placed.word.end)


def _load(options: EngineOptions) -> KokoroNet:
    norms = load_norms()
    for trust in (True, False):
        kept = networks(options, norms, trust=trust)
        try:
            return KokoroNet(_model(kept.encoder), _model(kept.decoder))
        except Exception as error:
            # onnxruntime's errors have no common class. A kept file that it cannot read is looked
            # at closely and made anew; a model that it cannot read is the operator's to change.
            reason = error
    raise ConfigurationError(
        f"The Kokoro model {options.kokoro_model or 'of the packages'} cannot be loaded "
        f"({type(reason).__name__}); set SEIKETSU_KOKORO_MODEL to another one."
    ) from reason


def _model(network: Network) -> str | bytes:
    return str(network) if isinstance(network, Path) else network
