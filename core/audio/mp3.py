"""MP3 by LAME, constant bit rate, with an Info frame so that players skip LAME's own delay.

LAME puts 576 samples before the audio, every decoder adds 529 more (46 ms together), and the last
frames are filled up with 11-48 ms. The Info frame (LAME's own extension of the Xing header) tells
players how much to skip: the first sound comes 46 ms earlier and the length is exact. While a
stream is running its end is not known, so its Info frame tells the delay alone; `seal` writes the
frame count and the padding too. A player that does not know Info frames plays 24 ms of silence.
"""

from __future__ import annotations

import struct
from typing import Final

import lameenc

from core.audio.formats import OutputFormat
from core.audio.pcm import BYTES_PER_S, samples_of
from core.audio.pool import CodecPool

QUALITY: Final = 5
"""LAME's effort, 2 (best) to 7 (fastest). 5 costs 1.8 ms per second of audio."""

INLINE_BYTES: Final = BYTES_PER_S // 5
"""Up to 200 ms of audio (0.35 ms of work) are encoded at once; longer pieces go to a thread."""

FRAME_SAMPLES: Final = 576
"""Of one MPEG-2 layer III frame."""

ENCODER_DELAY: Final = 576
"""Samples LAME puts before the audio; a decoder's own 529 are not part of it."""

_SIDE_INFO_BYTES: Final = 9
_LAME_TAG: Final = struct.Struct(">9sBBIHHBB3sBBHIH")
_HAS_FRAMES_AND_BYTES: Final = 3


class Mp3Encoder:
    """An `Encoder` of MPEG-2 layer III. One caller at a time."""

    def __init__(self, output: OutputFormat, pool: CodecPool) -> None:
        if output.kbps is None:
            raise ValueError("An mp3 format has a bit rate.")
        self._pool = pool
        self._kbps = output.kbps
        self._frame_bytes = FRAME_SAMPLES * output.kbps * 1000 // (8 * output.rate_hz)
        self._samples = 0
        self._begun = False
        self._usable = True
        self._lame = lameenc.Encoder()
        self._lame.silence()
        self._lame.set_channels(1)
        self._lame.set_in_sample_rate(output.rate_hz)
        self._lame.set_out_sample_rate(output.rate_hz)
        self._lame.set_bit_rate(output.kbps)
        self._lame.set_quality(QUALITY)

    async def feed(self, pcm: bytes) -> bytes:
        """Frames that are complete with `pcm`; the first come after 40 ms (128 kbit/s) of audio.

        After a cancellation the encoder cannot be used again: a thread may still hold it.

        Raises:
            RuntimeError: it is finished, or was cancelled while encoding.
        """
        self._require_usable()
        if len(pcm) <= INLINE_BYTES:
            frames = bytes(self._lame.encode(pcm))
        else:
            self._usable = False
            frames = bytes(await self._pool.run(self._lame.encode, pcm))
            self._usable = True
        self._samples += samples_of(len(pcm))
        return self._headed(frames)

    async def finish(self) -> bytes:
        """The last frames.

        Raises:
            RuntimeError: it is finished, or was cancelled while encoding.
        """
        self._require_usable()
        self._usable = False
        if not self._samples:
            return b""
        return self._headed(bytes(self._lame.flush()))

    def seal(self, body: bytes) -> bytes:
        """`body`, all that was returned so far, with the exact length in its Info frame."""
        if not body:
            return body
        audio = memoryview(body)[self._frame_bytes :]
        frames = len(audio) // self._frame_bytes
        padding = frames * FRAME_SAMPLES - ENCODER_DELAY - self._samples
        info = self._info(body[:4], padding=padding, frames=frames, total_bytes=len(body))
        return b"".join((info, audio))

    def _require_usable(self) -> None:
        if not self._usable:
            raise RuntimeError("This encoder is finished or was cancelled.")

    def _headed(self, frames: bytes) -> bytes:
        if self._begun or not frames:
            return frames
        self._begun = True
        return self._info(frames[:4]) + frames

    def _info(
        self, header: bytes, *, padding: int = 0, frames: int = 0, total_bytes: int = 0
    ) -> bytes:
        """One frame of silence that carries the Info tag, with the audio frames' own `header`."""
        tag = header + bytes(_SIDE_INFO_BYTES) + b"Info"
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
        return tag.ljust(self._frame_bytes, b"\0")


def _crc16(data: bytes) -> int:
    """CRC-16 with the reflected polynomial 0xA001, as LAME signs its tag."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
