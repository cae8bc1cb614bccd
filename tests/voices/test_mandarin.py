"""Mandarin text as phonemes: any text, each Han character with its own sounds."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.voices.kokoro_net import vocabulary
from core.voices.mandarin import MAX_SYMBOLS, Mandarin, Reading
from tests.sentences import MANDARIN

VOCABULARY = vocabulary()


@pytest.fixture(scope="module")
def reader() -> Mandarin:
    return Mandarin(VOCABULARY)


def symbols_of(reader: Mandarin, text: str) -> str:
    return " | ".join(reading.symbols for reading in reader.read(text))


def check(text: str, readings: list[Reading]) -> None:
    """Known symbols, each sounding stretch of the text once, in order."""
    at = 0
    for reading in readings:
        assert 0 < len(reading.symbols) <= MAX_SYMBOLS
        assert set(reading.symbols) <= VOCABULARY.keys()
        assert reading.spans
        symbol = 0
        for span in reading.spans:
            assert at <= span.start < span.end <= len(text)
            assert symbol <= span.first <= span.last <= len(reading.symbols)
            symbol = span.last
            at = span.start
        assert set(reading.words) <= {span.first for span in reading.spans[1:]}


def test_the_phonemes_are_those_that_kokoro_was_trained_on(
    reader: Mandarin, tmp_path: Path
) -> None:
    import jieba  # after the reader has: it warns
    from misaki.zh import ZHG2P

    jieba.dt.tmp_dir = str(tmp_path)
    theirs = ZHG2P()
    for text in MANDARIN:
        expected, _ = theirs(text)
        assert symbols_of(reader, text) == "".join(s for s in expected if s in VOCABULARY)


def test_each_han_character_has_its_own_symbols(reader: Mandarin) -> None:
    for text in MANDARIN:
        (reading,) = reader.read(text)
        spoken = [text[span.start : span.end] for span in reading.spans]
        assert "".join(spoken) == "".join(c for c in text if c.isalnum())
        assert all(len(character) == 1 for character in spoken)
        assert all(span.first < span.last for span in reading.spans)


def test_a_character_sounds_as_its_word_wants_it(reader: Mandarin) -> None:
    assert symbols_of(reader, "银行") != symbols_of(reader, "银") + symbols_of(reader, "行人")
    assert "xa↗ŋ" in symbols_of(reader, "银行")
    assert "ɕi↗ŋ" in symbols_of(reader, "行人")


def test_words_of_latin_letters_are_read_and_single_letters_spelled(reader: Mandarin) -> None:
    assert symbols_of(reader, "A座") == "ˈA ʦwo↘"
    assert symbols_of(reader, "我们有loft户型") == "wo↓mən jou↓ lˈɔft xu↘ɕi↗ŋ"
    (reading,) = reader.read("VIP客户")
    assert (reading.spans[0].start, reading.spans[0].end) == (0, 3)
    assert reading.symbols.startswith("vˌiˌIpˈi ")


def test_digits_that_were_left_over_are_said_one_by_one(reader: Mandarin) -> None:
    assert symbols_of(reader, "3.5") == symbols_of(reader, "三点五")
    assert symbols_of(reader, "５０２") == symbols_of(reader, "五零二")
    assert [(s.start, s.end) for s in reader.read("12")[0].spans] == [(0, 1), (1, 2)]


def test_full_and_half_width_punctuation_sound_the_same(reader: Mandarin) -> None:
    full = symbols_of(reader, "您好，请问（主卧）：多大？很好！")
    assert full == symbols_of(reader, "您好,请问(主卧):多大?很好!")
    assert symbols_of(reader, "「合同」") == symbols_of(reader, "“合同”")


def test_traditional_and_rare_characters_have_a_sound(reader: Mandarin) -> None:
    def sounds(text: str) -> str:
        return symbols_of(reader, text).replace(" ", "")

    assert sounds("這間公寓有電梯，請問樓層") == sounds("这间公寓有电梯，请问楼层")
    for character in "龘㐀〇":
        assert sounds(character)


def test_sentences_are_readings_and_say_how_they_end(reader: Mandarin) -> None:
    readings = reader.read("您好！请问您找谁？我在，")
    assert [reading.ending for reading in readings] == ["sentence", "sentence", "clause"]
    assert reader.read("您好")[0].ending == "word"


def test_a_long_sentence_is_read_in_clauses(reader: Mandarin) -> None:
    readings = reader.read("今天下午三点我带您去看房，" * 8)
    assert len(readings) > 2
    assert all(reading.ending == "clause" for reading in readings)


def test_six_hundred_characters_without_punctuation_are_read(reader: Mandarin) -> None:
    text = "我们今天去看一套很大的房子然后再决定要不要买" * 28
    readings = reader.read(text)
    check(text, readings)
    assert sum(len(reading.spans) for reading in readings) == len(text)


EDGE_TEXTS = (
    "",
    " \n\t ",
    "😀",
    "。。。！？",
    "......",
    "“”（）",
    "Привет",
    "カタカナ",
    "\x00\x07\u200d\ufeff",
    "①②③ Ⅷ ½ ㎡ ٣٤ 𝟙",
    "\u0301好\u0301",
    "é café naïve",
    "http://user:pw@example.com:80/a?b=c",
    "[好](/bənˈænə/)",
    "<genfile file='x'>好",
    "好" + "！" * 500,
    "“（" * 500 + "好",
    "好\ud800好",
    "𠮷\U0002ffff好",
)


@pytest.mark.parametrize("text", EDGE_TEXTS, ids=lambda text: repr(text)[:16])
def test_no_text_is_too_odd(reader: Mandarin, text: str) -> None:
    check(text, reader.read(text))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.text(max_size=60),
        st.text(alphabet="好的一不儿行了吗aB3.,，。！“”（）%￥㎡①𠮷ñ'’- \n😀", max_size=60),
    )
)
def test_any_text_is_read_or_silent(reader: Mandarin, text: str) -> None:
    check(text, reader.read(text))


@pytest.mark.parametrize("part", ["好", "a", "，", "9", "a1", "好a", "'", "我们今天去看房"])
def test_time_grows_with_the_length_and_no_faster(reader: Mandarin, part: str) -> None:
    def took_s(count: int) -> float:
        text = (part * count)[:count]
        times = []
        for _ in range(3):
            start = time.process_time()
            reader.read(text)
            times.append(time.process_time() - start)
        return min(times)

    assert took_s(8000) < 8 * max(took_s(2000), 0.01)


def test_loading_is_quiet_writes_no_file_and_takes_no_gpl_code(
    tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    code = (
        "import sys\n"
        "from core.voices.mandarin import Mandarin\n"
        "assert Mandarin('xau↓').read('龘好VIP')\n"
        "gpl = ('espeak', 'phonemizer', 'misaki.espeak')\n"
        "print([name for name in sys.modules if name.startswith(gpl)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={
            **clean_environment,
            "TMPDIR": str(tmp_path),
            "HOME": str(tmp_path),
            "ORT_DISABLE_TELEMETRY": "1",  # hibari's reader loads onnxruntime, which keeps a file
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "[]\n")
    assert list(tmp_path.iterdir()) == []
