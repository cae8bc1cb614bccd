"""Output formats: names, content types, tier gates, and the encoders behind them."""

from __future__ import annotations

import io
import struct
from typing import Final

import av
import lameenc
import msgspec
import numpy as np
import soxr

SOURCE_HZ: Final = 24_000
"""All audio of the emulator is made at this rate, s16le mono."""

DEFAULT_FORMAT: Final = "mp3_44100_128"
_CREATOR, _PRO = 2, 3


class WireFormat(msgspec.Struct, frozen=True):
    """One `output_format`."""

    name: str
    codec: str
    rate_hz: int
    kbps: int = 0

    @property
    def content_type(self) -> str:
        """As the vendor answers; for u-law and A-law it is not known, `audio/basic` is assumed."""
        kind = {"mp3": "mpeg", "ulaw": "basic", "alaw": "basic"}.get(self.codec, self.codec)
        return f"audio/{kind}"

    @property
    def least_rank(self) -> int:
        """Rank of the smallest plan that includes it."""
        if self.codec == "mp3" and self.kbps == 192:
            return _CREATOR
        return _PRO if self.codec in ("pcm", "wav") and self.rate_hz == 44_100 else 0


def _all() -> dict[str, WireFormat]:
    made = [
        WireFormat(f"{codec}_{rate}", codec, rate)
        for codec in ("pcm", "wav")
        for rate in (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
    ]
    made += [WireFormat("ulaw_8000", "ulaw", 8_000), WireFormat("alaw_8000", "alaw", 8_000)]
    mp3 = [(22_050, 32), (24_000, 48), *((44_100, kbps) for kbps in (32, 64, 96, 128, 192))]
    made += [WireFormat(f"mp3_{rate}_{kbps}", "mp3", rate, kbps) for rate, kbps in mp3]
    made += [WireFormat(f"opus_48000_{k}", "opus", 48_000, k) for k in (32, 64, 96, 128, 192)]
    return {each.name: each for each in made}


FORMATS: Final = _all()


def find_format(name: str, *, streamed: bool) -> WireFormat | None:
    """The format of that name; the streaming routes have no wav."""
    found = FORMATS.get(name)
    return None if found is None or (streamed and found.codec == "wav") else found


def encode(pcm: bytes, wire: WireFormat) -> bytes:
    """Source audio as the complete bytes of a format. Blocks; its C code releases the GIL."""
    if wire.rate_hz != SOURCE_HZ and pcm:
        samples = np.frombuffer(pcm, "<i2")
        pcm = soxr.resample(samples, SOURCE_HZ, wire.rate_hz, quality="HQ").tobytes()
    match wire.codec:
        case "pcm":
            return pcm
        case "wav":
            return _wav_header(len(pcm), wire.rate_hz) + pcm
        case "mp3":
            return _mp3(pcm, wire)
        case "opus":
            return _opus(pcm, wire)
    return _packets(pcm, "pcm_mulaw" if wire.codec == "ulaw" else "pcm_alaw")


def _wav_header(size: int, rate_hz: int) -> bytes:
    layout = struct.pack("<HHIIHH", 1, 1, rate_hz, rate_hz * 2, 2, 16)
    head = b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + struct.pack("<I", 16)
    return head + layout + b"data" + struct.pack("<I", size)


def _mp3(pcm: bytes, wire: WireFormat) -> bytes:
    encoder = lameenc.Encoder()
    encoder.set_bit_rate(wire.kbps)
    encoder.set_in_sample_rate(wire.rate_hz)
    encoder.set_out_sample_rate(wire.rate_hz)
    encoder.set_channels(1)
    encoder.set_quality(7)
    return bytes(encoder.encode(pcm)) + bytes(encoder.flush())


def _frame(pcm: bytes, rate_hz: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2")[None, :], "s16", "mono")
    frame.sample_rate = rate_hz
    return frame


def _packets(pcm: bytes, codec: str) -> bytes:
    if not pcm:
        return b""
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 8_000, "mono", "s16"
    packets = [*encoder.encode(_frame(pcm, 8_000)), *encoder.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def _opus(pcm: bytes, wire: WireFormat) -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format="ogg", options={"page_duration": "20000"}) as container:
        stream = container.add_stream("libopus", rate=wire.rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate, stream.layout = wire.kbps * 1000, "mono"
        frames = [_frame(pcm, wire.rate_hz)] if pcm else []
        for frame in [*frames, None]:
            container.mux(stream.encode(frame))
    return sink.getvalue()
