"""The Mandarin engine: understood, exact in time, piece by piece without a gap or a click."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.audio.level import TARGET_LUFS, Leveller, loudness_lufs
from core.audio.pcm import AUDIBLE_AMPLITUDE, RATE_HZ, SAMPLE_BYTES, duration_ms
from core.errors import ConfigurationError
from core.speech import WordTiming
from core.text.words import words_of
from core.voices.kokoro import Kokoro
from core.voices.kokoro_net import UNIT_SAMPLES
from core.voices.kokoro_pieces import LEAD_UNITS
from core.voices.pitch import speak_at
from core.voices.registry import ENGINES, EngineOptions, Passage
from tests.recogniser import Recogniser, word_error_rate
from tests.sentences import MANDARIN, MOST_ERRORS

VOICE = "zf_xiaobei"
SHORT = "您好，我在。"


@pytest.fixture(scope="module")
def kokoro(tmp_path_factory: pytest.TempPathFactory) -> Kokoro:
    """The engine with its files in a directory of its own."""
    return Kokoro(EngineOptions(str(tmp_path_factory.mktemp("kokoro"))))


class Spoken:
    """A text as it was spoken; `ready_s[i]` is the processor's time until passage `i` was there."""

    def __init__(self, engine: Kokoro, text: str, speed: float = 1.0) -> None:
        self.text = text
        self.passages: list[Passage] = []
        self.ready_s: list[float] = []
        start = time.process_time()
        for passage in engine.speak(VOICE, text, speed=speed, seed=None):
            self.passages.append(passage)
            self.ready_s.append(time.process_time() - start)
        self.pcm = b"".join(passage.pcm for passage in self.passages)

    @property
    def words(self) -> list[WordTiming]:
        """At the time of the whole."""
        words: list[WordTiming] = []
        base = 0
        for passage in self.passages:
            for word in passage.words:
                start, end = (word.start_ms + base, word.end_ms + base)
                words.append(msgspec.structs.replace(word, start_ms=start, end_ms=end))
            base += duration_ms(samples_in(passage))
        return words

    @property
    def samples(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.frombuffer(self.pcm, "<i2").astype(np.int64)


@pytest.fixture(scope="module")
def spoken(kokoro: Kokoro) -> list[Spoken]:
    """The ten sentences."""
    list(kokoro.speak(VOICE, SHORT, speed=1.0, seed=None))
    return [Spoken(kokoro, text) for text in MANDARIN]


def samples_in(passage: Passage) -> int:
    return len(passage.pcm) // SAMPLE_BYTES


def check(spoken: Spoken) -> None:
    """Every word once, in order, where it stands in the text and inside its passage."""
    words = [word for passage in spoken.passages for word in passage.words]
    expected = words_of(spoken.text) if spoken.passages else []
    assert [(w.text, w.char_start, w.char_end) for w in words] == [
        (word.text, word.start, word.end) for word in expected
    ]
    for passage in spoken.passages:
        assert len(passage.pcm) % SAMPLE_BYTES == 0
        at = 0
        for word in passage.words:
            assert at <= word.start_ms <= word.end_ms
            at = word.end_ms
        assert at <= samples_in(passage) * 1000 / RATE_HZ


@pytest.mark.long
def test_what_is_said_is_understood(spoken: list[Spoken], recogniser: Recogniser) -> None:
    errors = characters = 0.0
    for one in spoken:
        said = sum(character.isalnum() for character in one.text)
        heard = recogniser.transcribe(one.pcm, RATE_HZ, "zh")
        errors += word_error_rate(one.text, heard, "zh") * said
        characters += said
    assert errors / characters <= MOST_ERRORS["zh"]


@pytest.mark.long
def test_each_han_character_is_timed_exactly(spoken: list[Spoken]) -> None:
    for one in spoken:
        check(one)
        for passage in one.passages:
            for word in passage.words:
                assert not word.estimated
                assert 50 <= word.end_ms - word.start_ms <= 700, word


@pytest.mark.long
def test_audio_ends_where_the_timing_says(spoken: list[Spoken], recogniser: Recogniser) -> None:
    """Cut after a character, the recogniser hears those up to it and few others."""
    errors = count = 0.0
    for one in spoken[::2]:
        chars, end = one.words[7].char_end, one.words[7].end_ms * RATE_HZ // 1000
        heard = recogniser.transcribe(one.pcm[: end * SAMPLE_BYTES], RATE_HZ, "zh")
        errors += word_error_rate(one.text[:chars], heard, "zh") * chars
        count += chars
    assert errors / count <= 0.2  # one character more or less in each would be 0.13


@pytest.mark.long
def test_characters_sound_between_their_times(spoken: list[Spoken]) -> None:
    for one in spoken:
        samples, words = np.abs(one.samples), one.words
        assert samples[: max(0, words[0].start_ms - 75) * 24].max(initial=0) <= AUDIBLE_AMPLITUDE
        assert samples[(words[-1].end_ms + 25) * 24 :].max() <= AUDIBLE_AMPLITUDE
        for word in words:
            assert samples[word.start_ms * 24 : word.end_ms * 24].max() > 1000, word.text


@pytest.mark.long
def test_first_audio_is_a_few_words_after_little_work(spoken: list[Spoken]) -> None:
    for one in spoken:
        first = one.passages[0]
        assert 1 <= len(first.words) <= 6
        assert 0.3 <= samples_in(first) / RATE_HZ <= 1.3
    assert np.median([one.ready_s[0] for one in spoken]) < 0.9


@pytest.mark.long
def test_playback_does_not_run_dry(spoken: list[Spoken]) -> None:
    """By the processor's time: another program at work is no reason to fail."""
    late = 0
    for one in spoken:
        until = one.ready_s[0]
        for passage, ready_s in zip(one.passages, one.ready_s, strict=True):
            late += ready_s > until
            until = max(until, ready_s) + samples_in(passage) / RATE_HZ
    assert late == 0


def test_a_passage_says_whether_it_goes_on(kokoro: Kokoro) -> None:
    passages = Spoken(kokoro, "这套公寓有两间卧室。您想看吗？").passages
    ends = [p.words[-1].text for p in passages if not p.goes_on]
    assert ends == ["室。", "吗？"]
    assert sum(passage.goes_on for passage in passages) >= 1


@pytest.mark.long
def test_passages_are_joined_without_a_click(spoken: list[Spoken]) -> None:
    """The wave bends no more sharply where two passages meet than it does around."""
    check_joins([one.passages for one in spoken])


class Again:
    """A voice that says what was spoken already."""

    voices = frozenset({VOICE})

    def __init__(self, passages: list[Passage]) -> None:
        self._passages = passages

    def speak(self, voice: str, text: str, *, speed: float, seed: int | None) -> Iterator[Passage]:
        yield from self._passages


@pytest.mark.long
@pytest.mark.parametrize(("cents", "speed"), [(-250, 0.94), (100, 1.04)])
def test_so_are_they_at_another_pitch(spoken: list[Spoken], cents: int, speed: float) -> None:
    changed = [
        list(speak_at(Again(one.passages), VOICE, one.text, cents=cents, speed=speed, seed=None))
        for one in spoken
    ]
    check_joins(changed)
    for one, passages in zip(spoken, changed, strict=True):
        words = [word for passage in passages for word in passage.words]
        assert [word.char_start for word in words] == [word.char_start for word in one.words]


def check_joins(texts: list[list[Passage]]) -> None:
    ratios = []
    for passages in texts:
        samples = np.concatenate([np.frombuffer(p.pcm, "<i2").astype(np.int64) for p in passages])
        bends = np.abs(np.diff(samples, 2))
        at = 0
        for passage in passages[:-1]:
            at += samples_in(passage)
            around = bends[max(0, at - 1200) : at + 1200]
            ratios.append(bends[at - 30 : at + 30].max() / np.percentile(around, 99.5))
    assert len(ratios) > 20
    assert max(ratios) < 3.5
    assert np.median(ratios) < 1.5


@pytest.mark.long
def test_sentences_are_equally_loud(spoken: list[Spoken]) -> None:
    """Though the first audio of each left before the rest of it was known."""
    leveller = Leveller(ENGINES["kokoro"].usual_lufs)
    loudness = [
        loudness_lufs(
            np.concatenate(
                [
                    np.frombuffer(leveller.apply(p.pcm, goes_on=p.goes_on), "<i2").astype(
                        np.float32
                    )
                    for p in one.passages
                ]
            )
        )
        for one in spoken
    ]
    assert np.mean(loudness) == pytest.approx(TARGET_LUFS, abs=0.5)
    assert np.abs(np.diff(loudness)).max() <= 1, loudness


@pytest.mark.long
def test_pieces_are_as_loud_as_in_the_sentence(kokoro: Kokoro, spoken: list[Spoken]) -> None:
    (reading,) = kokoro._reader.read(spoken[0].text)
    plan = kokoro._net.plan(reading.symbols, 1.0)
    whole = kokoro._net.decode(plan, 0, plan.units, 0.0) * 32_767
    start = (int(np.flatnonzero(plan.sounding)[0]) - LEAD_UNITS) * UNIT_SAMPLES
    steps = []
    for passage in spoken[0].passages[:-1]:
        ours = np.frombuffer(passage.pcm, "<i2").astype(np.float32)
        theirs = whole[start : start + len(ours)]
        steps.append(20 * np.log10(ours.std() / theirs.std()))
        start += len(ours)
    assert max(steps) - min(steps) < 1.5
    assert abs(steps[0]) < 3.0


@pytest.mark.long
def test_it_begins_and_ends_in_silence(spoken: list[Spoken]) -> None:
    for one in spoken:
        loud = np.flatnonzero(np.abs(one.samples) > AUDIBLE_AMPLITUDE)
        assert loud[0] < 0.1 * RATE_HZ
        assert 0.3 * RATE_HZ < len(one.samples) - loud[-1] < 0.6 * RATE_HZ
        assert abs(one.samples[0]) <= 1
        assert not one.samples[-RATE_HZ // 4 :].any()


@pytest.mark.long
def test_same_words_same_audio_whatever_came_before(kokoro: Kokoro, spoken: list[Spoken]) -> None:
    abandoned = kokoro.speak(VOICE, MANDARIN[0], speed=1.0, seed=1)
    next(abandoned)
    again = Spoken(kokoro, MANDARIN[7])
    assert again.pcm == spoken[7].pcm
    abandoned.close()  # type: ignore[attr-defined]
    assert [p.words for p in again.passages] == [p.words for p in spoken[7].passages]


@pytest.mark.long
def test_two_texts_at_once_do_not_mix(kokoro: Kokoro, spoken: list[Spoken]) -> None:
    one = kokoro.speak(VOICE, MANDARIN[7], speed=1.0, seed=None)
    two = kokoro.speak(VOICE, MANDARIN[1], speed=1.0, seed=None)
    for (mine, theirs), expected in zip(
        zip(one, two, strict=False),
        zip(spoken[7].passages, spoken[1].passages, strict=False),
        strict=False,
    ):
        assert (mine.pcm, theirs.pcm) == (expected[0].pcm, expected[1].pcm)


def test_speed_changes_the_length_within_bounds(kokoro: Kokoro) -> None:
    lengths = [len(Spoken(kokoro, SHORT, speed).pcm) for speed in (0.1, 0.5, 1.0, 2.0, 9.0)]
    assert lengths[0] == lengths[1]
    assert lengths[-1] == lengths[-2]
    assert all(slower > faster for slower, faster in pairwise(lengths[1:-1]))


EDGE_TEXTS = (
    "",
    " \n\t ",
    "😀 🎉",
    "。。。",
    "Привет",
    "1",
    "A",
    "A座VIP客户，电话138。",
    "😀 好 👍，。 😀",
    "“好”",
    "abc好def",
    "龘𠮷",
    "<genfile file='/tmp/x'>好",
)


@pytest.mark.parametrize("text", EDGE_TEXTS, ids=lambda text: repr(text)[:16])
def test_no_text_is_too_odd(kokoro: Kokoro, text: str) -> None:
    spoken = Spoken(kokoro, text)
    check(spoken)
    assert bool(spoken.pcm) == any(character in text for character in "1A好龘")


@pytest.mark.parametrize("speed", [0.7, 1.5])
@pytest.mark.parametrize("text", ["啊？", "好", "您好。", "诗诗诗诗诗诗诗"])
def test_few_or_odd_syllables_are_heard(kokoro: Kokoro, text: str, speed: float) -> None:
    """The usual norms are not those of such texts."""
    assert np.abs(Spoken(kokoro, text, speed).samples).max() > 2000


def test_a_long_text_without_punctuation_begins_as_soon_as_any(kokoro: Kokoro) -> None:
    text = "我们今天去看一套很大的房子然后再决定要不要买" * 28
    passages = kokoro.speak(VOICE, text, speed=1.0, seed=None)
    start = time.process_time()
    first = next(passages)
    assert time.process_time() - start < 1.5
    assert len(first.words) <= 6
    following = [next(passages) for _ in range(4)]
    assert max(samples_in(passage) for passage in following) < 3 * RATE_HZ
    words = [word for passage in (first, *following) for word in passage.words]
    assert "".join(word.text for word in words) == text[: len(words)]


def test_english_words_are_said_in_between(kokoro: Kokoro, recogniser: Recogniser) -> None:
    spoken = Spoken(kokoro, "您是我们的VIP客户。")
    check(spoken)
    assert "vip" in recogniser.transcribe(spoken.pcm, RATE_HZ, "zh").lower()


def test_only_its_own_voice(kokoro: Kokoro) -> None:
    with pytest.raises(KeyError):
        next(kokoro.speak("zf_xiaoni", "您好。", speed=1.0, seed=None))


def test_a_model_that_is_not_there_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    where = tmp_path_factory.mktemp("none")
    with pytest.raises(ConfigurationError, match="SEIKETSU_KOKORO_MODEL"):
        Kokoro(EngineOptions(str(where), str(where / "nowhere.onnx")))


def test_a_kept_file_that_cannot_be_loaded_is_made_anew(tmp_path: Path) -> None:
    options = EngineOptions(str(tmp_path))
    expected = Spoken(Kokoro(options), "好。").pcm
    (path,) = (tmp_path / "kokoro").glob("*decoder.onnx")
    times = path.stat()
    path.write_bytes(b"\xff" * times.st_size)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # so that it looks untouched
    assert Spoken(Kokoro(options), "好。").pcm == expected
