"""Written text as it is spoken, and the way back from every spoken word."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.audio.joiner import source_span
from core.text.clean import clean
from core.text.languages import LANGUAGES, Language
from core.text.normalise import normalise
from core.text.words import words_of

GOLDEN = Path(__file__).parent / "golden"


def _golden() -> list[tuple[Language, str, str]]:
    languages: tuple[Language, ...] = ("en", "es")
    return [
        (language, sentence["written"], sentence["spoken"])
        for language in languages
        for path in (GOLDEN / f"{language}.json", GOLDEN / f"heldout_{language}.json")
        for sentence in json.loads(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(("language", "written", "spoken"), _golden())
def test_a_sentence_is_spoken_as_a_good_reader_says_it(
    language: Language, written: str, spoken: str
) -> None:
    assert normalise(clean(written).text, language).text == spoken


def test_each_language_has_its_fifty_golden_sentences() -> None:
    for language in LANGUAGES:
        golden = json.loads((GOLDEN / f"{language}.json").read_text(encoding="utf-8"))
        assert len({sentence["written"] for sentence in golden}) >= 50


@pytest.mark.parametrize(("language", "spoken"), [(lang, spoken) for lang, _, spoken in _golden()])
def test_words_that_are_right_stay_as_they_are(language: Language, spoken: str) -> None:
    assert normalise(spoken, language).text == spoken


@pytest.mark.parametrize(
    ("language", "written", "spoken"),
    [
        ("en", "A 1031 exchange.", "A ten thirty-one exchange."),
        ("en", 'The 12" tiles are new.', "The twelve-inch tiles are new."),
        ("en", 'He said "I have 12" and left.', 'He said "I have twelve" and left.'),
        ("en", "The 33139 zip code.", "The three three one three nine zip code."),
        (
            "en",
            "1(800)555-0199",
            "one, eight zero zero, five five five, zero one nine nine",
        ),
        ("en", "$25/SF/yr", "twenty-five dollars per square foot per year"),
        ("en", "Code XK7-4Q9.", "Code XK seven, four Q nine."),
        ("en", "Case no. 2023-1145", "Case number two zero two three, one one four five"),
        ("en", "Ref. 2024-0098", "Ref. two zero two four, zero zero nine eight"),
        (
            "en",
            "File AB-1234.",
            "File AB, one two three four.",
        ),
        ("en", "APN 12-345-678", "APN one two, three four five, six seven eight"),
        ("en", "3-4K", "three to four K"),
        (
            "es",
            "Al 912 345 678.",
            "Al nueve uno dos, tres cuatro cinco, seis siete ocho.",
        ),
        ("es", "900 123 456", "nueve cero cero, uno dos tres, cuatro cinco seis"),
        ("es", "Son 900 000 000 pesos.", "Son novecientos millones de pesos."),
        ("es", "0800-555-1234", "cero ocho cero cero, cinco cinco cinco, uno dos tres cuatro"),
        ("es", "Tel: 33-1234-5678", "Tel: tres tres, uno dos tres cuatro, cinco seis siete ocho"),
        ("es", "Llame al 4321-5678.", "Llame al cuatro tres dos uno, cinco seis siete ocho."),
        ("es", "Mi DNI es 12345678Z.", "Mi DNI es uno dos tres cuatro cinco seis siete ocho Z."),
        ("es", "Ref. 2024-0098", "Referencia dos cero dos cuatro, cero cero nueve ocho"),
        ("es", "Exp. 12-345-678", "Exp. uno dos, tres cuatro cinco, seis siete ocho"),
        ("es", "Entre 2023-2024.", "Entre dos mil veintitrés a dos mil veinticuatro."),
        ("es", "$4.2 MDP", "cuatro punto dos millones de pesos"),
        ("es", "COP 450.000.000", "cuatrocientos cincuenta millones de pesos colombianos"),
        ("es", "MXN 3,500,000", "tres millones quinientos mil pesos mexicanos"),
        ("es", "Bs. 500.000", "quinientos mil bolivianos"),
        ("es", "₡45,000,000", "cuarenta y cinco millones de colones"),
        ("es", "PEN 1,200", "mil doscientos soles"),
        ("es", "Carrera 7 # 45-67", "Carrera siete número cuarenta y cinco, sesenta y siete"),
        ("es", "Av. 9 de Julio 1234", "Avenida nueve de Julio mil doscientos treinta y cuatro"),
        ("es", "Blvd. Kukulcán, Cl. Mayor 5", "Bulevar Kukulcán, calle Mayor cinco"),
        ("es", "Sup. 120 m²", "Superficie ciento veinte metros cuadrados"),
        ("es", "El Ing. López y el Lic. Ruiz.", "El ingeniero López y el licenciado Ruiz."),
        ("en", "A $350,000 home.", "A three hundred fifty thousand dollar home."),
        ("en", "He said 'I have 5' and left.", "He said 'I have five' and left."),
        ("en", "The sun is up, he sat down.", "The sun is up, he sat down."),
        ("en", "Go to Hwy 290, exit 12.", "Go to Highway two ninety, exit twelve."),
        ("en", "Call 911 now.", "Call nine one one now."),
        ("en", "No. I don't.", "No. I don't."),
        ("en", "The 4K TV and SW1A.", "The four K TV and SW one A."),
        ("en", "AT&T and B&B.", "AT and T and B and B."),
        ("en", "Dr. King Blvd is in St. Louis.", "Doctor King Boulevard is in Saint Louis."),
        ("en", "Only 5 in the area.", "Only five in the area."),
        ("en", "In 1850 we had 2500.", "In eighteen fifty we had two thousand five hundred."),
        ("en", "$1.00 and $0.99", "one dollar and ninety-nine cents"),
        ("en", "Walk 1 min. Then stop.", "Walk one minute. Then stop."),
        ("en", "A 3/2 home, 3/4 mile off.", "A three two home, three quarters of a mile off."),
        ("es", "El 21 vendimos.", "El veintiuno vendimos."),
        ("es", "A la 1 o a las 21:30.", "A la una o a las veintiuna treinta."),
        ("es", "No. No quiero.", "No. No quiero."),
        ("es", "Cuesta 1 € o 1,50 €.", "Cuesta un euro o un euro con cincuenta céntimos."),
        ("es", "Son 2.000.000 €.", "Son dos millones de euros."),
        ("es", "Son 31 días y 51 familias.", "Son treinta y un días y cincuenta y una familias."),
        ("es", "$5,000 pesos", "cinco mil pesos"),
        (
            "es",
            "Hace 25º, aniversario 25.º",
            "Hace veinticinco grados, aniversario vigésimo quinto",
        ),
        ("es", "El 24/7.", "El veinticuatro siete."),
        ("es", "En 2021 vendimos.", "En dos mil veintiuno vendimos."),
    ],
)
def test_what_looks_like_something_else_is_read_right(
    language: Language, written: str, spoken: str
) -> None:
    assert normalise(written, language).text == spoken


PLAIN: dict[Language, Sequence[str]] = {
    "en": ("house", "garden", "I", "the", "view?", "café", "naïve,", "we'll", "(yes)", "good."),
    "es": ("casa", "jardín", "él", "¿qué", "vista?", "también,", "año", "(sí)", "bueno.", "y"),
    "zh": ("花园", "房子", "我们", "很好。", "您", "业主,", "非常"),
}
FIGURES: dict[Language, Sequence[str]] = {
    "en": (
        *("$1,250,000", "$450-500K", "3bd/2ba", "2-3", "12x14 ft", "1,850 sq ft", "6'2\"", "½"),
        *(
            "3/15/2026",
            "2026-03-15",
            "5:30pm",
            "17:30",
            "(555) 123-4567",
            "+1 555-987-6543",
            "#4821",
        ),
        *("6.5%", "-5°C", "1990s", "2 1/2", "jane@oak-homes.com", "https://x.com/a?b=1", "21st"),
        *("MLS #1234567", "1,234,567.89 USD", "$2,400/month", "007", "9" * 30, "1.2.3.4", "3–5 pm"),
    ),
    "es": (
        *("350.000 €", "1.200 €/mes", "$1,000,000", "1,2 M€", "120 m²", "12,50 €", "20 mil €", "½"),
        *(
            "15/03/2026",
            "17:30 h",
            "9:00-14:00",
            "5 p. m.",
            "612 34 56 78",
            "+34 612 345 678",
            "3.º",
        ),
        *("6,5 %", "-5 °C", "2-3 hab.", "4x5 m", "ana@pisos.es", "www.casa.com/x", "n.º 5", "3er"),
        *("1.000.000", "US$ 300,000", "1 250", "007", "9" * 30, "1.2.3.4", "1 1/2"),
    ),
    "zh": (
        *("350万元", "120平方米", "3室2厅", "2026年3月15日", "下午5:30", "13812345678", "6.5%"),
        *("1,250,000", "$450,000", "3-5", "1/2", "-5°C", "2026-03-15", "17:30", "007", "9" * 30),
    ),
}


@st.composite
def _parts(draw: st.DrawFn, language: Language) -> tuple[str, list[tuple[int, int, bool]]]:
    """A text of plain words and figures in turn, and where each stands: start, end, a figure."""
    text, places = "", []
    figure = draw(st.booleans())
    for _ in range(draw(st.integers(1, 7))):
        part = draw(st.sampled_from(FIGURES[language] if figure else PLAIN[language]))
        places.append((len(text), len(text) + len(part), figure))
        text += part + " "
        figure = not figure
    return text.rstrip(), places


_SCRAPS = st.one_of(
    st.text(max_size=6),
    st.text("0123456789", min_size=1, max_size=8),
    st.text("0123456789.,:/-–'\"x×+%#@&=*_`~ $€£¥°º½²", max_size=8),
    st.sampled_from(sorted({figure for figures in FIGURES.values() for figure in figures})),
    st.sampled_from(sorted({word for words in PLAIN.values() for word in words})),
    st.sampled_from(
        (
            *("St.", "Dr.", "Mr.", "Main", "Ave", "N.", "Apt", "Sr.", "Dña.", "C/", "etc.", "e.g."),
            *("p.", "ej.", "w/", "&", "approx.", "Sat.", "Mar.", "am", "pm", "h", "sq", "ft", "m²"),
            *("€", "USD", "K", "M", "mil", "million", "%", "°", "/month", "/mes", "**bold**", "#"),
            *(
                "-",
                "•",
                "[a](http://b.c)",
                "万",
                "元",
                "号",
                "年",
                "月",
                "日",
                "点",
                "楼",
                "平",
                "￥",
            ),
            *(
                "½",
                "www.",
                ".com",
                "a@b.co",
                "1.º",
                "3er",
                "2nd",
                "TX",
                "MLS",
                "No.",
                "n.º",
                "ext.",
            ),
            *("EE.", "UU.", "ft3", "m3", "$", "1/2", "acre", "the", "a", "un", "la", "code is"),
        )
    ),
)
_WRITTEN = st.builds(
    lambda scraps, gap: clean(gap.join(scraps)).text,
    st.lists(_SCRAPS, max_size=8),
    st.sampled_from(["", " "]),
)
_MANY = settings(
    max_examples=int(os.environ.get("SEIKETSU_TEXTS", "800")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
_SOME = settings(max_examples=1_000, deadline=None, derandomize=True)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_way_back_holds_for_any_text(language: Language) -> None:
    @_MANY
    @given(_WRITTEN)
    def holds(text: str) -> None:
        spoken = normalise(text, language)
        offsets = list(spoken.offsets)
        assert len(offsets) == len(spoken.text) + 1
        assert offsets == sorted(offsets)
        assert all(0 <= offset < len(text) for offset in offsets[:-1])
        assert offsets[-1] == len(text)
        covered: set[int] = set()
        reached = 0
        for word in words_of(spoken.text):
            start, end = source_span(offsets, word.start, word.end)
            assert start < end <= len(text)
            assert start >= reached
            reached = start
            covered.update(range(start, end))
        said = {at for at, character in enumerate(text) if character.isalnum()}
        assert said <= covered
        assert normalise(spoken.text, language).text == spoken.text

    holds()


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_lead_back_to_themselves_and_figures_to_the_figure(language: Language) -> None:
    @_SOME
    @given(_parts(language))
    def holds(made: tuple[str, list[tuple[int, int, bool]]]) -> None:
        text, places = made
        spoken = normalise(text, language)
        for start, end, figure in places:
            at = [
                index for index, offset in enumerate(spoken.offsets[:-1]) if start <= offset < end
            ]
            said = spoken.text[at[0] : at[-1] + 1]
            if figure:
                assert any(character.isalpha() for character in said)
                assert not re.search("[0-9]", said)
                for word in words_of(said):
                    back = source_span(spoken.offsets, at[0] + word.start, at[0] + word.end)
                    assert start <= back[0] < back[1]
                    assert back[1] <= end or text[end : back[1]].isspace()
            else:
                assert said == text[start:end]
                assert [spoken.offsets[index] for index in at] == list(range(start, end))

    holds()


HOSTILE = (
    *("9", ",", "1,", "1.", "1/", "1-", "1:", "1 ", "12 3", "$1", "$1,", "1x", "1'", "1%", "½"),
    *(
        "a",
        "a ",
        "A ",
        "a@",
        "a.",
        "_",
        "*",
        "[",
        "#",
        "- ",
        "+1 ",
        "555-",
        "Apt ",
        "St. ",
        "Main St ",
    ),
    *(
        "Mar 1 ",
        "Sun ",
        "C/ ",
        "1.º ",
        "000,",
        "1.000.",
        "D. ",
        "万",
        "1万",
        "一",
        "年1",
        "( ",
        "🎉",
        "|",
    ),
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_hostile_text_takes_time_in_line_with_its_length(language: Language) -> None:
    def cpu_s(text: str) -> float:
        best = 10.0
        for _ in range(3):
            start = time.process_time()
            normalise(text, language)
            best = min(best, time.process_time() - start)
        return best

    slow = {}
    for unit in HOSTILE:
        short = cpu_s((unit * 1_000)[:1_000])
        long = cpu_s((unit * 4_000)[:4_000])
        # Four times the text: four times the time, sixteen times if it grew with the square.
        if long > 0.005 and long > 9 * short:
            slow[unit] = (short, long)
    assert not slow


def test_the_rules_load_no_library() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import core.text.normalise, sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert not {"numpy", "jieba", "misaki", "pypinyin", "cn2an", "num2words"} & set(loaded)
