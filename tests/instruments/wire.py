"""Brings samples through the codecs that the wire may use, with the real libraries."""

from __future__ import annotations

import av
import lameenc
import numpy as np
import numpy.typing as npt
import soxr

Samples = npt.NDArray[np.int16]


def mp3(pcm: bytes, rate_hz: int, kbps: int) -> bytes:
    encoder = lameenc.Encoder()
    encoder.set_bit_rate(kbps)
    encoder.set_in_sample_rate(rate_hz)
    encoder.set_out_sample_rate(rate_hz)
    encoder.set_channels(1)
    encoder.set_quality(7)
    return bytes(encoder.encode(pcm)) + bytes(encoder.flush())


def resample(pcm: bytes, from_hz: int, to_hz: int) -> bytes:
    samples = np.frombuffer(pcm, "<i2")
    out: Samples = soxr.resample(samples, from_hz, to_hz, quality="HQ")
    return out.tobytes()


def ulaw(pcm_8000: bytes) -> bytes:
    encoder = av.CodecContext.create("pcm_mulaw", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate = 8_000
    encoder.layout = "mono"
    encoder.format = "s16"
    frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm_8000, "<i2")[None, :], "s16", "mono")
    frame.sample_rate = 8_000
    return b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)])
