"""A text that is still being written, read by several."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from core.text.shared import SharedText, whole_text


async def written(*pieces: str, error: Exception | None = None) -> AsyncGenerator[str, None]:
    for piece in pieces:
        await asyncio.sleep(0.005)
        yield piece
    if error is not None:
        raise error


async def test_every_reader_gets_all_pieces_whenever_it_comes() -> None:
    async with SharedText(written("a", "b", "c")) as shared:
        early = asyncio.create_task(whole_text(shared.reader()))
        await asyncio.sleep(0.012)
        assert await whole_text(shared.reader()) == "abc"
        assert await early == "abc"


async def test_an_error_reaches_every_reader() -> None:
    async with SharedText(written("a", error=RuntimeError("lost"))) as shared:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="lost"):
                await whole_text(shared.reader())


async def test_leaving_stops_the_reading() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[str, None]:
        try:
            while True:
                await asyncio.sleep(0.001)
                yield "x"
        finally:
            closed.set()

    async with SharedText(endless()) as shared:
        assert await anext(shared.reader()) == "x"
    await asyncio.wait_for(closed.wait(), 1)
