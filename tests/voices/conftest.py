"""Fixtures of the voice tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.providers.local import LocalProvider
from core.voices.hibari import Hibari
from core.voices.registry import EngineOptions


@pytest.fixture(scope="session")
def hibari() -> Hibari:
    """The English engine, in this process."""
    return Hibari(EngineOptions(data_dir=""))


@pytest.fixture
async def local(voice_server: Path) -> AsyncIterator[LocalProvider]:
    """A client of the shared voice server."""
    provider = LocalProvider(voice_server)
    yield provider
    await provider.aclose()
