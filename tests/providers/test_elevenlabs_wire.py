"""ElevenLabs' wire: lines cut anywhere, words, truncation, and errors by their own code."""

from __future__ import annotations

import base64
import itertools
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import (
    BadAudio,
    ProviderBusy,
    ProviderRejected,
    ProviderUnavailable,
    StreamTruncated,
)
from core.providers.elevenlabs_wire import TimestampStream, error_of, request_body
from core.speech import AudioChunk, VoiceSettings
from tests.fakes import attempt, tone

TEXT = "Hello, dear world."


def line(pcm: bytes, characters: str = "", start_s: float = 0.0, step_s: float = 0.1) -> bytes:
    alignment = None
    if characters:
        starts = [start_s + i * step_s for i in range(len(characters))]
        alignment = {
            "characters": list(characters),
            "character_start_times_seconds": starts,
            "character_end_times_seconds": [s + step_s for s in starts],
        }
    body = {"audio_base64": base64.b64encode(pcm).decode(), "alignment": alignment}
    return json.dumps(body | {"normalized_alignment": None}).encode() + b"\n"


def whole() -> tuple[bytes, bytes]:
    first, second = tone(700), tone(1100)
    return line(first, TEXT[:7]) + b"\n" + line(second, TEXT[7:], 0.7), first + second


def play(data: bytes, cuts: list[int]) -> list[AudioChunk]:
    stream = TimestampStream(TEXT)
    places = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    out: list[AudioChunk] = []
    for a, b in itertools.pairwise(places):
        if a < b:
            out += stream.feed(data[a:b])
    return out + stream.finish()


@given(st.lists(st.integers(0, 120_000), max_size=12))
def test_the_outcome_does_not_depend_on_where_the_network_cuts(cuts: list[int]) -> None:
    data, pcm = whole()
    chunks = play(data, cuts)
    assert b"".join(c.pcm for c in chunks) == pcm
    words = [w for c in chunks for w in c.words]
    assert [w.text for w in words] == ["Hello,", "dear", "world."]
    assert [TEXT[w.char_start : w.char_end] for w in words] == ["Hello,", "dear", "world."]
    assert [(w.start_ms, w.end_ms) for w in words] == [(0, 600), (700, 1100), (1200, 1800)]
    assert not any(w.estimated for w in words)


def test_a_clean_end_before_the_last_word_is_truncation() -> None:
    data, _ = whole()
    stream = TimestampStream(TEXT)
    stream.feed(data.split(b"\n")[0] + b"\n")
    with pytest.raises(StreamTruncated):
        stream.finish()


@pytest.mark.parametrize("heard_ms", [100, 900, 1500])
def test_audio_that_ends_before_its_own_timings_is_truncation(heard_ms: int) -> None:
    stream = TimestampStream(TEXT)
    stream.feed(line(tone(heard_ms), TEXT))
    with pytest.raises(StreamTruncated):
        stream.finish()


def test_empty_characters_and_long_codes_harm_nobody() -> None:
    stream = TimestampStream(TEXT)
    empty = line(tone(100), "H").replace(b'["H"]', b'[""]')
    stream.feed(empty + line(tone(1800), TEXT))
    assert stream.finish()
    error = error_of(401, detail(code="The key sk-12345 for Mrs. Smith is wrong."))
    assert "sk-12345" not in str(error)


def test_an_end_inside_a_line_is_truncation() -> None:
    data, _ = whole()
    stream = TimestampStream(TEXT)
    stream.feed(data[:-40])
    with pytest.raises(StreamTruncated):
        stream.finish()


def test_without_alignment_words_are_estimated_and_say_so() -> None:
    stream = TimestampStream(TEXT)
    chunks = stream.feed(line(tone(1200))) + stream.finish()
    words = [w for c in chunks for w in c.words]
    assert [w.text for w in words] == TEXT.split()
    assert all(w.estimated for w in words)
    assert words[-1].end_ms == 1200


CHINESE = "您好，WiFi在“大堂”。"


def test_a_han_character_is_a_word_with_its_own_time() -> None:
    stream = TimestampStream(CHINESE)
    data = line(tone(700), CHINESE[:5]) + line(tone(1000), CHINESE[5:], 0.5)
    chunks = [chunk for at in range(len(data)) for chunk in stream.feed(data[at : at + 1])]
    words = [w for c in chunks + stream.finish() for w in c.words]
    assert [w.text for w in words] == ["您", "好，", "WiFi", "在", "“大", "堂”。"]
    assert [CHINESE[w.char_start : w.char_end] for w in words] == [w.text for w in words]
    assert [(w.start_ms, w.end_ms) for w in words] == [
        *[(0, 100), (100, 300), (300, 700), (700, 800), (800, 1000), (1000, 1300)]
    ]
    assert not any(w.estimated for w in words)


def test_each_word_is_out_as_soon_as_the_next_begins() -> None:
    stream = TimestampStream(CHINESE)
    chunks = stream.feed(line(tone(700), CHINESE[:5]))
    assert [w.text for c in chunks for w in c.words] == ["您", "好，"]


@pytest.mark.parametrize("heard", ["您", "您好，WiFi在“大"])
def test_a_chinese_reply_that_stops_early_is_truncation(heard: str) -> None:
    stream = TimestampStream(CHINESE)
    stream.feed(line(tone(2000), heard))
    with pytest.raises(StreamTruncated):
        stream.finish()


SENTENCE = "这套公寓有两间卧室和一个很大的阳台。"


@pytest.mark.parametrize(("heard_ms", "whole"), [(4000, True), (2600, True), (1300, False)])
def test_without_alignment_a_third_of_a_chinese_sentence_is_truncation(
    heard_ms: int, whole: bool
) -> None:
    stream = TimestampStream(SENTENCE)
    stream.feed(line(tone(heard_ms)))
    if not whole:
        with pytest.raises(StreamTruncated):
            stream.finish()
        return
    [words] = [c.words for c in stream.finish()]
    assert [w.text for w in words] == [*SENTENCE[:-2], "台。"]
    assert (words[0].start_ms, words[-1].end_ms) == (0, heard_ms)
    assert len({w.end_ms - w.start_ms for w in words[:-1]}) <= 2, "all take the same time"


def test_without_alignment_too_little_audio_is_truncation() -> None:
    stream = TimestampStream(TEXT)
    stream.feed(line(tone(200)))
    with pytest.raises(StreamTruncated):
        stream.finish()


@pytest.mark.parametrize("body", [b"", b"\n\n", line(b""), b"{}\n"])
def test_no_audio_at_all_is_bad_audio(body: bytes) -> None:
    stream = TimestampStream(TEXT)
    stream.feed(body)
    with pytest.raises(BadAudio):
        stream.finish()


@pytest.mark.parametrize("junk", [b"<html>no</html>\n", b'{"audio_base64": 7}\n', b"\xff\xfe\n"])
def test_a_line_that_is_not_the_wire_is_bad_audio(junk: bytes) -> None:
    with pytest.raises(BadAudio):
        TimestampStream(TEXT).feed(junk)


def test_an_endless_line_is_refused_and_not_kept() -> None:
    stream = TimestampStream(TEXT)
    for _ in range(41):
        stream.feed(b"x" * 100_000)
    with pytest.raises(BadAudio):
        stream.feed(b"x" * 100_000)


def test_half_a_sample_waits_for_its_other_half() -> None:
    pcm = tone(1200)
    stream = TimestampStream(TEXT)
    chunks = stream.feed(line(pcm[:1001]) + line(pcm[1001:])) + stream.finish()
    assert all(len(c.pcm) % 2 == 0 for c in chunks)
    assert b"".join(c.pcm for c in chunks) == pcm


def detail(**fields: str) -> bytes:
    return json.dumps({"detail": fields}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, detail(code="invalid_api_key"), ProviderRejected, "invalid_api_key"),
        (401, detail(code="quota_exceeded"), ProviderRejected, "quota_exceeded"),
        (401, detail(status="invalid_api_key"), ProviderRejected, "invalid_api_key"),
        (404, detail(code="voice_not_found"), ProviderRejected, "voice_not_found"),
        (429, detail(code="concurrent_limit_exceeded"), ProviderBusy, "concurrent_limit_exceeded"),
        (429, detail(status="too_many_concurrent_requests"), ProviderBusy, None),
        (429, b"slow down", ProviderBusy, None),
        (400, detail(code="system_busy"), ProviderBusy, "system_busy"),
        (503, detail(code="maintenance"), ProviderUnavailable, "maintenance"),
        (500, b"", ProviderUnavailable, None),
        (502, b"<html>", ProviderUnavailable, None),
        (
            422,
            b'{"detail":[{"loc":["body","text"],"msg":"x","type":"missing"}]}',
            ProviderRejected,
            None,
        ),
        (400, b'{"detail":"plain"}', ProviderRejected, None),
        (418, b"[]", ProviderRejected, None),
    ],
)
def test_errors_are_told_by_their_code_and_not_by_status_alone(
    status: int, body: bytes, kind: type, code: str | None
) -> None:
    error = error_of(status, body)
    assert type(error) is kind
    assert code is None or error.vendor_code == code


def test_the_vendors_sentence_is_not_repeated() -> None:
    error = error_of(400, detail(code="invalid_api_key", message="key sk_secret is bad"))
    assert "sk_secret" not in str(error)


def test_null_settings_are_left_out_of_the_body() -> None:
    asked = attempt()
    body = json.loads(request_body("Hi.", asked))
    assert body == {"text": "Hi.", "model_id": "m"}
    tuned = msgspec.structs.replace(
        asked, settings=VoiceSettings(stability=0.5), model="eleven_flash_v2_5", seed=7
    )
    assert json.loads(request_body("Hi.", tuned)) == {
        "text": "Hi.",
        "model_id": "eleven_flash_v2_5",
        "voice_settings": {"stability": 0.5},
        "language_code": "en",
        "seed": 7,
    }
