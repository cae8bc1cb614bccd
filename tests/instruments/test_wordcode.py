"""The word code proves words through codecs and levels, and names every kind of damage."""

from __future__ import annotations

import time

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import wordcode
from benchmarks.wordcode import CodedWord, decode, encode, matches, matches_segments, words_of
from core.audio.pcm import AUDIBLE_AMPLITUDE
from tests.instruments import wire

TEXT = (
    "Good morning, Ms. Álvarez: the house at 12 O'Connor Street has three bedrooms, two baths and "
    "a garden; would Tuesday at 5:30 suit you for a viewing — or Wednesday?"
)
WORDS = ["house", "Garden,", "three", "don't", "12", "São", "well-kept", "A", "street.", "价"]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=40).map(" ".join)


def _decoded(body: bytes, codec: str, rate_hz: int) -> bytes:
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.AudioCodecContext)
    if codec == "pcm_mulaw":
        decoder.sample_rate, decoder.layout = rate_hz, "mono"
    packets = decoder.parse(body) if codec == "mp3" else [av.Packet(body)]
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.concatenate([f.to_ndarray().reshape(-1) for f in frames]).astype("<i2").tobytes()


def _level(pcm: bytes, db: float) -> bytes:
    return (np.frombuffer(pcm, "<i2") * 10 ** (db / 20)).astype("<i2").tobytes()


def _silence(ms: int, rate_hz: int = 24_000) -> bytes:
    return bytes(2 * (rate_hz * ms // 1000))


def test_every_word_is_read_back_with_its_time() -> None:
    pcm, timings = encode(TEXT)
    heard = decode(pcm, 24_000)
    assert matches(TEXT, heard).ok
    assert [t.text for t in timings] == list(words_of(TEXT))
    assert all(TEXT[t.char_start : t.char_end] == t.text for t in timings)
    assert all(abs(h.start_ms - t.start_ms) <= 10 for h, t in zip(heard, timings, strict=True))


@pytest.mark.parametrize("kbps", [128, 48])
@pytest.mark.parametrize("db", [0.0, -12.0])
def test_it_survives_mp3(kbps: int, db: float) -> None:
    pcm = _silence(730) + _level(encode(TEXT)[0], db) + _silence(410)
    heard = decode(_decoded(wire.mp3(pcm, 24_000, kbps), "mp3", 24_000), 24_000)
    assert matches(TEXT, heard).ok


@pytest.mark.parametrize("db", [0.0, -12.0])
def test_it_survives_telephone_ulaw(db: float) -> None:
    narrow = wire.resample(_level(encode(TEXT)[0], db), 24_000, 8_000)
    body = wire.ulaw(_silence(300, 8_000) + narrow + _silence(300, 8_000))
    assert matches(TEXT, decode(_decoded(body, "pcm_mulaw", 8_000), 8_000)).ok


def test_levels_may_change_between_and_within_segments() -> None:
    first, second = encode("One two three four.")[0], encode("Five six seven.")[0]
    pcm = first[: len(first) // 2] + _level(first[len(first) // 2 :], -12.0) + _level(second, -6.0)
    verdict = matches_segments("One two three four. Five six seven.", decode(pcm, 24_000))
    assert verdict.ok
    assert verdict.segments == 2


@settings(max_examples=40, deadline=None)
@given(
    text=texts,
    rate_hz=st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000]),
    lead_ms=st.integers(0, 900),
    tail_ms=st.integers(0, 900),
    db=st.floats(-12, 0),
)
def test_any_text_round_trips(
    text: str, rate_hz: int, lead_ms: int, tail_ms: int, db: float
) -> None:
    pcm = _silence(lead_ms, rate_hz) + _level(encode(text, rate_hz)[0], db)
    assert matches(text, decode(pcm + _silence(tail_ms, rate_hz), rate_hz)).ok


@settings(max_examples=40, deadline=None)
@given(parts=st.lists(texts, min_size=1, max_size=4))
def test_segments_are_counted_and_joined(parts: list[str]) -> None:
    pcm = b"".join(encode(part)[0] for part in parts)
    verdict = matches_segments(" ".join(parts), decode(pcm, 24_000))
    assert verdict.ok
    assert verdict.segments == len(parts)


def _heard(text: str) -> list[CodedWord]:
    return decode(encode(text)[0], 24_000)


DISTINCT = "alpha bravo charlie delta echo foxtrot golf hotel"


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 7))
def test_a_lost_word_is_missing(at: int) -> None:
    heard = _heard(DISTINCT)
    gone = DISTINCT.split()[at]
    del heard[at]
    assert matches(DISTINCT, heard).missing == (gone,)
    assert matches_segments(DISTINCT, heard).missing == (gone,)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 7))
def test_a_word_said_twice_is_repeated(at: int) -> None:
    heard = _heard(DISTINCT)
    heard.insert(at, heard[at])
    twice = (DISTINCT.split()[at],)
    assert matches(DISTINCT, heard).repeated == twice
    found = matches_segments(DISTINCT, heard)
    assert (found.repeated, found.ok) == (twice, False)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 6))
def test_swapped_words_are_out_of_order(at: int) -> None:
    heard = _heard(DISTINCT)
    heard[at], heard[at + 1] = heard[at + 1], heard[at]
    found = matches(DISTINCT, heard)
    assert len(found.out_of_order) == 1
    assert (found.missing, found.repeated, found.wrong) == ((), (), ())
    assert not matches_segments(DISTINCT, heard).ok


def test_another_word_in_its_place_is_wrong() -> None:
    heard = _heard(DISTINCT.replace("delta", "dinner"))
    assert matches(DISTINCT, heard).wrong == ("delta",)


def test_a_segment_spoken_twice_or_in_the_wrong_order_is_seen() -> None:
    one, two = "alpha bravo charlie.", "delta echo."
    a, b = encode(one)[0], encode(two)[0]
    twice = matches_segments(f"{one} {two}", decode(a + a + b, 24_000))
    assert twice.repeated == ("alpha", "bravo", "charlie.")
    swapped = matches_segments(f"{one} {two}", decode(b + a, 24_000))
    assert not swapped.ok
    assert swapped.out_of_order


def test_a_run_that_lost_its_start_breaks_the_index() -> None:
    found = matches_segments("bravo charlie", _heard("alpha bravo charlie")[1:])
    assert found.index_breaks == 1
    assert not found.ok


def test_a_burst_cut_in_the_middle_is_not_a_word() -> None:
    pcm, timings = encode(DISTINCT)
    cut = (timings[-1].start_ms + 80) * 48
    found = matches(DISTINCT, decode(pcm[:cut], 24_000))
    assert found.wrong == ("hotel",)


def test_noise_and_silence_hold_no_words() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 4_000, 48_000).astype("<i2").tobytes()
    assert all(word.index == wordcode.UNREADABLE for word in decode(noise, 24_000))
    assert decode(_silence(1_000), 24_000) == []
    assert decode(b"", 24_000) == []
    assert matches(DISTINCT, []).missing == tuple(DISTINCT.split())


def test_the_room_between_bursts_is_not_audible() -> None:
    pcm, timings = encode("one two")
    gap = np.frombuffer(pcm, "<i2")[timings[0].end_ms * 24 : timings[1].start_ms * 24]
    assert 0 < np.abs(gap.astype(int)).max() <= AUDIBLE_AMPLITUDE


def test_more_than_256_words_wrap() -> None:
    text = " ".join(f"word{n}" for n in range(300))
    heard = _heard(text)
    assert matches(text, heard).ok
    assert matches_segments(text, heard).segments == 1


def test_twelve_seconds_cost_a_few_ms() -> None:
    text = " ".join(["something"] * 20)
    encode(text)
    costs = []
    for _ in range(5):
        began = time.perf_counter()
        pcm, _ = encode(text)
        costs.append(time.perf_counter() - began)
    assert len(pcm) >= 12 * 48_000
    assert min(costs) < 0.005
