"""Clauses of a text as it is written: where they end, and that nothing but the text decides it."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.text.clauses import ClauseCutter
from core.text.clean import speakable
from core.text.languages import LANGUAGES, Language
from tests.text.test_segment import CASES as SEGMENTED
from tests.text.test_segment import PIECES

MAX_CHARS = 240

CASES: list[tuple[Language, list[str]]] = [
    ("en", ["Hello! How are you today?"]),
    ("en", ["Hi, how can I help you with the flat?"]),
    ("en", ["Yes. I can do that."]),
    ("en", ["No problem, I will send it."]),
    ("en", ["Of course; we can meet at noon."]),
    ("en", ["The flat is on St. James Street.", "It costs $1,250.50."]),
    ("en", ["Dr. Jones and Mrs. Lee are here.", "Please wait."]),
    ("en", ["It is 3.5 km away.", "Take the bus."]),
    ("en", ["See you at 5 p.m. Friday.", "Bye for now, sir."]),
    ("en", ["It opens at 10:30,", "and closes at 8:15.", "Come early."]),
    ("en", ["Write to info@example.com.", "I will answer."]),
    ("en", ["Look at www.example.com/a.html?x=1&y=2.", "It has photos."]),
    ("en", ["J. R. Smith owns it.", "He lives abroad."]),
    ("en", ["The U.S. Open is on.", "The tickets are sold."]),
    ("en", ["This is the 1st. of May offer.", "Do not wait."]),
    ("en", ["Is it sold?", "I think so! But ask them."]),
    ("en", ["Well... maybe we could.", "Let me see."]),
    ("en", ["We have a garden —", "a large one — and a pool."]),
    ("en", ["It has: a kitchen,", "a bath, and a hall."]),
    ("en", ['"Is it free?" she asked.', "He said no."]),
    ("en", ["No. 5 is the best.", "I like it."]),
    ("en", ["It is 6 ft. tall.", "That is a lot."]),
    ("en", ["1. Two bedrooms.", "2. One bath. 3. A hall."]),
    ("en", ["Yes!!! It is yours now.", "Enjoy it."]),
    ("en", ["Great.I will call you.", "Thanks a lot."]),
    ("en", ["I'm free March 5, 2026,", "and later. Are you?"]),
    ("en", ["(It is small.)", "But it is bright.", "Come and see."]),
    ("en", ["Please hold — I am looking it up for you.", "Thanks."]),
    ("es", ["¡Hola! ¿Cómo está usted hoy?"]),
    ("es", ["¿Quiere verlo mañana?", "Claro que sí."]),
    ("es", ["Sí, claro, puedo enseñarle el piso."]),
    ("es", ["El piso cuesta 350.000 €.", "¿Le interesa?"]),
    ("es", ["La Sra. García vive en la C/ Mayor, 5.", "Es muy amable."]),
    ("es", ["Son 3,5 km hasta la playa.", "Está cerca."]),
    ("es", ["El Dr. Pérez llega a las 10:30 h.", "Espere aquí."]),
    ("es", ["Vive en EE. UU. desde 2010.", "Habla inglés."]),
    ("es", ["Perfecto; le llamo mañana.", "Gracias."]),
    ("es", ["Tiene dos baños muy grandes,", "etc., y un patio."]),
    ("es", ["Escriba a info@ejemplo.es.", "Le contestamos."]),
    ("es", ["¿De verdad?, no lo sabía.", "Cuénteme más."]),
    ("es", ["El 1.º de mayo cerramos.", "Abrimos el 2."]),
    ("es", ["¡Qué bien!", "Entonces quedamos el viernes."]),
    ("zh", ["你好！", "请问有什么可以帮您？"]),
    ("zh", ["好的，没问题。", "我来安排。"]),
    ("zh", ["这套房子有两个房间，", "价格是350.5万元。"]),
    ("zh", ["您好，我是小李，", "很高兴为您服务。"]),
    ("zh", ["“好的。”他说。", "我们走吧。"]),
    ("zh", ["厨房、浴室、", "阳台都有。您想看吗？"]),
    ("zh", ["请发邮件到info@example.com。", "谢谢您！"]),
    ("zh", ["地铁站很近；", "走路五分钟。"]),
    ("zh", ["我们10:30开门，", "20:00关门。", "欢迎您来。"]),
    ("zh", ["真的吗？", "！太好了。"]),
    ("zh", ["等等……", "我想想。好了。"]),
    ("zh", ["Wi-Fi是免费的，", "WeChat也可以联系。"]),
    ("zh", ["他说：“可以。”我们就去了。"]),
]
"""Texts by their clauses; between these is a blank, and in Mandarin nothing."""


def cutter(language: Language | None = "en", **fields: int) -> ClauseCutter:
    return ClauseCutter(language, **({"max_chars": MAX_CHARS} | fields))


def clauses_of(pieces: list[str], language: Language | None) -> list[str]:
    cut = cutter(language)
    found = [clause for piece in pieces for clause in cut.feed(piece)]
    return found + cut.flush()


@pytest.mark.parametrize(("language", "expected"), CASES, ids=lambda value: str(value)[:40])
def test_clauses_end_where_a_voice_may_pause(language: Language, expected: list[str]) -> None:
    text = ("" if language == "zh" else " ").join(expected)
    found = clauses_of(list(text), language)
    assert "".join(found) == text
    assert [clause.strip() for clause in found] == expected


texts = st.lists(
    st.sampled_from([*PIECES, "\n", "\n1. ", "\n- ", "  ", "\u200d"]), max_size=80
).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    text=texts,
    language=st.sampled_from([*LANGUAGES, None]),
    max_chars=st.integers(20, 260),
    seed=st.integers(0, 9),
)
def test_no_character_is_lost_and_pieces_do_not_matter(
    text: str, language: Language | None, max_chars: int, seed: int
) -> None:
    whole = cutter(language, max_chars=max_chars)
    expected = whole.feed(text)
    assert "".join(expected) + whole.pending == text
    rng = random.Random(seed)
    cut = cutter(language, max_chars=max_chars)
    found: list[str] = []
    at = 0
    while at < len(text):
        size = rng.choice([1, 2, 3, 7, 30])
        found += cut.feed(text[at : at + size])
        at += size
    assert found == expected
    assert cut.pending == whole.pending
    found += cut.release() + cut.flush()
    assert "".join(found) == text
    assert cut.pending == ""


@pytest.mark.parametrize(
    ("written", "cut"),
    [
        ("I can tell you,", []),
        ("I can tell you, ", []),
        ("I can tell you, t", ["I can tell you,"]),
        ("It is sold.", []),
        ("It is sold. ", []),
        ("It is sold. C", ["It is sold."]),
        ("It costs 350. T", []),
        ("It costs 350. The ", ["It costs 350."]),
        ("It is on Main St. T", []),
        ("It is on Main St. The ", ["It is on Main St."]),
        ("It is on Main St. Towers ", []),
        ("这个已经卖了。", ["这个已经卖了。"]),
        ("他说：“这个已经卖了。", []),
        ("您好我是小李，", ["您好我是小李，"]),
        ("¿Quiere verlo? ", []),
        ("¿Quiere verlo? S", ["¿Quiere verlo?"]),
    ],
)
def test_a_clause_leaves_as_soon_as_its_end_is_certain(written: str, cut: list[str]) -> None:
    assert cutter(None).feed(written) == cut


@pytest.mark.parametrize(
    ("written", "released", "left"),
    [
        ("Let me look that up f", "Let me look that up", " f"),
        ("Let me look that up for you.", "Let me look that up for you.", ""),
        ("Sure.", "Sure.", ""),
        ("Sure", "", "Sure"),
        ("One moment", "", "One moment"),
        ("I have seen Mr.", "I have seen", " Mr."),
        ("I have seen Mr. Smi", "I have seen", " Mr. Smi"),
        ("It would cost you $", "It would cost you", " $"),
        ("Well, I do not kn", "Well, I do not", " kn"),
        ("我想看一下", "我想看一下", ""),
        ("我想", "", "我想"),
        ("", "", ""),
        ("  ", "", "  "),
    ],
)
def test_what_waited_too_long_leaves_without_a_word_that_is_still_written(
    written: str, released: str, left: str
) -> None:
    cut = cutter(None)
    assert cut.feed(written) == []
    assert cut.releasable == bool(released)
    assert "".join(cut.release()) == released
    assert cut.pending == left


def test_a_later_clause_is_released_at_a_written_pause() -> None:
    cut = cutter()
    assert cut.feed("It is sold. As I told you before, the own") == ["It is sold."]
    assert cut.release() == [" As I told you before,"]
    assert cut.pending == " the own"


def test_only_the_first_clause_is_cut_at_a_comma_and_a_short_sentence_waits() -> None:
    text = "It is sold, I fear. It was a large one, with a garden. Sorry. I will look for another. "
    assert clauses_of(list(text), "en") == [
        "It is sold,",
        " I fear. It was a large one, with a garden.",
        " Sorry. I will look for another. ",
    ]


def test_what_does_not_end_is_cut_between_words() -> None:
    text = "we walk along the river and " * 40
    found = clauses_of(list(text), "en")
    assert "".join(found) == text
    assert len(found[0]) <= 120
    assert max(len(clause) for clause in found) <= MAX_CHARS + 1
    assert all(clause.startswith(" ") for clause in found[1:])
    assert len(clauses_of(list(text), "en")) < 8


def test_items_of_a_list_are_clauses() -> None:
    text = "There is a lot:\n1. A large kitchen\n2. Two baths for all\n- 3.5 rooms\n\nThat is it."
    assert [clause.strip() for clause in clauses_of(list(text), "en")] == [
        "There is a lot:",
        "1. A large kitchen",
        "2. Two baths for all",
        "- 3.5 rooms\n\nThat is it.",
    ]
    assert clauses_of(list("It goes on\nin the next line. Is it so?"), "en") == [
        "It goes on\nin the next line.",
        " Is it so?",
    ]


def test_clauses_are_the_segments_of_the_whole_text() -> None:
    """But for those after a first clause that is short, some lists and very long sentences."""
    same = 0
    for language, text, parts in SEGMENTED:
        found = clauses_of(list(text), language)
        spoken = [" ".join(clause.split()) for clause in found if speakable(clause)]
        same += set(parts[1:]) <= set(spoken)
    assert same / len(SEGMENTED) > 0.85


@pytest.mark.parametrize("filler", [" ", "\u200d", ".", "🙂", "a", "房", "1. ", "“。"])
def test_a_text_of_one_sign_is_bounded_too(filler: str) -> None:
    text = "It" + filler * (5000 // len(filler))
    cut = cutter(None)
    began_s = time.process_time()
    found = cut.feed(text)
    assert time.process_time() - began_s < 2
    assert len(cut.pending) <= 3 * MAX_CHARS
    assert "".join(found) + cut.pending == text
