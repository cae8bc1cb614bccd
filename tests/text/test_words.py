"""Words as timings count them: runs without a blank, and Han characters one by one."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text.words import han_count, words_of


def texts_of(text: str) -> list[str]:
    return [word.text for word in words_of(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('He said: "Go to 12-B!"', ["He", "said:", '"Go', "to", '12-B!"']),
        ("¿Qué tal? — Bien.", ["¿Qué", "tal?", "—", "Bien."]),
        ("好的，没问题。", ["好", "的，", "没", "问", "题。"]),
        ("“请进。”他说。", ["“请", "进。”", "他", "说。"]),
        ("请问WiFi密码是多少", ["请", "问", "WiFi", "密", "码", "是", "多", "少"]),
        ("租3.5万/月", ["租", "3.5", "万/", "月"]),
        ("￥4,500一月", ["￥4,500", "一", "月"]),
        ("打138-0013-8000。", ["打", "138-0013-8000。"]),
        ("有iPhone、iPad（新）", ["有", "iPhone、", "iPad", "（新）"]),
        ("《指南》很好", ["《指", "南》", "很", "好"]),
        ("，。好", ["，。好"]),
        ("好“「 a", ["好“「", "a"]),
        ("好🙂 坏", ["好🙂", "坏"]),
        ("the 价house here", ["the", "价", "house", "here"]),
        ("𠀀好", ["𠀀", "好"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert texts_of(text) == words


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_every_character_but_the_blanks_is_in_one_word(text: str) -> None:
    words = words_of(text)
    assert all(text[word.start : word.end] == word.text for word in words)
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))
    assert "".join(word.text for word in words) == "".join(text.split())
    assert all(han_count(word.text) <= 1 for word in words)


@given(st.text("ab c.,!?\"'12-éñ¿🙂—", max_size=60))
def test_without_han_characters_words_are_what_blanks_part(text: str) -> None:
    assert texts_of(text) == re.findall(r"\S+", text)


@given(st.text("好的，。？“”（）ab1 .", max_size=60))
def test_a_han_text_has_no_word_without_letters_but_where_nothing_else_is(text: str) -> None:
    for run in text.split():
        if han_count(run):
            assert all(any(c.isalnum() for c in word) for word in texts_of(run))
