"""Mandarin figures as words. `golden/zh.json` and `golden/heldout_zh.json` are the examples."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import cn2an
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text.clean import clean
from core.text.normalise import normalise
from core.text.wording.zh_numbers import cardinal

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = [
    (row["written"], row["spoken"])
    for name in ("zh.json", "heldout_zh.json")
    for row in json.loads((GOLDEN / name).read_text(encoding="utf-8"))
]

HAN = "的了在有年月日点层号楼室厅卫房套元块万亿千百平米度至到第每共周电话转热线前折"
FIGURES = "0123456789.,:/-~%+#*$¥€£ ㎡℃°²½０５ＡaAmMkKwWF@&=<>第"
TEXTS = st.text(st.sampled_from(HAN + FIGURES), max_size=40)


def spoken(text: str) -> str:
    return normalise(clean(text).text, "zh").text


def han_of(text: str) -> str:
    return "".join(c for c in text if "\u3400" <= c <= "\u9fff")


def is_spread_over(short: str, long: str) -> bool:
    rest = iter(long)
    return all(c in rest for c in short)


@pytest.mark.parametrize(("written", "expected"), EXAMPLES)
def test_a_figure_is_read_as_a_good_reader_reads_it(written: str, expected: str) -> None:
    assert spoken(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2套", "两套"),
        ("2楼", "二楼"),
        ("第2套", "第二套"),
        ("共2层", "共两层"),
        ("2手房", "二手房"),
        ("2月2日2点", "二月二日两点"),
        ("2、3个", "两、三个"),
        ("22个", "二十二个"),
        ("22000元", "两万二千元"),
        ("200%", "百分之二百"),
    ],
)
def test_two_is_liang_before_what_is_counted_alone(written: str, expected: str) -> None:
    assert spoken(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("3/4", "四分之三"),
        ("3/4前付清", "三月四日前付清"),
        ("3/15", "三月十五日"),
        ("3/15-3/20", "三月十五日到三月二十日"),
        ("3/4号线", "三、四号线"),
        ("12/20层", "第十二层，共二十层"),
        ("元/月", "元每月"),
        ("按月/年付", "按月、年付"),
        ("1:10", "一点十分"),
        ("配比1:10", "配比一比十"),
        ("位于-1层", "位于负一层"),
        ("5-8层", "五到八层"),
        ("3-2-1503", "三杠二杠一五零三"),
        ("2026-03-15", "二零二六年三月十五日"),
        ("2000-2500元", "两千到两千五百元"),
        ("2020-2025年", "二零二零到二零二五年"),
        ("5%至10%", "百分之五至百分之十"),
        ("100+套", "一百多套"),
        ("3+1户型", "三加一户型"),
    ],
)
def test_one_sign_is_read_by_what_stands_around_it(written: str, expected: str) -> None:
    assert spoken(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("拨打12345热线", "拨打幺二三四五热线"),
        ("成交12345套", "成交一万二千三百四十五套"),
        ("转302分机", "转三零二分机"),
        ("打100分", "打一百分"),
        ("尾号1234", "尾号一二三四"),
        ("110101199003078888", "一一零一零一一九九零零三零七八八八八"),
        ("1503室", "一五零三室"),
        ("12室", "十二室"),
        ("12345678901234567元", "一二三四五六七八九零一二三四五六七元"),
    ],
)
def test_codes_are_spelled_and_amounts_are_counted(written: str, expected: str) -> None:
    assert spoken(written) == expected


@pytest.mark.parametrize(
    "text",
    [
        "三室两厅一卫，总价三百五十万元，二零二六年三月十五日下午五点半。",
        "兩室兩廳，樓層很高，還有車位嗎？",
        "二〇二六年，壹佰贰拾万元整。",
        "“您好！”他说……《合同》——请看：好、不好？",
        "急售 满五唯一 南北通透",
    ],
)
def test_what_is_words_already_stays_as_it_is(text: str) -> None:
    assert spoken(text) == text


def test_numbers_agree_with_the_library_but_for_liang() -> None:
    draw = random.Random(7)
    numbers = [*range(20_000), *(draw.randrange(10 ** draw.randint(5, 16)) for _ in range(20_000))]
    for number in numbers:
        if "0000" in _groups_within(number):
            continue
        assert cardinal(str(number), liang=False) == cn2an.an2cn(str(number), "low")


def _groups_within(number: int) -> list[str]:
    digits = str(number)
    digits = digits.zfill(-(-len(digits) // 4) * 4)
    groups = [digits[at : at + 4] for at in range(0, len(digits), 4)]
    while groups and groups[-1] == "0000":
        groups.pop()
    return groups


def test_an_empty_group_is_heard_where_the_library_drops_it() -> None:
    assert cn2an.an2cn("100003000") == "一亿三千", "which people take for 130,000,000"
    assert cardinal("100003000") == "一亿零三千"


@given(TEXTS)
def test_no_han_character_is_lost_or_moved(text: str) -> None:
    assert is_spread_over(han_of(text), han_of(spoken(text)))


@given(TEXTS)
def test_no_digit_is_left_to_the_voice(text: str) -> None:
    assert not any(c in "0123456789" for c in spoken(text))


@given(st.one_of(TEXTS, st.text(max_size=60)))
def test_a_spoken_text_is_its_own_spoken_form(text: str) -> None:
    once = spoken(text)
    assert normalise(once, "zh").text == once


@given(st.one_of(TEXTS, st.text(max_size=60)))
def test_every_character_leads_back_into_the_written_text(text: str) -> None:
    written = clean(text).text
    result = normalise(written, "zh")
    assert len(result.offsets) == len(result.text) + 1
    assert list(result.offsets) == sorted(result.offsets)
    assert result.offsets[-1] <= len(written)
    unchanged = [c for c in written if "\u3400" <= c <= "\u9fff"]
    assert is_spread_over("".join(unchanged), han_of(result.text))


def test_a_price_leads_back_to_its_first_character() -> None:
    result = normalise("总价¥3,500,000，可议", "zh")
    assert result.text == "总价三百五十万元，可议"
    assert list(result.offsets) == [0, 1, 2, 2, 2, 2, 2, 2, 12, 13, 14, 15]


@pytest.mark.parametrize(
    "unit",
    ["1", "1,", "1-", "1/", "1:", "~1", "1㎡-", "1%", "$1", "a.", "a@", "1 ", "栋1", "１", "#"],
)
def test_time_grows_with_the_length_of_the_text(unit: str) -> None:
    short, long = (unit * 4_000)[:1_500], (unit * 40_000)[:15_000]
    assert _seconds(long) < 30 * _seconds(short) + 0.05, "ten times the text"


def _seconds(text: str) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        normalise(text, "zh")
        best = min(best, time.perf_counter() - start)
    return best


def test_the_rules_load_no_heavy_library() -> None:
    code = (
        "import sys; from core.text.normalise import normalise; normalise('350万', 'zh');"
        "print([m for m in ('cn2an', 'jieba', 'misaki', 'numpy', 'pypinyin') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
