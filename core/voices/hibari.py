"""English: hibari-tts with its built-in voice `heart`, and exact word timings.

hibari has one graph from phonemes to spectra. Its predicted durations, one per phoneme in units of
25 ms, are an inner value of the graph; here it is one more output, so that word timings are the
very numbers that the audio was made from.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import hibari.g2p
import msgspec
import numpy as np
import onnxruntime
from hibari import dsp
from hibari.g2p.normalize import normalize
from hibari.tts import ASSETS, MAX_PHONEMES
from hibari.tts import Hibari as HibariTts
from hibari.voices import voice_path

from core.audio.pcm import AUDIBLE_AMPLITUDE, RATE_HZ
from core.speech import WordTiming
from core.text.words import Word, words_of
from core.voices.alignment import Block, align, timings
from core.voices.registry import EngineOptions, Passage

UNIT_MS: Final = 25
UNIT_SAMPLES: Final = RATE_HZ * UNIT_MS // 1000
_DURATIONS: Final = "/Clip_output_0"
"""The graph's node with one duration per phoneme (float, whole units)."""

_MAX_PASSAGE_CHARS: Final = 400
"""A longer sentence is cut at a clause or a blank, so that no step of the work is long."""
_MAX_WORD_CHARS: Final = 400
"""What comes after it in one word without a blank is not spoken: such a word is no language, and a
word is in one passage."""
_MAX_UNIT_CHARS: Final = 100
"""A longer word is read in parts: the tokenizer needs time in the square of a word's length."""

_CLAUSE_ENDS: Final = (",", ";", ":", "—")
_PAUSES: Final = frozenset(' ;:,.!?—…"“”()')
_LONG_NUMBER: Final = re.compile(r"(\d(?:[,.]?\d){15,})")
"""hibari has names for numbers of up to 36 digits and fails above; nobody wants to hear them."""
_NO_MARKUP: Final = str.maketrans("[]", "()")
"""hibari reads `[word](/phonemes/)` as a command; round brackets sound the same and are none."""


class Hibari:
    """A loaded model. Computes in the calling thread; onnxruntime and numpy release the GIL."""

    voices = frozenset({"heart"})

    def __init__(self, options: EngineOptions) -> None:
        """Load the model and the dictionaries from the package; nothing is ever fetched."""
        del options  # the model is in the package
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = session.inter_op_num_threads = 1
        session.log_severity_level = 3
        model = Path(voice_path("heart", download_missing=False)).read_bytes()
        self._session = onnxruntime.InferenceSession(
            _with_output(model, _DURATIONS), session, providers=["CPUExecutionProvider"]
        )
        self._outputs = [output.name for output in self._session.get_outputs()]
        vocabulary = json.loads((Path(ASSETS) / "vocab.json").read_text(encoding="utf-8"))
        self._ids: dict[str, int] = vocabulary
        self._g2p = hibari.g2p.G2P()

    def speak(self, voice: str, text: str, *, speed: float, seed: int | None) -> Iterator[Passage]:
        """See `VoiceEngine.speak`; the seed fixes the noise part of the voice."""
        if voice not in self.voices:
            raise KeyError(voice)
        noise = np.random.default_rng(_seed_of(text) if seed is None else abs(seed))
        for reading in _without_orphans(self._readings(text)):
            yield self._synthesise(reading, speed, noise)

    def _readings(self, text: str) -> Iterator[_Reading]:
        for units in _passages(text):
            yield from self._read(units)

    def _read(self, units: list[_Unit]) -> Iterator[_Reading]:
        """The phonemes of a stretch of text, in readings short enough for the model."""
        groups = self._phonemes([unit.text for unit in units])
        blocks = align([unit.text for unit in units], [text for text, _ in groups])
        current = _Reading()
        for words, block in _by_word(units, blocks):
            symbols = " ".join(ps for _, ps in groups[block.r0 : block.r1] if ps)
            symbols = "".join(symbol for symbol in symbols if symbol in self._ids)
            if current.symbols and len(current.symbols) + 1 + len(symbols) > MAX_PHONEMES:
                head, current = current.cut()
                yield head
            current.add(words, symbols)
        yield current

    def _phonemes(self, texts: list[str]) -> list[tuple[str, str]]:
        """The words as they are read aloud, each with its phonemes."""
        try:
            tokens = self._g2p.phonemize_tokens(self._g2p.tokenize(normalize(" ".join(texts))))
        except Exception:
            # Some digits and symbols of other scripts break hibari's reader in many places: what
            # can be read is still read, and the one word that cannot stays silent.
            if len(texts) == 1:
                return [(texts[0], "")]
            return [pair for text in texts for pair in self._phonemes([text])]
        groups: list[tuple[str, str]] = []
        text = phonemes = ""
        for token in tokens:
            text, phonemes = text + token.text, phonemes + (token.phonemes or "")
            if token.whitespace:
                groups.append((text.strip(), phonemes))
                text = phonemes = ""
        if text:
            groups.append((text.strip(), phonemes))
        return groups

    def _synthesise(self, reading: _Reading, speed: float, noise: np.random.Generator) -> Passage:
        audio, starts, at = [], [], 0
        for part in _cut(reading.symbols, MAX_PHONEMES):
            samples, durations = self._run(part, speed, noise)
            # The first and the last duration belong to the pads around the phonemes.
            ends = at + np.cumsum(durations)
            starts += ends[:-1].tolist()
            at = int(ends[-1])
            audio.append(samples)
        pcm = b"".join(audio)
        words = reading.timings([unit * UNIT_MS for unit in starts])
        # The last phoneme's duration holds the pause that follows it (0.3 s) and is no speech.
        sound_ends_ms = _sound_units(pcm) * UNIT_MS
        return Passage(pcm, tuple(_ended_by(word, sound_ends_ms) for word in words))

    def _run(
        self, symbols: str, speed: float, noise: np.random.Generator
    ) -> tuple[bytes, np.ndarray[Any, np.dtype[np.int64]]]:
        ids = np.asarray([[0, *(self._ids[symbol] for symbol in symbols), 0]], np.int64)
        feed = {"ids": ids, "speed": np.asarray([speed], np.float32)}
        values = dict(zip(self._outputs, self._session.run(None, feed), strict=True))
        durations = values[_DURATIONS].astype(np.int64)
        names = ("lh", "theta", "ln", "lr", "phi", "f0")
        wave = dsp.synth(*(values[name][0] for name in names), noise)
        if len(durations) != len(symbols) + 2 or durations.sum() * UNIT_SAMPLES != len(wave):
            raise RuntimeError("hibari's durations do not add up to its audio")
        peak = float(np.abs(wave).max())
        scale = 32_767 / max(1.0, peak)
        pcm: bytes = (wave * scale).astype("<i2").tobytes()
        return pcm, durations


class _Unit(msgspec.Struct, frozen=True):
    """What hibari gets to read for a word, or for a part of a very long one."""

    word: Word
    text: str


class _Reading:
    """Phonemes to be spoken in one go, and which words they are of."""

    def __init__(self) -> None:
        self.symbols = ""
        self.spans: list[tuple[list[Word], int, int]] = []
        """Words and the range of symbols they are read as."""

    @property
    def audible(self) -> bool:
        """Whether anything sounds: punctuation alone does not."""
        return any(symbol not in _PAUSES for symbol in self.symbols)

    def add(self, words: list[Word], symbols: str) -> None:
        """Words to be read after what is there."""
        if symbols and self.symbols:
            self.symbols += " "
        start = len(self.symbols)
        self.symbols += symbols
        self.spans.append((words, start, len(self.symbols)))

    def cut(self) -> tuple[_Reading, _Reading]:
        """The part up to the last clause end, if it is in the second half, and the rest."""
        keep = len(self.spans)
        for index in range(len(self.spans) - 1, 0, -1):
            _, _, end = self.spans[index - 1]
            if end * 2 < len(self.symbols):
                break
            if self.symbols[:end].endswith(_CLAUSE_ENDS):
                keep = index
                break
        head, rest = _Reading(), _Reading()
        for index, (words, start, end) in enumerate(self.spans):
            (head if index < keep else rest).add(words, self.symbols[start:end])
        return head, rest

    def timings(self, starts_ms: list[int]) -> tuple[WordTiming, ...]:
        """The words' timings; `starts_ms[i]` is where symbol `i` starts and `i - 1` ends."""
        out: list[WordTiming] = []
        for words, first, last in self.spans:
            while first < last and self.symbols[first] in _PAUSES:
                first += 1
            while last > first and self.symbols[last - 1] in _PAUSES:
                last -= 1
            now = out[-1].end_ms if out else 0
            spoken = first < last
            out += timings(
                words, starts_ms[first] if spoken else now, starts_ms[last] if spoken else now
            )
        return tuple(out)


def _sound_units(pcm: bytes) -> int:
    """Units from the start to the last audible sample."""
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > AUDIBLE_AMPLITUDE)
    return int(loud[-1]) // UNIT_SAMPLES + 1 if len(loud) else 0


def _ended_by(word: WordTiming, limit_ms: int) -> WordTiming:
    if word.end_ms <= limit_ms:
        return word
    start_ms = min(word.start_ms, limit_ms)
    return msgspec.structs.replace(word, start_ms=start_ms, end_ms=limit_ms)


def _with_output(model: bytes, name: str) -> bytes:
    """An ONNX model with one more of its inner values as an output.

    Protobuf merges a message that comes twice, so it is enough to append
    `graph { output { name } }` (fields 7, 12 and 1).
    """
    value = name.encode()
    for field in (1, 12, 7):
        value = bytes([field << 3 | 2, len(value)]) + value
    return model + value


def _seed_of(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _passages(text: str) -> Iterator[list[_Unit]]:
    """The text in sentences, as hibari splits them; a long one in parts."""
    starts, at = [], 0
    for sentence in HibariTts.split_sentences(text):
        at = text.index(sentence, at)
        starts.append(at)
        at += len(sentence)
    passage: list[_Unit] = []
    sentence_index = chars = 0
    for word in words_of(text):
        while sentence_index + 1 < len(starts) and starts[sentence_index + 1] <= word.start:
            sentence_index += 1
            if passage:
                yield passage
            passage, chars = [], 0
        units = list(_units(word))
        more = sum(len(unit.text) + 1 for unit in units)
        if passage and chars + more > _MAX_PASSAGE_CHARS:
            cut = _clause_cut(passage)
            yield passage[:cut]
            passage = passage[cut:]
            chars = sum(len(unit.text) + 1 for unit in passage)
        passage += units
        chars += more
    if passage:
        yield passage


def _clause_cut(units: list[_Unit]) -> int:
    """How many of the units to keep: up to the last clause end in the second half, or all."""
    for index in range(len(units) - 1, len(units) // 2, -1):
        same_word = units[index].word is units[index - 1].word
        if units[index - 1].text.endswith(_CLAUSE_ENDS) and not same_word:
            return index
    return len(units)


def _units(word: Word) -> Iterator[_Unit]:
    readable = "".join(map(_plain_digit, word.text[:_MAX_WORD_CHARS].translate(_NO_MARKUP)))
    for index, part in enumerate(_LONG_NUMBER.split(readable)):
        if index % 2:  # a long number: digit by digit
            yield from (_Unit(word, digit) for digit in part if digit not in ",.")
            continue
        for at in range(0, len(part), _MAX_UNIT_CHARS):
            yield _Unit(word, part[at : at + _MAX_UNIT_CHARS])


def _plain_digit(symbol: str) -> str:
    """Digits in circles and the like as plain ones: hibari's reader fails on them."""
    if symbol.isdigit() and not symbol.isdecimal() and symbol not in "²³":
        return str(unicodedata.digit(symbol))
    return symbol


def _by_word(units: list[_Unit], blocks: list[Block]) -> Iterator[tuple[list[Word], Block]]:
    """The blocks with their words; those that share a word, as parts of it, are made one."""
    merged: list[Block] = []
    for block in blocks:
        if merged and block.w0 < len(units) and block.w0 > 0:
            last = merged[-1]
            if units[last.w1 - 1].word is units[block.w0].word:
                merged[-1] = Block(last.w0, block.w1, last.r0, block.r1)
                continue
        merged.append(block)
    for block in merged:
        words: list[Word] = []
        for unit in units[block.w0 : block.w1]:
            if not words or words[-1] is not unit.word:
                words.append(unit.word)
        yield words, block


def _without_orphans(readings: Iterator[_Reading]) -> Iterator[_Reading]:
    """Only readings that sound; the words of the others go to the one before, or to the first."""
    held: _Reading | None = None
    orphans: list[Word] = []
    for reading in readings:
        if not reading.audible:
            words = [word for span in reading.spans for word in span[0]]
            if held is None:
                orphans += words
            else:
                held.add(words, "")
            continue
        if held is not None:
            yield held
        elif orphans:
            reading.spans.insert(0, (orphans, 0, 0))
        held = reading
    if held is not None:
        yield held


def _cut(symbols: str, limit: int) -> Iterator[str]:
    """Pieces of at most `limit` symbols, cut before a blank where there is one."""
    while len(symbols) > limit:
        at = symbols.rfind(" ", 1, limit + 1)
        at = limit if at < 0 else at
        yield symbols[:at]
        symbols = symbols[at:]
    if symbols:
        yield symbols
