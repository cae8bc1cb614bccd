"""Is the gateway ready, and how soon does it speak: asked from outside, over its public API."""

from __future__ import annotations

import array
import asyncio
import sys
import time
from typing import Final

import aiohttp
import msgspec

from core.audio.pcm import AUDIBLE_AMPLITUDE, BYTES_PER_S, SAMPLE_BYTES
from core.errors import ConfigurationError

GREETING: Final = "Hello, this is Seiketsu. How can I help you today?"

_POLL_S: Final = 0.02
_GREETING_TIMEOUT_S: Final = 30.0


class Greeting(msgspec.Struct, frozen=True):
    """What was heard. Times count from just before the request was sent."""

    first_audio_ms: float
    """Until the piece with the first sample over -45 dBFS had arrived."""
    speech_s: float
    """Length of the audio, in seconds."""


class GreetingFailed(Exception):
    """The gateway did not speak; the text says why."""


async def wait_until_ready(base_url: str, timeout_s: float) -> None:
    """Return when `/health/ready` answers 200.

    Raises:
        ConfigurationError: it did not within `timeout_s` seconds; says what it answered last.
    """
    until = time.monotonic() + timeout_s
    last = "no answer"
    async with aiohttp.ClientSession(trust_env=False) as http:
        while (left := until - time.monotonic()) > 0:
            try:
                limit = aiohttp.ClientTimeout(total=left)
                async with http.get(f"{base_url}/health/ready", timeout=limit) as reply:
                    if reply.status == 200:
                        return
                    last = f"status {reply.status}, {(await reply.text())[:200]}"
            except (aiohttp.ClientError, TimeoutError) as error:
                last = type(error).__name__
            await asyncio.sleep(_POLL_S)
    raise ConfigurationError(f"The gateway was not ready within {timeout_s:g} s ({last}).")


async def speak_greeting(base_url: str, api_key: str | None) -> Greeting:
    """Have the greeting spoken over REST streaming and listen to it.

    Raises:
        GreetingFailed: an error, a broken stream, or no audible sample.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    body = {
        "text": GREETING,
        "voice_agent_id": "agent_123",
        "language": "en",
        "format": "pcm",
    }
    url = f"{base_url}/api/v1/voice/streaming/synthesize/streaming"
    limit = aiohttp.ClientTimeout(total=_GREETING_TIMEOUT_S)
    first_audio_ms: float | None = None
    rest, received = b"", 0
    try:
        async with aiohttp.ClientSession(trust_env=False, timeout=limit) as http:
            started = time.perf_counter()
            async with http.post(url, json=body, headers=headers) as reply:
                if reply.status != 200:
                    raise GreetingFailed(f"status {reply.status}: {(await reply.text())[:300]}")
                async for piece in reply.content.iter_any():
                    received += len(piece)
                    if first_audio_ms is None:
                        whole = (len(rest) + len(piece)) // SAMPLE_BYTES * SAMPLE_BYTES
                        rest += piece
                        if _audible(rest[:whole]):
                            first_audio_ms = (time.perf_counter() - started) * 1000
                        rest = rest[whole:]
    except (aiohttp.ClientError, TimeoutError) as error:
        raise GreetingFailed(f"the stream broke ({type(error).__name__})") from error
    if first_audio_ms is None:
        raise GreetingFailed("the reply holds no audible sample")
    return Greeting(first_audio_ms=first_audio_ms, speech_s=received / BYTES_PER_S)


def _audible(pcm: bytes) -> bool:
    samples = array.array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return any(abs(sample) > AUDIBLE_AMPLITUDE for sample in samples)


def example(base_url: str, with_key: bool) -> str:
    """A command line that writes a playable `hello.mp3`."""
    key = " -H 'Authorization: Bearer YOUR_KEY'" if with_key else ""
    return (
        f"curl -sS -X POST {base_url}/api/v1/voice/synthesize{key}"
        " -H 'Content-Type: application/json' -H 'Accept: audio/mpeg'"
        ' -d \'{"text":"Hello! How can I help you today?","voice_agent_id":"agent_123"}\''
        " -o hello.mp3"
    )
