"""The frame of the normaliser."""

from __future__ import annotations

import re

from core.text.wording.rewrite import Rule, at_capital, at_figure, rewrite, settled


def test_the_earliest_match_wins_and_then_the_first_rule() -> None:
    rules = [
        Rule(re.compile("bc"), lambda _: "later"),
        Rule(re.compile("abc?"), lambda _: "first"),
        Rule(re.compile("a"), lambda _: "second"),
    ]
    assert rewrite("abcd", rules).text == "first d"


def test_a_rule_of_figures_and_a_search_take_turns_in_the_order_of_the_list() -> None:
    search = Rule(re.compile("[0-9]+"), lambda _: "searched")
    placed = at_figure("[0-9]+", lambda _: "placed")
    assert rewrite("1 2", [search, placed]).text == "searched searched"
    assert rewrite("1 2", [placed, search]).text == "placed placed"


def test_a_rule_that_declines_leaves_the_place_to_the_next() -> None:
    rules = [
        at_figure("[0-9]+", lambda match: None if match.group() == "1" else "some"),
        at_figure("[0-9]+", lambda _: "one"),
    ]
    assert rewrite("1 2 1", rules).text == "one some one"


def test_words_and_letters_never_touch_except_in_han() -> None:
    rules = [at_figure("[0-9]+", lambda _: "three")]
    assert rewrite("3bd a3b", rules).text == "three bd a three b"
    assert rewrite("买3房", [at_figure("[0-9]+", lambda _: "三")]).text == "买三房"


def test_what_is_dropped_leaves_no_double_blank() -> None:
    rules = [Rule(re.compile(r"\*+"), lambda _: "")]
    assert rewrite("** a ** b **", rules).text == "a b"


def test_all_words_of_a_match_lead_to_its_beginning_and_the_end_to_the_end() -> None:
    spoken = rewrite("at 25!", [at_figure("[0-9]+", lambda _: "twenty five")])
    assert spoken.text == "at twenty five!"
    assert list(spoken.offsets) == [0, 1, 2, *[3] * 11, 5, 6]


def test_a_text_without_a_match_stays_as_it_is() -> None:
    spoken = settled(
        "plain", [at_figure("[0-9]+", lambda _: "x")], [at_capital("A", lambda _: "x")]
    )
    assert spoken.text == "plain"
    assert spoken.offsets == range(6)


def test_what_one_pass_writes_is_said_too_and_leads_to_the_source() -> None:
    rules = [at_figure("1", lambda _: "Mr."), at_capital(r"Mr\.", lambda _: "Mister")]
    spoken = settled("a 1 b", rules)
    assert spoken.text == "a Mister b"
    assert list(spoken.offsets) == [0, 1, *[2] * 6, 3, 4, 5]
