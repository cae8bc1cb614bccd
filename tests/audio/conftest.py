"""Real speech for the audio tests, by the local English voice, and a decoder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import numpy.typing as npt
import pytest
from hibari import Hibari

from core.audio.pool import CodecPool

SEED = 7
SENTENCES = (
    "Hello! How can I help you today?",
    "Thank you for calling.",
    "The three bedroom house on Maple Street has a large garden, and it is open for viewing this "
    "Saturday from two until five in the afternoon.",
    "I can schedule a tour for tomorrow morning at half past nine.",
    "The asking price is $425,000.",
    "Yes.",
)


@pytest.fixture(scope="session")
def spoken() -> dict[str, bytes]:
    """Sentence to canonical audio, as the voice gives it: with silence before and after."""
    voice = Hibari()
    return {
        text: (np.clip(voice(text, seed=SEED), -1, 1) * 32767).astype("<i2").tobytes()
        for text in SENTENCES
    }


@pytest.fixture(scope="session")
def ten_seconds(spoken: dict[str, bytes]) -> bytes:
    """Ten seconds of speech, sentence after sentence."""
    return b"".join(spoken.values())[: 10 * 48_000]


@pytest.fixture
async def pool() -> AsyncIterator[CodecPool]:
    async with CodecPool() as opened:
        yield opened


def samples(pcm: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float64)
