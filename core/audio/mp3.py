"""MP3 by LAME, constant bit rate, with an Info frame so that players skip LAME's own delay.

LAME puts 576 samples before the audio, every decoder adds 529 more (46 ms together at 24 kHz), and
the last frames are filled up with 11-52 ms. The Info frame (LAME's own extension of the Xing
header) tells players how much to skip: the first sound comes that much earlier and the length is
exact. While a stream is running its end is not known, so its Info frame tells the delay alone;
`seal` writes the frame count and the padding too. A player that does not know Info frames plays one
frame of silence (24-26 ms).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import lameenc

from core.audio.formats import OutputFormat
from core.audio.pcm import samples_of

EFFORT: Final = 7
"""LAME's, 2 (most) to 7 (least). 7 costs 1.1 ms per second of audio at 24 kHz and 1.9 at 44.1; 5
costs 1.4 and 3.1. 7 does not shape its noise, which at these bit rates lies over 20 dB under the
voice in every band up to 11 kHz, as low as with 5."""

LOW_KBPS: Final = 96
"""Under it noise is near enough to the voice to be worth shaping."""
LOW_KBPS_EFFORT: Final = 5

ENCODER_DELAY: Final = 576
"""Samples LAME puts before the audio; a decoder's own 529 are not part of it."""

_DECODER_DELAY: Final = 529

MPEG1_FROM_HZ: Final = 32_000
"""Lower rates belong to MPEG-2, whose frames are half as long."""

_LAME_TAG: Final = struct.Struct(">9sBBIHHBB3sBBHIH")
_HAS_FRAMES_AND_BYTES: Final = 3
_PADDED: Final = 0x02
"""Bit of a header's third byte: the frame is a byte longer, so that the bit rate comes out even."""


class Mp3Coder:
    """A `Coder` of MPEG layer III, one channel."""

    def __init__(self, output: OutputFormat) -> None:
        if output.kbps is None:
            raise ValueError("An mp3 format has a bit rate.")
        mpeg1 = output.rate_hz >= MPEG1_FROM_HZ
        self.inline_ms = 80 if mpeg1 else 400
        self._kbps = output.kbps
        self._frame_samples = 1_152 if mpeg1 else 576
        self._side_info_bytes = 17 if mpeg1 else 9
        self._frame_bytes = self._frame_samples * output.kbps * 1000 / (8 * output.rate_hz)
        self._info_bytes = int(self._frame_bytes)
        self._samples = 0
        self._begun = False
        self._lame = lameenc.Encoder()
        self._lame.silence()
        self._lame.set_channels(1)
        self._lame.set_in_sample_rate(output.rate_hz)
        self._lame.set_out_sample_rate(output.rate_hz)
        self._lame.set_bit_rate(output.kbps)
        self._lame.set_quality(EFFORT if output.kbps >= LOW_KBPS else LOW_KBPS_EFFORT)

    def feed(self, pcm: bytes) -> bytes:
        """Frames that are complete with `pcm`; the first come after 40 ms (24 kHz, 128 kbit/s)."""
        frames = bytes(self._lame.encode(pcm))
        self._samples += samples_of(len(pcm))
        return self._headed(frames)

    def finish(self) -> bytes:
        """The last frames; nothing when nothing was fed."""
        return self._headed(bytes(self._lame.flush())) if self._samples else b""

    def seal(self, body: bytes) -> bytes:
        """`body`, all that was returned so far, with the exact length in its Info frame."""
        if not body:
            return body
        audio = memoryview(body)[self._info_bytes :]
        frames = round(len(audio) / self._frame_bytes)
        padding = frames * self._frame_samples - ENCODER_DELAY - self._samples
        info = self._info(body[:4], padding=padding, frames=frames, total_bytes=len(body))
        return b"".join((info, audio))

    def _headed(self, frames: bytes) -> bytes:
        if self._begun or not frames:
            return frames
        self._begun = True
        header = bytearray(frames[:4])
        header[2] &= ~_PADDED
        return self._info(bytes(header)) + frames

    def _info(
        self, header: bytes, *, padding: int = 0, frames: int = 0, total_bytes: int = 0
    ) -> bytes:
        """One frame of silence that carries the Info tag, with the audio frames' own `header`."""
        tag = header + bytes(self._side_info_bytes) + b"Info"
        if frames:
            tag += struct.pack(">III", _HAS_FRAMES_AND_BYTES, frames, total_bytes)
        else:
            tag += bytes(4)
        skip = (ENCODER_DELAY << 12 | min(padding, 0xFFF)).to_bytes(3, "big")
        constant_bit_rate, mono = 1, 0
        tag += _LAME_TAG.pack(
            b"LAME3.100",
            constant_bit_rate,
            0,  # low pass: not told
            0,  # peak
            0,  # gain
            0,
            0,  # encoding flags
            min(self._kbps, 255),
            skip,
            mono << 2,
            0,  # mp3gain
            0,  # preset
            total_bytes,
            0,  # checksum of the audio: players do not ask for it
        )
        tag += _crc16(tag).to_bytes(2, "big")
        return tag.ljust(self._info_bytes, b"\0")


def frame_ends(body: bytes, output: OutputFormat) -> Iterator[tuple[int, float]]:
    """Where each frame of what `Mp3Coder` made ends: in bytes, and in milliseconds of the audio
    that a player can have played by then. The Info frame's end is the first, at 0 ms."""
    mpeg1 = output.rate_hz >= MPEG1_FROM_HZ
    frame_samples = 1_152 if mpeg1 else 576
    frame_bytes = int(frame_samples * (output.kbps or 0) * 1000 / (8 * output.rate_hz))
    end, frames = 0, 0
    while end + 4 <= len(body):
        end += frame_bytes + bool(body[end + 2] & _PADDED)
        played = frames * frame_samples - ENCODER_DELAY - _DECODER_DELAY
        yield min(end, len(body)), max(0.0, played * 1000 / output.rate_hz)
        frames += 1


def _crc16(data: bytes) -> int:
    """CRC-16 with the reflected polynomial 0xA001, as LAME signs its tag."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
