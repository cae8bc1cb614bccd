"""What tests need to talk to a voice server. The server itself: the fixture `voice_server` (shared,
one child) or `core.voices.process.VoiceServerProcess` where a test hurts it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from core.deadline import Deadline
from core.providers.base import SpeechCall, SpeechProvider, SpokenText, WorkClass
from core.providers.local import LocalProvider
from core.speech import Attempt, SegmentPlan, SegmentTrace, VoiceSettings, WordTiming
from core.voices.protocol import StatusReply

VOICE = "hibari/heart"
TEN_WORDS = "Would you like to visit the house on Saturday morning?"
SLOW_TEXT = "= " * 2400
"""About 6 s of work, in steps of 0.5 s; the first audio comes after the first step."""

SENTENCES = (
    "The apartment has two bedrooms and a large balcony.",
    TEN_WORDS,
    "The asking price is three hundred and fifty thousand dollars.",
    "Heating and water are included in the monthly rent.",
    "I can send you the floor plan by email right now.",
    "The building was renovated last year and has a new elevator.",
    "Please hold the line while I check the available dates.",
    "There is a school and a supermarket within walking distance.",
    "The owner is willing to negotiate if you sign this month.",
    "Thank you for calling, our agent will contact you tomorrow.",
)


def segment_of(
    text: str, *, voice: str = VOICE, speed: float | None = None, seed: int | None = None
) -> SegmentPlan:
    """A plan with one attempt, the local voice."""
    attempt = Attempt(
        provider="local",
        account="",
        voice=voice,
        model="hibari",
        language="en",
        settings=None if speed is None else VoiceSettings(speed=speed),
        voice_key="0" * 32,
        seed=seed,
    )
    return SegmentPlan(0, text, 0, len(text), tuple(range(len(text) + 1)), (attempt,))


def call_of(
    *, first_audio_s: float = 20.0, whole_s: float = 40.0, work_class: WorkClass = "live"
) -> SpeechCall:
    """A call that starts now."""
    deadline = Deadline.after(first_audio_s=first_audio_s, whole_s=whole_s)
    return SpeechCall(deadline, SegmentTrace(), work_class)


async def speak(
    provider: SpeechProvider,
    text: str,
    *,
    spoken: SpokenText | None = None,
    segment: SegmentPlan | None = None,
    call: SpeechCall | None = None,
) -> tuple[bytes, list[WordTiming]]:
    """All audio and word timings of one call."""
    pcm = bytearray()
    words: list[WordTiming] = []
    plan = segment or segment_of(text)
    async with aclosing(provider.stream(spoken or text, plan, call or call_of())) as chunks:
        async for chunk in chunks:
            pcm += chunk.pcm
            words += chunk.words
    return bytes(pcm), words


async def wait_status(
    provider: LocalProvider, wanted: Callable[[StatusReply], bool], timeout_s: float = 10.0
) -> StatusReply:
    """The first status of the server that is as wanted."""
    async with asyncio.timeout(timeout_s):
        while not wanted(status := await provider.status()):
            await asyncio.sleep(0.005)
        return status


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
