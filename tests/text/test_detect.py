"""Which language a text is in. `detection/tuning.json` is what the detector was tuned on,
`detection/heldout.json` what it had not seen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text.clean import clean
from core.text.detect import LanguageModel, detect
from core.text.detect_words import ENGLISH, SPANISH
from core.text.languages import LANGUAGES, Language

PHRASES = Path(__file__).parent / "detection"
PRIORS: list[tuple[Language, ...]] = [("en", "es", "zh"), ("es", "en", "zh"), ("zh", "en", "es")]
ANY_CANDIDATES = st.lists(st.sampled_from(LANGUAGES), min_size=1, unique=True)


def wrong(name: str, candidates: tuple[Language, ...]) -> list[str]:
    """The phrases whose language was missed; where none is given the first candidate is right."""
    rows = json.loads((PHRASES / name).read_text(encoding="utf-8"))
    return [
        row["text"]
        for row in rows
        if detect(clean(row["text"]).text, candidates) != (row["language"] or candidates[0])
    ]


@pytest.mark.parametrize("candidates", PRIORS)
def test_short_phrases_it_had_not_seen_are_told_apart(candidates: tuple[Language, ...]) -> None:
    assert len(wrong("heldout.json", candidates)) <= 2, "of 60"


@pytest.mark.parametrize("candidates", PRIORS)
def test_phrases_numbers_and_names_are_told_apart(candidates: tuple[Language, ...]) -> None:
    assert len(wrong("tuning.json", candidates)) <= 5, "of 205"


def test_a_single_candidate_is_the_answer_at_once() -> None:
    assert detect("¿Cuánto cuesta?", ["en"]) == "en"
    assert detect("", ["zh"]) == "zh"


@pytest.mark.parametrize("text", ["", "12:30", "$450,000", "...", "😀", "Цена", "\ud800"])
@pytest.mark.parametrize("prior", LANGUAGES)
def test_text_without_a_word_keeps_the_preferred_language(text: str, prior: Language) -> None:
    others = [language for language in LANGUAGES if language != prior]
    assert detect(text, [prior, *others]) == prior


@pytest.mark.parametrize("text", ["Juan Carlos", "John Smith", "Robert Johnson"])
def test_a_name_does_not_change_the_language_of_a_conversation(text: str) -> None:
    assert [detect(text, candidates) for candidates in PRIORS] == ["en", "es", "zh"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我想看Sunny Court的house，有parking吗", "zh"),
        ("WiFi密码", "zh"),
        ("I met with 王小明 yesterday", "en"),
        ("Hablé con 王小明 ayer", "es"),
        ("La calle se llama 南京西路", "es"),
        ("東京のマンション", "zh"),
        ("請問還有車位嗎", "zh"),
    ],
)
@pytest.mark.parametrize("candidates", PRIORS)
def test_a_foreign_name_does_not_change_the_language_of_a_sentence(
    text: str, expected: Language, candidates: tuple[Language, ...]
) -> None:
    assert detect(text, candidates) == expected


def test_the_answer_is_one_of_the_candidates_even_where_none_fits() -> None:
    assert detect("这套房子多大？", ["es", "en"]) == "es"
    assert detect("Where is the house?", ["zh", "es"]) == "es"
    assert detect("¿Cuánto cuesta la casa?", ["en", "zh"]) == "en"


@given(
    st.one_of(st.text(), st.text(st.characters(categories=["Cs", "Lo", "Cc", "Nd"]))),
    ANY_CANDIDATES,
)
def test_any_text_gets_a_candidate(text: str, candidates: list[Language]) -> None:
    assert detect(text, candidates) in candidates


def test_only_the_beginning_of_a_long_text_counts() -> None:
    assert detect("The house is big. " * 20 + "¿Cuánto cuesta la casa? " * 500, PRIORS[1]) == "en"


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_words_decide_where_the_model_cannot_be_loaded(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "broken.ftz"
    if content is not None:
        path.write_bytes(content)
    model = LanguageModel(path)
    assert not model.load()
    assert detect("Where is the house?", ["es", "en"], model=model) == "en"
    assert detect("Donde esta la casa", ["en", "es"], model=model) == "es"
    assert detect("xyzzy", ["es", "en"], model=model) == "es"
    assert detect("这套房子多大？", ["en", "zh"], model=model) == "zh"


def test_many_threads_may_ask_first_at_once() -> None:
    model = LanguageModel(Path(detect.__code__.co_filename).parent / "models" / "lid.176.ftz")
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda _: detect("piso reformado", ["en", "es"], model=model), range(64))
        )
    assert set(found) == {"es"}


def test_the_words_of_the_two_languages_are_not_the_same() -> None:
    assert ENGLISH.words.isdisjoint(SPANISH.words)


def test_asking_costs_no_more_than_a_few_times_cleaning_the_text() -> None:
    text = "¿Le gustaría visitar la casa el sábado por la mañana? Está disponible desde las diez."
    asked = _seconds(lambda: detect(text, PRIORS[0]))
    assert asked < 5 * _seconds(lambda: clean(text))
    assert _seconds(lambda: detect(text * 1_000, PRIORS[0])) < 10 * asked


def _seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
