"""Segmentation: sentences stay whole, nothing is lost, nothing is too long, in three languages."""

from __future__ import annotations

import itertools
import json
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.text.clean import clean, speakable
from core.text.languages import LANGUAGES, Language
from core.text.segment import RULES, limit_of, segment

CORPUS = Path(__file__).parent / "segmentation"
CASES = [
    (language, case["text"], case["segments"])
    for language in LANGUAGES
    for case in json.loads((CORPUS / f"{language}.json").read_text(encoding="utf-8"))
]
MAX_CHARS = 240

languages = st.sampled_from(LANGUAGES)
PIECES = [
    *"ab cdéñ.,!?;:…\"'()-—¿¡«»0123456789$€好的房，。！？；、“”「」（）：",
    *["Mr. ", "p.m. ", "St. ", "No. ", "Sra. ", "EE. UU. ", "1. ", "- ", "1,250.50", "350.5万"],
    *[" and ", " que ", "所以", "www.a.com", "The ", "El ", "🙂", "……"],
]
texts = st.lists(st.sampled_from(PIECES), max_size=120).map("".join).map(lambda t: clean(t).text)


def cut(text: str, language: Language = "en", max_chars: int = MAX_CHARS) -> list[str]:
    return [text[start:end] for start, end in segment(text, language, max_chars=max_chars)]


def test_the_corpus_has_a_hundred_texts_of_each_language() -> None:
    texts = {(language, text) for language, text, _ in CASES}
    assert len(texts) == len(CASES), "none stands twice"
    assert min(sum(of == language for of, _ in texts) for language in LANGUAGES) >= 100


@pytest.mark.parametrize(("language", "text", "parts"), CASES)
def test_texts_are_cut_as_a_person_would_speak_them(
    language: Language, text: str, parts: list[str]
) -> None:
    assert cut(text, language) == parts


@settings(max_examples=500, deadline=None)
@example(text="6 8」…0）", language="zh", max_chars=12)
@given(text=texts, language=languages, max_chars=st.integers(12, 260))
def test_nothing_is_lost_and_nothing_is_too_long(
    text: str, language: Language, max_chars: int
) -> None:
    spans = segment(text, language, max_chars=max_chars)
    limit = limit_of(language, max_chars)
    assert all(0 < end - start <= limit for start, end in spans)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert all(speakable(text[start:end]) for start, end in spans)
    assert all(text[start:end] == text[start:end].strip() for start, end in spans)
    said = "".join(text[start:end] for start, end in spans)
    assert [c for c in said if c.isalnum()] == [c for c in text if c.isalnum()]


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=200), language=languages, max_chars=st.integers(1, 30))
def test_no_text_and_no_limit_breaks_it(text: str, language: Language, max_chars: int) -> None:
    text = clean(text).text
    spans = segment(text, language, max_chars=max_chars)
    limit = limit_of(language, max_chars)
    assert all(0 < end - start <= limit for start, end in spans)
    said = "".join(text[start:end] for start, end in spans)
    assert [c for c in said if c.isalnum()] == [c for c in text if c.isalnum()]


FILLERS = {"en": ["house ", "and a ", "very, "], "es": ["casa ", "y una ", "muy, "]}
FIGURES = ["1,250,000", "$350,000.50", "617-555-0100", "17:30", "1.250,50", "2026"]


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(
        st.one_of(st.integers(0, 5).map(lambda n: FIGURES[n]), st.integers(0, 2)), max_size=80
    ),
    language=languages,
)
def test_a_figure_is_never_cut(parts: list[str | int], language: Language) -> None:
    words = FILLERS.get(language, ["房子", "还有", "很大，"])
    text = "".join(words[p] if isinstance(p, int) else f"{words[0]}{p} {words[1]}" for p in parts)
    text = clean(text).text
    figures = [p for p in parts if isinstance(p, str)]
    found = "|".join(cut(text, language, 120))
    for figure in set(figures):
        assert found.count(figure) == text.count(figure)


def test_a_figure_without_an_end_is_cut_anyway() -> None:
    assert [len(part) for part in cut("1" * 500)] == [240, 240, 20]


SENTENCES = {
    "en": [
        "The apartment has two bedrooms at 123 Main St. near the park.",
        "It costs $1,250.50 a month.",
        "We can meet Mr. Lee at 5 p.m. on Friday.",
        'She said "come in, please."',
    ],
    "es": [
        "El piso tiene 3 hab. y está en la Avda. de la Luz.",
        "Cuesta 1.250,50 € al mes.",
        "La Sra. Ruiz le espera a las 5 p. m.",
        "¿Le gustaría verlo mañana?",
    ],
    "zh": [
        "这套公寓有两间卧室和一个很大的阳台。",
        "总价是350.5万元。",
        "她问：“这套房子还在吗？”",
        "请问WiFi密码是多少？",
    ],
}


@given(data=st.data(), language=languages)
def test_equal_sentences_are_equal_segments_wherever_they_stand(
    data: st.DataObject, language: Language
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(SENTENCES[language]), min_size=1, max_size=6))
    joiner = "" if language == "zh" else " "
    assert cut(joiner.join(chosen), language) == chosen


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_short_sentence_is_spoken_with_the_next(language: Language) -> None:
    short = {"en": "Hello! ", "es": "¡Hola! ", "zh": "您好！"}[language]
    long = SENTENCES[language][0]
    assert cut(short + long, language) == [short + long]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_long_first_sentence_begins_with_a_clause(language: Language) -> None:
    clause = {
        "en": "Thank you for waiting so patiently while I looked,",
        "es": "Gracias por esperar mientras miraba las fichas,",
        "zh": "感谢您的来电和耐心等待，",
    }[language]
    rest = {"en": " and then I found one" * 5, "es": " y luego vi otro" * 6, "zh": "我查到了房" * 5}
    text = f"{clause}{rest[language]}."
    first = cut(text, language)[0]
    assert first == clause
    assert len(text) > RULES[language].long_first_chars >= len(first)


def test_a_long_first_sentence_without_a_clause_stays_whole_where_it_may() -> None:
    text = "x" * 200
    assert cut(text) == [text]
    assert [len(part) for part in cut("x" * 1000)] == [240, 240, 240, 240, 40]
    assert [len(part) for part in cut("好" * 200, "zh")] == [80, 80, 40]


@pytest.mark.parametrize("text", ["Goodbye for now, my friend. 🙂", "🙂🙂🙂! Goodbye for now."])
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_no_voice_can_say_alone_goes_with_its_neighbour(text: str, language: Language) -> None:
    assert cut(text, language) == [text]


def test_chinese_is_not_cut_before_a_mark_nor_within_a_numeral() -> None:
    text = "这套房子的价格是三百五十万元整" * 20
    parts = cut(text, "zh", 60)
    assert all(len(part) <= 20 for part in parts)
    assert "".join(parts) == text
    assert "|".join(parts).count("三百五十万") == 20
    marked = cut("好的房子（新）" * 40, "zh", 36)
    assert all(unicodedata.category(part[0]) != "Pe" for part in marked)


HOSTILE = [
    *["a" + "." * 20_000, '."' * 10_000, "." * 10_000 + '"' * 10_000, "?!" * 10_000, "a. " * 6_000],
    *[", " * 10_000, "1. 2. " * 3_000, "- " * 10_000, "1" * 20_000, "好，" * 10_000, "。" * 20_000],
    *['。"好' * 6_000, "(" * 20_000, "A.A." * 5_000, "and " * 5_000, "—— " * 6_000, "x" * 20_000],
    *["“。”说" * 5_000, "!aA" * 6_000, "a.Bc" * 5_000, "1) " * 6_000, "5 " * 10_000, "，" * 20_000],
    *[
        "p. m. " * 3_500,
        "、" * 20_000,
        "“" * 20_000,
        "1." * 10_000,
        "Mr. " * 5_000,
        "1、好" * 6_000,
    ],
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:6])
def test_the_time_grows_with_the_length_alone(text: str, language: Language) -> None:
    """Four times the text takes about four times the time: a square would take sixteen."""

    def took_s(part: str) -> float:
        times = []
        for _ in range(3):
            began = time.process_time()
            segment(part, language, max_chars=MAX_CHARS)
            times.append(time.process_time() - began)
        return min(times)

    assert took_s(text) < 10 * took_s(text[: len(text) // 4]) + 0.005


def test_a_sentence_costs_little() -> None:
    for language in LANGUAGES:
        text = " ".join(SENTENCES[language])
        began = time.process_time()
        for _ in range(200):
            segment(text, language, max_chars=MAX_CHARS)
        assert (time.process_time() - began) / 200 / len(SENTENCES[language]) < 0.001
