"""Decodes a whole reply as any player would: by FFmpeg."""

from __future__ import annotations

import io
from typing import Final

import av
import numpy as np
import numpy.typing as npt

from core.audio.formats import OutputFormat

_DEMUXERS: Final = {"pcm": "s16le", "ulaw": "mulaw", "alaw": "alaw", "opus": "ogg"}


def decoded(body: bytes, output: OutputFormat) -> npt.NDArray[np.float64]:
    """Mono samples (full scale 32768) of an encoded body, by FFmpeg as any player would."""
    demuxer = _DEMUXERS.get(output.codec, output.codec)
    bare = output.codec in ("pcm", "ulaw", "alaw")
    options = {"sample_rate": str(output.rate_hz)} if bare else {}
    with av.open(io.BytesIO(body), "r", format=demuxer, options=options) as container:
        stream = container.streams.audio[0]
        assert stream.rate == output.rate_hz
        assert stream.channels == 1
        blocks = [frame.to_ndarray().astype(np.float64).ravel() for frame in container.decode()]
        scale = 32_768.0 if stream.format.name == "fltp" else 1.0
    return np.concatenate(blocks) * scale if blocks else np.zeros(0)
