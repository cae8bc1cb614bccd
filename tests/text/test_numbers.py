"""English and Spanish number words, against a library where it is right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import num2words

from core.text.wording import en_numbers, es_numbers
from core.text.wording.contact import grouped
from core.text.wording.es_gender import gender_of

NUMBERS = st.one_of(st.integers(0, 2_100), st.integers(0, 10**15 - 1))


@given(NUMBERS)
def test_english_numbers_are_those_of_the_library_without_its_and(number: int) -> None:
    british = num2words(number, lang="en")
    assert en_numbers.cardinal(number) == british.replace(" and ", " ").replace(",", "")


@given(st.integers(1, 2_000))
def test_english_ordinals_are_those_of_the_library(number: int) -> None:
    british = num2words(number, lang="en", to="ordinal")
    assert en_numbers.ordinal(number) == british.replace(" and ", " ").replace(",", "")


@pytest.mark.parametrize(
    ("year", "spoken"),
    [
        (1998, "nineteen ninety-eight"),
        (1905, "nineteen oh five"),
        (1900, "nineteen hundred"),
        (2000, "two thousand"),
        (2005, "two thousand five"),
        (2010, "twenty ten"),
        (2024, "twenty twenty-four"),
        (2100, "twenty-one hundred"),
    ],
)
def test_a_year_is_said_in_pairs(year: int, spoken: str) -> None:
    assert en_numbers.year(year) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("7", "seven"),
        ("123", "one twenty-three"),
        ("305", "three oh five"),
        ("500", "five hundred"),
        ("1200", "twelve hundred"),
        ("2000", "two thousand"),
        ("4821", "forty-eight twenty-one"),
        ("1005", "ten oh five"),
        ("12345", "one two three four five"),
        ("007", "zero zero seven"),
    ],
)
def test_a_house_number_is_said_in_pairs(written: str, spoken: str) -> None:
    assert en_numbers.house(written) == spoken


@given(NUMBERS)
def test_spanish_numbers_are_those_of_the_library_where_it_is_right(number: int) -> None:
    library = num2words(number, lang="es")
    if "uno mil" not in library and "uno bill" not in library:
        assert es_numbers.cardinal(number) == library


@pytest.mark.parametrize(
    ("number", "gender", "spoken"),
    [
        (21_000, "", "veintiún mil"),
        (31_000, "", "treinta y un mil"),
        (101_000, "", "ciento un mil"),
        (100_000, "", "cien mil"),
        (21, "m", "veintiún"),
        (21, "f", "veintiuna"),
        (1, "", "uno"),
        (1, "m", "un"),
        (200, "f", "doscientas"),
        (251, "f", "doscientas cincuenta y una"),
        (500_000, "f", "quinientas mil"),
        (200_000_001, "f", "doscientos millones una"),
        (1_000_000, "", "un millón"),
        (21_000_000, "", "veintiún millones"),
        (10**12, "", "un billón"),
    ],
)
def test_a_spanish_number_agrees_with_what_it_counts(
    number: int, gender: es_numbers.Gender, spoken: str
) -> None:
    assert es_numbers.cardinal(number, gender) == spoken


def test_the_library_gets_spanish_thousands_and_ordinals_wrong() -> None:
    """The day this fails it may do the work."""
    assert num2words(21_000, lang="es") == "veintiuno mil"
    assert num2words(11, lang="es", to="ordinal") == "décimoprimero"


@pytest.mark.parametrize(
    ("number", "gender", "spoken"),
    [
        (1, "", "primero"),
        (1, "m", "primer"),
        (3, "f", "tercera"),
        (7, "", "séptimo"),
        (11, "", "undécimo"),
        (13, "m", "decimotercer"),
        (21, "f", "vigésima primera"),
    ],
)
def test_a_spanish_ordinal_agrees_with_its_noun(
    number: int, gender: es_numbers.Gender, spoken: str
) -> None:
    assert es_numbers.ordinal(number, gender) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("1.250", "mil doscientos cincuenta"),
        ("1,250", "mil doscientos cincuenta"),
        ("1 250 000", "un millón doscientos cincuenta mil"),
        ("3,5", "tres coma cinco"),
        ("3.5", "tres punto cinco"),
        ("0,250", "cero coma dos cinco cero"),
        ("1.250,75", "mil doscientos cincuenta coma setenta y cinco"),
        ("4,05", "cuatro coma cero cinco"),
        ("007", "cero cero siete"),
    ],
)
def test_both_spanish_ways_to_write_thousands_are_read(written: str, spoken: str) -> None:
    assert es_numbers.number(written) == spoken


@pytest.mark.parametrize(
    ("noun", "gender"),
    [
        ("viviendas", "f"),
        ("habitaciones", "f"),
        ("pisos", "m"),
        ("días", "m"),
        ("problemas", "m"),
        ("hectárea", "f"),
        ("plantas", "f"),
        ("calles", "f"),
        ("programas", "m"),
        ("ciudades", "f"),
    ],
)
def test_the_gender_of_a_noun_shows_in_its_ending(noun: str, gender: str) -> None:
    assert gender_of(noun) == gender


@given(st.text("0123456789", min_size=1, max_size=40))
def test_digits_read_out_in_groups_are_all_there(written: str) -> None:
    groups = grouped(written)
    assert "".join(groups) == written
    assert all(1 <= len(group) <= 5 for group in groups)
