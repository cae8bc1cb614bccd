"""What each family of output formats costs: delay before its first bytes, and processor time."""

from __future__ import annotations

import time
from statistics import median
from typing import Final

import msgspec
import numpy as np
from hibari import Hibari

from benchmarks.report import table
from benchmarks.scenarios import TEN_WORDS
from core.audio.codecs import open_encoder, pieces
from core.audio.formats import FORMATS, OutputFormat
from core.audio.pcm import BYTES_PER_S
from core.audio.pool import CodecPool
from core.audio.silence import LeadTrimmer
from core.speech import AudioChunk

REPRESENTATIVES: Final = (
    *("mp3_24000_128", "mp3_22050_32", "mp3_44100_128", "wav_24000", "wav_48000", "pcm_16000"),
    *("ulaw_8000", "alaw_8000", "opus_48000_32", "opus_48000_64", "ogg_48000_64"),
)
"""One of every codec and kind of rate, and the short name `ogg`."""

SOURCE_S: Final = 30
_STEP_MS: Final = 10


class FormatCost(msgspec.Struct, frozen=True):
    """Of one format; medians."""

    name: str
    fed_ms: int
    """Audio that had to go in before the first bytes came out, in steps of 10 ms."""
    first_bytes_ms: float
    """Work until the first bytes, fed as a reply is: 100 ms of audio, then 2 s at a time."""
    cpu_ms_per_s: float
    """Processor time of all threads per second of audio, seal included."""
    kbps: float
    """Measured: bytes of the whole body over its duration."""


async def format_costs(*, runs: int = 11) -> list[FormatCost]:
    """The costs of every representative, each measured `runs` times; takes 1 s a run."""
    pcm = _speech()
    costs: list[FormatCost] = []
    async with CodecPool() as pool:
        for name in REPRESENTATIVES:
            output = FORMATS[name]
            await _encode(output, pool, pcm)
            timed = [await _encode(output, pool, pcm) for _ in range(runs)]
            costs.append(
                FormatCost(
                    name=name,
                    fed_ms=await _fed_ms(output, pool, pcm),
                    first_bytes_ms=median(first for first, _, _ in timed),
                    cpu_ms_per_s=median(cpu for _, cpu, _ in timed) / SOURCE_S,
                    kbps=timed[0][2] * 8 / 1000 / SOURCE_S,
                )
            )
    return costs


def costs_table(costs: list[FormatCost]) -> str:
    """As Markdown."""
    return table(
        (
            "format",
            "audio fed before first bytes, ms",
            "work before first bytes, ms",
            "CPU, ms per s of audio",
            "kbit/s",
        ),
        [
            (
                cost.name,
                str(cost.fed_ms),
                f"{cost.first_bytes_ms:.2f}",
                f"{cost.cpu_ms_per_s:.2f}",
                f"{cost.kbps:.0f}",
            )
            for cost in costs
        ],
    )


def _speech() -> bytes:
    """A sentence over and over, from its first sound on, as a stream has it."""
    spoken = np.clip(Hibari()(TEN_WORDS, seed=7), -1, 1) * 32_767
    trimmed = LeadTrimmer().feed(AudioChunk(pcm=spoken.astype("<i2").tobytes()))
    if trimmed is None:
        raise RuntimeError("The voice said nothing.")
    wanted = SOURCE_S * BYTES_PER_S
    return (trimmed.pcm * (wanted // len(trimmed.pcm) + 1))[:wanted]


async def _encode(output: OutputFormat, pool: CodecPool, pcm: bytes) -> tuple[float, float, int]:
    """Milliseconds until the first bytes, of processor time for all, and bytes of the body."""
    body: list[bytes] = []
    first_ms: float | None = None
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    encoder = open_encoder(output, pool)
    for piece in pieces(pcm):
        data = await encoder.feed(piece)
        body.append(data)
        if data and first_ms is None:
            first_ms = (time.perf_counter() - began_s) * 1000
    body.append(await encoder.finish())
    sealed = encoder.seal(b"".join(body))
    cpu_ms = (time.process_time() - began_cpu_s) * 1000
    assert first_ms is not None
    return first_ms, cpu_ms, len(sealed)


async def _fed_ms(output: OutputFormat, pool: CodecPool, pcm: bytes) -> int:
    encoder = open_encoder(output, pool)
    step = BYTES_PER_S * _STEP_MS // 1000
    for at in range(0, len(pcm), step):
        if await encoder.feed(pcm[at : at + step]):
            return (at // step + 1) * _STEP_MS
    raise RuntimeError(f"{output.name} gave nothing.")
