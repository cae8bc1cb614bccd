"""Real speech for the audio tests, by the local English voice, and a decoder."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import av
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


def decoded(body: bytes, container_format: str) -> npt.NDArray[np.float64]:
    """Mono samples (full scale 32768) of an encoded body, by FFmpeg as any player would."""
    with av.open(io.BytesIO(body), "r", format=container_format) as container:
        assert container.streams.audio[0].rate == 24_000
        assert container.streams.audio[0].channels == 1
        blocks = [frame.to_ndarray().astype(np.float64).ravel() for frame in container.decode()]
        scale = 32_768.0 if container.streams.audio[0].format.name == "fltp" else 1.0
    return np.concatenate(blocks) * scale if blocks else np.zeros(0)


def samples(pcm: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float64)
