"""The cheap quality gate: is this audio plausible speech of that text?

It hears level, gaps, clipping, noise and length; it does not know whether the words are right.

    score = decodes * level * clipping * silence * dropouts * noise * pace * ending

Each factor lies in 0..1 and is read off the line through the points of its constant below. The
audio is seen in frames of 10 ms; a frame is *active* when its RMS is over `AUDIBLE_DBFS`, and the
speech runs from the first active frame to the last.

| factor | measures | x |
|---|---|---|
| decodes | given by the caller | 1, or 0 when the encoded form could not be decoded |
| level | RMS of all active frames | dBFS |
| clipping | flat tops: neighbouring samples both at the highest value | share of samples |
| silence | what pauses take over 700 ms, lead over 300, tail over 1,200 | share of length |
| dropouts | falls from over -35 to under -60 dBFS from one frame to the next | per second |
| noise | level over the 10th percentile of frames; and flat spectra (`is_noise`) | dB |
| pace | speech length over what the text should take (`expected_s`) | log2 |
| ending | level of the last frame over the active level: speech fades, a cut does not | dB |
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from core.audio.pcm import AUDIBLE_DBFS, RATE_HZ
from core.text.words import han_count, spoken_length

Samples = npt.NDArray[np.float32]
Line = tuple[tuple[float, ...], tuple[float, ...]]

LEVEL_DBFS: Final[Line] = ((-50, -34, -28, -14, -8, -3), (0, 0.8, 1, 1, 0.8, 0.3))
CLIPPING_SHARE: Final[Line] = ((0, 1e-4, 1e-3, 1e-2), (1, 0.97, 0.7, 0.2))
SILENCE_SHARE: Final[Line] = ((0, 0.5), (1, 0))
DROPOUTS_PER_S: Final[Line] = ((0, 0.3, 3), (1, 0.9, 0.4))
NOISE_DB: Final[Line] = ((2, 10, 30), (0.2, 0.7, 1))
PACE_LOG2: Final[Line] = (
    (-2, -1.2, -0.8, -0.4, 0, 0.4, 0.8, 1.5, 2.5),
    (0, 0.3, 0.9, 0.98, 1, 0.98, 0.9, 0.4, 0),
)
ENDING_DB: Final[Line] = ((-30, -10, 0), (1, 0.85, 0.7))

CHARS_PER_S: Final = {"en": 17.0, "es": 16.0}
"""Usual pace of a language, pauses included; Latin letters within Mandarin have that of English.
Speech of ten sentences each: ElevenLabs 15.5-16.2 English characters a second, hibari 18-23 (median
19), Pico 15-17 Spanish ones (median 16)."""

VENDOR_CHARS_PER_S: Final = 15.8
"""ElevenLabs' own pace, in every language: of the voices the only one that may not tell when its
words sound."""

HAN_PER_S: Final = 4.5
"""Han characters a second, in any language's text: Kokoro 4.1-4.7 (median 4.4, ten sentences)."""

_DIGIT_CHARS: Final = 4
"""Characters that one figure takes when it is spoken."""

_EDGES_S: Final = 0.1
"""What a text takes besides its characters: a single word is spoken slower than a sentence's."""

PAUSE_LIMIT_S: Final = 0.7
LEAD_LIMIT_S: Final = 0.3
TAIL_LIMIT_S: Final = 1.2

PLAUSIBLE: Final = 0.2
"""Below this score audio is served to nobody twice: speech scores over 0.85, and what is cut to a
third, mostly silent or noise scores less than this."""

_PACE_CHARS: Final = 24

_FRAME: Final = RATE_HZ // 100
_FULL_SCALE: Final = 32_768.0
_FALL_FROM_DBFS: Final = -35.0
_FALL_TO_DBFS: Final = -60.0

_WINDOW: Final = 512
_WINDOWS: Final = 48
_FLAT: Final = 0.4
"""Spectral flatness (geometric over arithmetic mean) of white noise is 0.56, of speech 0.002-0.3
in most windows."""

_LONG_S: Final = 0.4
_LOUD_DBFS: Final = -20.0

_AUDIBLE_POWER: Final = _WINDOW * _FULL_SCALE**2 * 10 ** (AUDIBLE_DBFS / 10)
_LOUD_POWER: Final = _WINDOW * _FULL_SCALE**2 * 10 ** (_LOUD_DBFS / 10)
"""Sums of the squared samples of a window at those levels."""


class QualityReport(msgspec.Struct, frozen=True):
    """The score and what it is made of; the table in the module's docstring says how."""

    score: float
    decodes: float
    level: float = 0.0
    clipping: float = 0.0
    silence: float = 0.0
    dropouts: float = 0.0
    noise: float = 0.0
    pace: float = 0.0
    ending: float = 0.0
    active_dbfs: float | None = None
    """RMS of the active frames; `None` where nothing is audible."""
    longest_pause_ms: int = 0
    """Of silence between two sounds."""


def quality_score(pcm: bytes, text: str, language: str, *, decodes: bool = True) -> QualityReport:
    """How plausible `pcm` (canonical audio) is as speech of `text`, 0 (not at all) to 1.

    `decodes` says whether the delivered form could be decoded. Costs 0.03 ms per second of audio
    (10 s: 0.3 ms).
    """
    whole = _whole(pcm)
    samples = whole.astype(np.float32)
    frames_dbfs = _frames_dbfs(samples)
    active = np.flatnonzero(frames_dbfs > AUDIBLE_DBFS)
    if not active.size:
        return QualityReport(score=0.0, decodes=float(decodes))
    first, last = int(active[0]), int(active[-1])
    level_dbfs = 10 * math.log10(float(np.mean(10 ** (frames_dbfs[active] / 10))))
    pauses_s = (np.diff(active) - 1) / 100
    length_s = samples.size / RATE_HZ
    over_s = float(np.maximum(pauses_s - PAUSE_LIMIT_S, 0).sum())
    over_s += max(0.0, first / 100 - LEAD_LIMIT_S)
    over_s += max(0.0, (frames_dbfs.size - 1 - last) / 100 - TAIL_LIMIT_S)
    falls = (frames_dbfs[:-1] > _FALL_FROM_DBFS) & (frames_dbfs[1:] < _FALL_TO_DBFS)
    speech_s = (last - first + 1) / 100
    factors = {
        "decodes": float(decodes),
        "level": _on(LEVEL_DBFS, level_dbfs),
        "clipping": _on(CLIPPING_SHARE, _flat_top_share(whole)),
        "silence": _on(SILENCE_SHARE, over_s / length_s),
        "dropouts": _on(DROPOUTS_PER_S, float(np.count_nonzero(falls)) / length_s),
        "noise": 0.0 if _flat_spectra(samples) else _on(NOISE_DB, level_dbfs - _tenth(frames_dbfs)),
        "pace": _on(PACE_LOG2, math.log2(speech_s / expected_s(text, language))),
        "ending": _on(ENDING_DB, float(frames_dbfs[-1]) - level_dbfs),
    }
    return QualityReport(
        score=round(math.prod(factors.values()), 3),
        active_dbfs=round(level_dbfs, 1),
        longest_pause_ms=round(float(pauses_s.max(initial=0.0)) * 1000),
        **factors,
    )


def is_plausible(report: QualityReport, text: str) -> bool:
    """Whether the audio may be taken for speech of the text at all: worth keeping.

    Of a few words the pace tells nothing: one may be said in 0.2 s or in 1 s.
    """
    score = report.score
    if spoken_length(text) < _PACE_CHARS:
        score = math.prod(
            (
                report.decodes,
                report.level,
                report.clipping,
                report.silence,
                report.dropouts,
                report.noise,
                report.ending,
            )
        )
    return score >= PLAUSIBLE


def expected_s(text: str, language: str) -> float:
    """Seconds that the text usually takes: `0.1 + (characters + 3 * digits) / pace`, and what the
    Han characters take."""
    per_s = CHARS_PER_S.get(language.split("-")[0].lower(), CHARS_PER_S["en"])
    return _EDGES_S + passing_s(text.strip(), per_s)


def passing_s(text: str, chars_per_s: float) -> float:
    """Seconds that a part of a text takes at that pace, its blanks too."""
    han = han_count(text)
    characters = len(text) - han + (_DIGIT_CHARS - 1) * sum(c.isdigit() for c in text)
    return characters / chars_per_s + han / HAN_PER_S


def is_noise(pcm: bytes) -> bool:
    """Whether canonical audio is noise, such as bytes of something else taken for samples.

    True when nine tenths of its audible windows (21 ms) have a flat spectrum: speech with noise
    around it is not noise. A single hiss may be speech:
    audio under 400 ms counts as noise only when it is loud as well (over -20 dBFS). Under 21 ms
    nothing can be said: False.
    """
    return _flat_spectra(_whole(pcm).astype(np.float32))


def _whole(pcm: bytes) -> npt.NDArray[np.int16]:
    return np.frombuffer(pcm, dtype="<i2", count=len(pcm) // 2)


def _tenth(values: Samples) -> float:
    """The 10th percentile, between its two neighbours in proportion. `np.percentile` takes longer
    than all else here."""
    ordered = np.sort(values)
    below, share = divmod((ordered.size - 1) / 10, 1)
    low = float(ordered[int(below)])
    return low + share * (float(ordered[min(int(below) + 1, ordered.size - 1)]) - low)


def _on(line: Line, x: float) -> float:
    return float(np.interp(x, *line))


def _frames_dbfs(samples: Samples) -> Samples:
    count = samples.size // _FRAME
    frames = samples[: count * _FRAME].reshape(count, _FRAME)
    power = np.einsum("ij,ij->i", frames, frames) / (_FRAME * _FULL_SCALE**2)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-12)), dtype=np.float32)


def _flat_top_share(samples: npt.NDArray[np.int16]) -> float:
    top = max(int(samples.max()), -int(samples.min())) - 1
    at_top = (samples >= top) | (samples <= -top)
    return float(np.count_nonzero(at_top[1:] & at_top[:-1])) / samples.size


def _flat_spectra(samples: Samples) -> bool:
    count = samples.size // _WINDOW
    if not count:
        return False
    windows = samples[: count * _WINDOW].reshape(count, _WINDOW)
    if count > _WINDOWS:
        # Evenly spread windows are enough, and keep the cost of long audio the same.
        windows = windows[np.linspace(0, count - 1, _WINDOWS).astype(int)]
    powers = np.einsum("ij,ij->i", windows, windows).tolist()
    heard = [index for index, power in enumerate(powers) if power > _AUDIBLE_POWER]
    if not heard:
        return False
    loud = sum(powers[index] for index in heard) > _LOUD_POWER * len(heard)
    if samples.size < _LONG_S * RATE_HZ and not loud:
        # Told before the costly part: on the way of the first audio this is the usual answer.
        return False
    # So many windows that are not flat bring the 10th percentile under the limit, whatever the
    # others are: of speech a quarter of the windows usually holds them.
    enough = (len(heard) - 1) // 10 + 2
    few = heard[::4]
    if len(few) >= enough and np.count_nonzero(_flatness(windows[few]) < _FLAT) >= enough:
        return False
    return _tenth(_flatness(windows[heard])) >= _FLAT


def _flatness(windows: Samples) -> Samples:
    spectra = np.fft.rfft(windows * _hann(), axis=1)[:, 2:-2]
    bins = np.square(spectra.real) + np.square(spectra.imag) + np.float32(1e-3)
    return np.asarray(np.exp(np.log(bins).mean(axis=1)) / bins.mean(axis=1), dtype=np.float32)


@cache
def _hann() -> Samples:
    return np.hanning(_WINDOW).astype(np.float32)
