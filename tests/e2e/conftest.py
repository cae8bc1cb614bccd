"""A client of the installation that a module has opened."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Usual connections, closed after the test."""
    async with aiohttp.ClientSession() as session:
        yield session
