from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.audio.pcm import AUDIBLE_AMPLITUDE, RATE_HZ
from core.audio.silence import PRE_ROLL_SAMPLES, LeadTrimmer, first_audible
from core.speech import AudioChunk, WordTiming
from tests.audio.conftest import samples


def word(start_ms: int, end_ms: int) -> WordTiming:
    return WordTiming(text="w", start_ms=start_ms, end_ms=end_ms, char_start=0, char_end=1)


def stream(silent: int, loud: int, level: int = 1000) -> bytes:
    quiet = np.resize(np.array([AUDIBLE_AMPLITUDE, -AUDIBLE_AMPLITUDE, 3]), silent)
    return np.concatenate([quiet, np.resize([level, -level], loud)]).astype("<i2").tobytes()


def trimmed(pcm: bytes, words: list[WordTiming], cuts: list[int]) -> tuple[bytes, list[WordTiming]]:
    """Feed the stream cut at those samples; each word goes with the chunk that it starts in."""
    trimmer = LeadTrimmer()
    out = b""
    kept: list[WordTiming] = []
    edges = [0, *sorted(cuts), len(pcm) // 2]
    for start, end in itertools.pairwise(edges):
        last = end == len(pcm) // 2
        mine = tuple(
            w for w in words if start <= w.start_ms * 24 and (w.start_ms * 24 < end or last)
        )
        words = [w for w in words if w not in mine]
        fed = trimmer.feed(AudioChunk(pcm=pcm[2 * start : 2 * end], words=mine))
        assert trimmer.heard == (fed is not None)
        if fed is not None:
            out += fed.pcm
            kept += fed.words
    return out, kept


@given(
    silent=st.integers(0, 3000),
    loud=st.integers(1, 500),
    cuts=st.lists(st.integers(0, 3000), max_size=12),
    starts=st.lists(st.integers(0, 150), max_size=5, unique=True),
)
def test_cutting_does_not_matter(
    silent: int, loud: int, cuts: list[int], starts: list[int]
) -> None:
    pcm = stream(silent, loud)
    words = [word(start, start + 20) for start in sorted(starts)]
    cuts = [cut for cut in cuts if cut <= silent + loud]
    out, kept = trimmed(pcm, words, cuts)
    assert (out, kept) == trimmed(pcm, words, [])
    dropped = max(0, silent - PRE_ROLL_SAMPLES)
    assert out == pcm[2 * dropped :]
    by_ms = round(dropped / 24)
    assert [w.start_ms for w in kept] == [max(0, w.start_ms - by_ms) for w in words]
    assert all(0 <= w.start_ms <= w.end_ms for w in kept)


@given(st.lists(st.integers(-AUDIBLE_AMPLITUDE, AUDIBLE_AMPLITUDE), max_size=2000))
def test_nothing_ever_comes_of_silence(values: list[int]) -> None:
    trimmer = LeadTrimmer()
    pcm = np.array(values, dtype="<i2").tobytes()
    for _ in range(3):
        assert trimmer.feed(AudioChunk(pcm=pcm, words=(word(0, 10),))) is None
    assert not trimmer.heard


def test_memory_is_bounded_whatever_the_silence() -> None:
    trimmer = LeadTrimmer()
    for _ in range(600):
        assert trimmer.feed(AudioChunk(pcm=bytes(9600))) is None
    assert len(trimmer._pre_roll) == 2 * PRE_ROLL_SAMPLES
    assert trimmer.dropped_samples == 600 * 4800 - PRE_ROLL_SAMPLES


def test_the_loudest_negative_sample_is_heard() -> None:
    assert first_audible(np.array([0, -32768], dtype="<i2").tobytes()) == 1
    assert first_audible(np.array([AUDIBLE_AMPLITUDE], dtype="<i2").tobytes()) is None
    assert first_audible(np.array([AUDIBLE_AMPLITUDE + 1], dtype="<i2").tobytes()) == 0
    assert first_audible(b"") is None


def test_after_the_first_sound_chunks_pass_untouched() -> None:
    trimmer = LeadTrimmer()
    trimmer.feed(AudioChunk(pcm=stream(2400, 10)))
    plain = AudioChunk(pcm=bytes(960))
    assert trimmer.feed(plain) is plain
    spoken = AudioChunk(pcm=bytes(960), words=(word(200, 300),))
    moved = trimmer.feed(spoken)
    assert moved is not None
    assert moved.pcm is spoken.pcm
    assert moved.words == (word(110, 210),)


def test_speech_starts_within_the_pre_roll(spoken: dict[str, bytes]) -> None:
    for pcm in spoken.values():
        lead_ms = (first_audible(pcm) or 0) * 1000 / RATE_HZ
        assert lead_ms > 100, "this voice begins with silence, or the test shows nothing"
        trimmer = LeadTrimmer()
        kept = [
            trimmer.feed(AudioChunk(pcm=pcm[at : at + 4800])) for at in range(0, len(pcm), 4800)
        ]
        out = b"".join(chunk.pcm for chunk in kept if chunk is not None)
        assert first_audible(out) == PRE_ROLL_SAMPLES
        assert np.array_equal(samples(out), samples(pcm)[-len(out) // 2 :])
