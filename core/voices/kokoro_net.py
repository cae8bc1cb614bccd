"""Kokoro's two networks: a reading becomes a plan of its speech, any stretch of a plan sound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime
from hibari.tts import ASSETS

from core.audio.pcm import RATE_HZ
from core.voices.kokoro_graph import (
    AUDIO,
    DURATIONS,
    ENERGY,
    NORM_WEIGHT,
    PHONES,
    PITCH,
    PLAN,
)

UNIT_MS: Final = 25
UNIT_SAMPLES: Final = RATE_HZ * UNIT_MS // 1000
STYLE: Final = Path(__file__).parent / "styles" / "zf_xiaobei.bin"
"""The voice: 510 rows of 256 float32, one for each number of symbols."""

_SILENT: Final = -7.0
"""A unit whose planned loudness is below has no sound: silence is at -9.4, the softest consonants
are at -6.7."""

_TIMBRE: Final = 128
"""The first half of a style is the voice's timbre, the second its melody and pace."""
_USUAL_SYMBOLS: Final = 61
"""The timbre of a row is a little different from that of the others, and the usual norms are those
of one: with the row of a short text nothing would be heard of some."""
NORMS_OF_A_PIECE: Final = 0.95
"""`kokoro_graph.NORM_WEIGHT` for a part of a sentence. Of 30 sentences (366 characters) in pieces
the recogniser gets 12 % wrong with 0.7, 8.7 with 0.95 and 8.5 with 1.0, where a lone syllable may
go silent; 7.7 of those decoded whole."""

Samples = npt.NDArray[np.float32]


class Plan(msgspec.Struct, frozen=True, eq=False):
    """The speech of one reading, unit by unit, not yet sound."""

    style: Samples
    phones: Samples
    pitch: Samples
    energy: Samples
    starts: npt.NDArray[np.int64]
    """Unit at which each symbol starts; one more: where the last of them ends."""
    sounding: npt.NDArray[np.bool_]
    """For each unit, whether it sounds."""

    @property
    def units(self) -> int:
        """Its length with the silence before and after."""
        return len(self.sounding)


class KokoroNet:
    """The loaded networks. Computes in the calling thread; onnxruntime releases the GIL."""

    def __init__(self, encoder: str | bytes, decoder: str | bytes) -> None:
        """Load two ONNX models (`core.voices.kokoro_graph`), each from a path or from its bytes."""
        self._encoder = _session(encoder)
        self._decoder = _session(decoder)
        self.extra_outputs = [output.name for output in self._decoder.get_outputs()][1:]
        """What the decoder gives besides audio: nothing, unless it is a measured one."""
        self._is_drawn = NORM_WEIGHT in [given.name for given in self._decoder.get_inputs()]
        self._styles = np.fromfile(STYLE, "<f4").reshape(510, 1, 256)
        self.vocabulary = vocabulary()

    def plan(self, symbols: str, speed: float) -> Plan:
        """Plan 1 to 510 symbols of the vocabulary; `speed` 1.0 is the voice's own."""
        ids = np.asarray([[0, *(self.vocabulary[symbol] for symbol in symbols), 0]], np.int64)
        style = self._styles[len(symbols) - 1].copy()
        style[:, :_TIMBRE] = self._styles[_USUAL_SYMBOLS - 1][:, :_TIMBRE]
        feed = {"tokens": ids, "style": style, "speed": np.asarray([speed], np.float32)}
        values = dict(zip(PLAN, self._encoder.run(list(PLAN), feed), strict=True))
        ends = np.cumsum(values[DURATIONS].reshape(-1).astype(np.int64))
        units = values[PHONES].shape[2]
        if len(ends) != len(symbols) + 2 or ends[-1] != units:
            raise RuntimeError("Kokoro's durations do not add up to its plan")
        return Plan(
            style=style,
            phones=values[PHONES],
            pitch=values[PITCH],
            energy=values[ENERGY],
            starts=ends[:-1],
            sounding=values[ENERGY].reshape(units, 2).max(axis=1) > _SILENT,
        )

    def decode(self, plan: Plan, first: int, last: int, norm_weight: float) -> Samples:
        """The sound of units `first` to `last` (excluded) of a plan, -1 to 1.

        With a `norm_weight` of 0 it has to be a whole sentence with some of the silence around.
        """
        audio: Samples = self._run(plan, first, last, [AUDIO], norm_weight)[0]
        if len(audio) != (last - first) * UNIT_SAMPLES:
            raise RuntimeError("Kokoro's audio is not as long as it was planned")
        return audio

    def measure(self, plan: Plan) -> Mapping[str, Samples]:
        """The means over time of a measured decoder for a plan, one for each channel."""
        values = self._run(plan, 0, plan.units, self.extra_outputs, 0.0)
        return {n: v.reshape(-1) for n, v in zip(self.extra_outputs, values, strict=True)}

    def _run(
        self, plan: Plan, first: int, last: int, outputs: list[str], norm_weight: float
    ) -> list[Any]:
        feed = {
            "style": plan.style,
            PHONES: np.ascontiguousarray(plan.phones[:, :, first:last]),
            PITCH: np.ascontiguousarray(plan.pitch[:, 2 * first : 2 * last]),
            ENERGY: np.ascontiguousarray(plan.energy[:, 2 * first : 2 * last]),
        }
        if self._is_drawn:
            feed[NORM_WEIGHT] = np.asarray([norm_weight], np.float32)
        values: list[Any] = self._decoder.run(outputs, feed)
        return values


def vocabulary() -> dict[str, int]:
    """Kokoro's symbols and their numbers; hibari has learnt from Kokoro and has the same ones."""
    text = (Path(ASSETS) / "vocab.json").read_text(encoding="utf-8")
    symbols: dict[str, int] = json.loads(text)
    return symbols


def _session(model: str | bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena keeps what the longest piece has needed: 850 MB instead of 300.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
