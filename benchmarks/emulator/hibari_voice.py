"""Real speech with the times of its words, computed in a child process, by an English voice.

Mandarin is read off its pinyin, Spanish off its letters: both have the right length and pace, but
no listener and no recogniser should be asked for an opinion.

The functions at the end run in a worker of a process pool; nothing here is imported by the event
loop's process beyond their names.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any, Final

import msgspec
import numpy as np

from core.speech import WordTiming
from core.text.words import han_count, words_of

_FRAME_MS: Final = 25
_DURATIONS: Final = b"/Clip_output_0"
_PR_SET_PDEATHSIG: Final = 1
_LATIN_MARKS: Final = str.maketrans("，、；：。！？“”（）", ',,;:.!?""()')


def _chunk(number: int, body: bytes) -> bytes:
    """A protobuf field of wire type 2."""
    size, length = len(body), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + body


class HibariVoice:
    """hibari's voice `heart`, asked for its phoneme durations as well.

    ONNX files are protobuf, where a repeated message adds to the first: appending an output to the
    graph's bytes makes the predicted durations (frames of 25 ms) one more result.
    """

    def __init__(self) -> None:
        from hibari import Hibari
        from hibari.voices import voice_path

        with open(voice_path("heart", download_missing=False), "rb") as file:
            model = file.read() + _chunk(7, _chunk(12, _chunk(1, _DURATIONS)))
        self._hibari: Any = Hibari(model=model)

    def speak(self, text: str, speed: float, seed: int) -> tuple[bytes, list[WordTiming]]:
        """s16le samples at 24 kHz and the words with their times."""
        if not han_count(text):
            return self._read(text, speed, seed)
        written = words_of(text)
        pcm, read = self._read(" ".join(_pinyin(word.text) for word in written), speed, seed)
        return pcm, [
            msgspec.structs.replace(
                timing, text=word.text, char_start=word.start, char_end=word.end
            )
            for word, timing in zip(written, read, strict=True)
        ]

    def _read(self, text: str, speed: float, seed: int) -> tuple[bytes, list[WordTiming]]:
        rng = np.random.default_rng(seed)
        parts: list[Any] = []
        words: list[WordTiming] = []
        at, at_ms = 0, 0.0
        for sentence in self._hibari.split_sentences(text):
            start = text.index(sentence, at)
            at = start + len(sentence)
            while at < len(text) and not text[at].isspace():
                at += 1  # closing quotes and brackets, which the split leaves out
            spoken: list[tuple[float, float]] = []
            began_ms = at_ms
            for phonemes in self._hibari.phonemize(sentence):
                wave, times = self._say(phonemes, speed, rng)
                spoken += [(at_ms + s, at_ms + e) for s, e in times]
                parts.append(wave)
                at_ms += wave.size / 24
            words += _word_times(text[start:at], start, spoken, began_ms, at_ms)
        audio = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        return (np.clip(audio, -1, 1) * 32_767).astype("<i2").tobytes(), words

    def _say(self, phonemes: str, speed: float, rng: Any) -> tuple[Any, list[tuple[float, float]]]:
        from hibari import dsp

        kept = [c for c in phonemes if c in self._hibari.vocab]
        ids = np.asarray([self._hibari.ids(phonemes)], np.int64)
        speed_in = np.asarray([speed], np.float32)
        *parts, durations = self._hibari.sess.run(None, {"ids": ids, "speed": speed_in})
        wave = dsp.synth(*(part[0] for part in parts), rng)
        edges = np.concatenate([[0.0], np.cumsum(durations.reshape(-1))]) * _FRAME_MS
        times: list[tuple[float, float]] = []
        start: float | None = None
        for number, symbol in enumerate([*kept, " "], 1):
            if symbol == " ":
                if start is not None:
                    times.append((start, float(edges[number])))
                start = None
            elif start is None and symbol.isalpha() | (symbol in "ˈˌ"):
                start = float(edges[number])
        return wave, times


def _word_times(
    sentence: str, offset: int, spoken: list[tuple[float, float]], start_ms: float, end_ms: float
) -> list[WordTiming]:
    """Exact where there are as many spoken words as written ones, else by length."""
    places: list[tuple[int, int]] = []
    at = 0
    for word in sentence.split():
        at = sentence.index(word, at)
        places.append((at, at + len(word)))
        at += len(word)
    exact = len(spoken) == len(places)
    if not exact:
        first, last = (spoken[0][0], spoken[-1][1]) if spoken else (start_ms, end_ms)
        per_char = (last - first) / max(1, len(sentence))
        spoken = [(first + s * per_char, first + e * per_char) for s, e in places]
    return [
        WordTiming(sentence[s:e], round(w[0]), round(w[1]), offset + s, offset + e, not exact)
        for (s, e), w in zip(places, spoken, strict=True)
    ]


def _pinyin(word: str) -> str:
    """A Mandarin word as Latin letters, one word again."""
    from pypinyin import lazy_pinyin

    latin = "".join(lazy_pinyin(word.translate(_LATIN_MARKS)))
    return "".join(c for c in latin.replace("ü", "u") if not c.isspace()) or "-"


_voice: HibariVoice | None = None


def prepare(parent_pid: int) -> None:
    """First call in a worker: end with the parent, load the voice, speak once to warm it."""
    global _voice
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _voice = HibariVoice()
    _voice.speak("Ready.", 1.0, 0)


def speak(text: str, speed: float, seed: int) -> tuple[bytes, list[WordTiming]]:
    """In a worker: speak one text."""
    assert _voice is not None
    return _voice.speak(text, speed, seed)
