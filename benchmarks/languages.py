"""First audio of the local voices: three languages, and what Mandarin costs the others."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec

from benchmarks.budgets import Budgets
from benchmarks.listener import Heard, listen
from benchmarks.report import Row, at_least, at_most
from benchmarks.scenarios import STREAM, TEN_WORDS, Times, body_of, speak_all
from benchmarks.stack import Stack
from benchmarks.stats import percentile, summary

TEN_WORDS_OF: Final = {
    "en": TEN_WORDS,
    "es": "¿Le gustaría visitar la casa el sábado por la mañana?",
    "zh": "您想在星期六上午来看这套房子吗？",
}
_DIGITS: Final = "零一二三四五六七八九"


class Size(msgspec.Struct, frozen=True):
    """How many samples."""

    quick_requests: int
    """Of English and of Spanish."""
    mandarin_requests: int
    beside_requests: int
    """Of English, with and without Mandarin streams, in turn."""


async def measure(stack: Stack, limits: Budgets, size: Size) -> list[Row]:
    """All rows."""
    rows: list[Row] = []
    for language in ("en", "es"):
        await _ten_words(stack, language, 5, 1)
        times = await _ten_words(stack, language, size.quick_requests, 1)
        rows += _rows(
            f"local voice, {language}, ten words, uncached",
            times,
            limits.first_audio_ms.uncached_local_p50,
        )
    await _ten_words(stack, "zh", 2, 2)
    for at_once in (1, 2):
        times = await _ten_words(stack, "zh", size.mandarin_requests, at_once)
        rows += _rows(
            f"local voice, zh, ten words, uncached, {at_once} at once",
            times,
            limits.first_audio_ms.uncached_mandarin_p50,
        )
        rows.append(
            at_most(
                f"zh, {at_once} at once: underruns over 300 ms",
                times.underruns,
                0,
                str(times.underruns),
            )
        )
    rows += await _crowd(stack, limits)
    alone, beside = await _beside(stack, size.beside_requests)
    ratio = percentile(beside, 0.95) / percentile(alone, 0.95)
    rows.append(
        at_most(
            "en first audio p95 while two zh streams run, over without any",
            ratio,
            limits.ratios.english_p95_beside_mandarin,
            f"{ratio:.2f} (ms: {summary(beside)} over {summary(alone)})",
        )
    )
    return rows


def _rows(what: str, times: Times, p50_limit: float) -> list[Row]:
    return [
        at_most(
            f"{what}: first audio, ms",
            percentile(times.first_audio_ms, 0.5),
            p50_limit,
            summary(times.first_audio_ms),
        ),
        at_most(f"{what}: failed", len(times.failed), 0, str(len(times.failed))),
    ]


async def _ten_words(stack: Stack, language: str, requests: int, at_once: int) -> Times:
    """The ten-word sentence, never from the cache."""
    body = _uncached(TEN_WORDS_OF[language], language)
    return await speak_all(stack, [body] * requests, at_once, to_the_end=language == "zh")


def _uncached(text: str, language: str) -> dict[str, Any]:
    return body_of(text, language=language, format="pcm", enable_caching=False)


async def _crowd(stack: Stack, limits: Budgets) -> list[Row]:
    """Six Mandarin requests at the same instant: each starts in time or is refused at once."""
    texts = [f"第{_DIGITS[n]}套房子离地铁站很近，周末可以带您去看。" for n in range(1, 7)]
    async with aiohttp.ClientSession() as http:
        heard = await asyncio.gather(*(_stream(http, stack, text) for text in texts))
    served = [h.listening().first_audio_ms or 9e9 for h in heard if h.complete]
    refused = [h.total_ms for h in heard if h.status in (429, 503)]
    other = len(heard) - len(served) - len(refused)
    return [
        at_least("six zh at once: served", len(served), 2, str(len(served))),
        at_most(
            "six zh at once: first audio of the served, ms, worst",
            max(served, default=9e9),
            limits.first_audio_ms.promise,
            f"{max(served, default=9e9):.0f}",
        ),
        at_most(
            "six zh at once: refused within, ms, worst",
            max(refused, default=0.0),
            limits.first_audio_ms.refused_max,
            f"{max(refused, default=0.0):.0f} (n={len(refused)})",
        ),
        at_most("six zh at once: neither", other, 0, str(other)),
    ]


async def _stream(http: aiohttp.ClientSession, stack: Stack, text: str) -> Heard:
    return await listen(http, "POST", stack.base_url + STREAM, json=_uncached(text, "zh"))


async def _beside(stack: Stack, requests: int) -> tuple[list[float], list[float]]:
    """English first audio without and with two Mandarin streams, in slices taken in turn."""
    alone: list[float] = []
    beside: list[float] = []
    slice_requests = max(1, requests // _SLICES)
    for _ in range(_SLICES):
        alone += await _english(stack, slice_requests)
        async with _mandarin_streams(stack, 2):
            beside += await _english(stack, slice_requests)
    return alone, beside


_SLICES: Final = 4
_PAUSE_S: Final = 0.1
"""Until a client that was told to come back asks again: the voice is to be at work all the time."""


async def _english(stack: Stack, requests: int) -> list[float]:
    times = await speak_all(stack, [_uncached(TEN_WORDS, "en")] * requests, 1)
    if times.failed:
        raise RuntimeError(f"a request failed: {times.failed[0]}")
    return times.first_audio_ms


@asynccontextmanager
async def _mandarin_streams(stack: Stack, count: int) -> AsyncIterator[None]:
    """So many clients that have Mandarin spoken without a pause."""

    async def client(number: int, http: aiohttp.ClientSession) -> None:
        for turn in itertools.count():
            text = (
                f"第{_spelt(turn)}套房子在{_spelt(number)}楼，离地铁站很近，周末可以带您去看。" * 2
            )
            heard = await _stream(http, stack, text)
            if heard.status == 503:
                await asyncio.sleep(_PAUSE_S)
            elif not heard.complete:
                raise RuntimeError(f"a Mandarin stream ended: {heard.status} {heard.error}")

    async with aiohttp.ClientSession() as http:
        tasks = [asyncio.create_task(client(number, http)) for number in range(1, count + 1)]
        try:
            await asyncio.sleep(0.5)
            yield
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _spelt(number: int) -> str:
    return "".join(_DIGITS[int(digit)] for digit in str(number))
