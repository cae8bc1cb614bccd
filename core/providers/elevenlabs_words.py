"""What ElevenLabs' audio and aligned characters come to, over either transport: canonical chunks,
the words of the text with their times, and whether all of the text was spoken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from core.audio.pcm import BYTES_PER_S, duration_ms, samples_of
from core.errors import BadAudio, StreamTruncated
from core.speech import AudioChunk, WordTiming
from core.text.words import Word, spoken_length, words_of

PROVIDER: Final = "elevenlabs"

MAX_CHARS_PER_S: Final = 30.0
"""More text than this for a second of audio cannot have been spoken: almost twice the measured pace
(`core.audio.quality.VENDOR_CHARS_PER_S`). A Han character counts as several (`spoken_length`)."""

_ALIGNMENT_SLACK_S: Final = 0.25
"""The last aligned character may end this much after the audio: vendor's times are rounded."""

_LOOK_AHEAD_CHARS: Final = 16
"""So many characters of the text may be missing in the alignment before one that is there."""

Aligned = tuple[str, float, float]
"""A character, and when it begins and ends: seconds from the utterance's first sample."""


class AlignedSpeech:
    """One utterance as it arrives. The text may still grow."""

    def __init__(self, text: str = "") -> None:
        self._text = text
        self._words = _Words(text)
        self._odd = b""
        self._audio_bytes = 0
        self._aligned = False

    @property
    def heard_s(self) -> float:
        """Seconds of audio so far."""
        return self._audio_bytes / BYTES_PER_S

    def extend(self, piece: str) -> None:
        """More of the text."""
        self._text += piece
        self._words.extend(piece)

    def feed(self, audio: bytes, characters: Iterable[Aligned] | None) -> AudioChunk | None:
        """The chunk that a piece of audio and its characters (None: it had none) make, if any."""
        words: tuple[WordTiming, ...] = ()
        if characters is not None:
            self._aligned = True
            words = self._words.feed(characters)
        pcm = self._odd + audio
        self._odd = b""
        if len(pcm) % 2:
            pcm, self._odd = pcm[:-1], pcm[-1:]
        self._audio_bytes += len(pcm)
        return AudioChunk(pcm, words) if pcm or words else None

    def finish(self) -> AudioChunk | None:
        """The words that are left at the end, without audio.

        Raises:
            BadAudio: there was no audio at all.
            StreamTruncated: the audio ended before the text did.
        """
        if not self._audio_bytes:
            raise BadAudio("ElevenLabs sent no audio.", provider=PROVIDER)
        if self._aligned:
            late = self.heard_s + _ALIGNMENT_SLACK_S < self._words.last_end_s
            if not self._words.complete or late:
                raise StreamTruncated(
                    "ElevenLabs stopped before the text's end.", provider=PROVIDER
                )
            words = self._words.finish()
        else:
            if spoken_length(self._text) > MAX_CHARS_PER_S * self.heard_s:
                raise StreamTruncated("ElevenLabs sent too little audio.", provider=PROVIDER)
            words = estimated_words(self._text, samples_of(self._audio_bytes))
        return AudioChunk(b"", words) if words else None


class _Words:
    """Puts aligned characters together to the words of the text (`core.text.words`)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = words_of(text)
        self._next = 0
        """The word that is not yet at its end."""
        self._position = 0
        self._start_s: float | None = None
        self._end_s = 0.0
        self.last_end_s = 0.0
        """When the last character that was aligned ends."""

    def extend(self, piece: str) -> None:
        """More text: the last run without a blank may go on, so its words are found anew."""
        run = self._words[-1].start if self._words else 0
        while run and not self._text[run - 1].isspace():
            run -= 1
        while self._words and self._words[-1].start >= run:
            self._words.pop()
        self._text += piece
        found = words_of(self._text[run:])
        self._words += [Word(word.text, run + word.start, run + word.end) for word in found]

    @property
    def complete(self) -> bool:
        """Whether every letter and digit of the text was aligned."""
        return not any(c.isalnum() for c in self._text[self._position :])

    def feed(self, characters: Iterable[Aligned]) -> tuple[WordTiming, ...]:
        done: list[WordTiming] = []
        for character, start_s, end_s in characters:
            if not character:
                continue
            self.last_end_s = max(self.last_end_s, end_s)
            ahead = self._position + _LOOK_AHEAD_CHARS
            at = self._text.find(character, self._position, ahead)
            if at < 0:
                continue
            if character.isspace() and self._text[self._position : at].strip():
                # The vendor adds a blank to each piece that it makes: it is none of the text's.
                continue
            done.extend(self._ended_by(at))
            self._position = at + len(character)
            if not character.isspace():
                self._start_s = start_s if self._start_s is None else self._start_s
                self._end_s = end_s
        return tuple(done)

    def finish(self) -> tuple[WordTiming, ...]:
        return tuple(self._ended_by(len(self._text)))

    def _ended_by(self, position: int) -> list[WordTiming]:
        """The words that end at that place or before; those without any time are left out."""
        done: list[WordTiming] = []
        while self._next < len(self._words) and self._words[self._next].end <= position:
            word = self._words[self._next]
            self._next += 1
            if self._start_s is None:
                continue
            done.append(
                WordTiming(
                    text=word.text,
                    start_ms=round(self._start_s * 1000),
                    end_ms=round(self._end_s * 1000),
                    char_start=word.start,
                    char_end=word.end,
                )
            )
            self._start_s = None
        return done


def estimated_words(text: str, samples: int) -> tuple[WordTiming, ...]:
    """Timings in proportion to the length of the text (`spoken_length`), where the reply carried
    none."""
    whole_ms = duration_ms(samples)
    whole = spoken_length(text)
    words: list[WordTiming] = []
    position, length = 0, 0.0
    for word in words_of(text):
        begins = length + spoken_length(text[position : word.start])
        length = begins + spoken_length(word.text)
        position = word.end
        words.append(
            WordTiming(
                text=word.text,
                start_ms=round(whole_ms * begins / whole),
                end_ms=round(whole_ms * length / whole),
                char_start=word.start,
                char_end=word.end,
                estimated=True,
            )
        )
    return tuple(words)
