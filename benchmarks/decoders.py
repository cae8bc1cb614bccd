"""Incremental decoders: bytes as they arrive to 16-bit mono samples, no sample later than needed.

They serve measuring, so they are strict: what a lenient player would hide is an error here.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

import av
import numpy as np
import numpy.typing as npt

from benchmarks.ogg import Page, PageReader

Samples = npt.NDArray[np.int16]

NOTHING: Final[Samples] = np.zeros(0, np.int16)
_UNKNOWN_SIZES: Final = (0, 0x7FFFFFFF, 0xFFFFFFFF)
_WAV_CODECS: Final = {1: "pcm_s16le", 6: "pcm_alaw", 7: "pcm_mulaw"}

_MPEG1_KBPS: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS: Final = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class DecodeError(Exception):
    """The bytes are not the audio they claim to be; `samples` is what came before."""

    def __init__(self, message: str, samples: Samples = NOTHING) -> None:
        super().__init__(message)
        self.samples = samples


class Decoder(Protocol):
    """Turns pieces of a stream into samples. `rate_hz` is 0 until the stream has told it."""

    rate_hz: int

    def feed(self, data: bytes) -> Samples:
        """The samples that these bytes made available.

        Raises:
            DecodeError: the bytes are no such audio.
        """
        ...

    def finish(self) -> Samples:
        """What is left at the end of the stream.

        Raises:
            DecodeError: the stream ended inside a unit or short of its declared size.
        """
        ...


class PcmDecoder:
    """Signed 16-bit little endian, mono, without a header."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._rest = b""

    def feed(self, data: bytes) -> Samples:
        """Whole samples; an odd byte waits for its other half."""
        data = self._rest + data if self._rest else data
        whole = len(data) & ~1
        self._rest = data[whole:]
        return np.frombuffer(data[:whole], "<i2")

    def finish(self) -> Samples:
        """Nothing, unless half a sample is left."""
        if self._rest:
            raise DecodeError("the stream ends inside a sample")
        return NOTHING


class PacketDecoder:
    """A codec whose every byte string is a packet of its own: u-law and A-law."""

    def __init__(self, codec: str, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        context = av.CodecContext.create(codec, "r")
        assert isinstance(context, av.AudioCodecContext)
        context.sample_rate = rate_hz
        context.layout = "mono"
        self._context = context

    def feed(self, data: bytes) -> Samples:
        """One sample per byte."""
        if not data:
            return NOTHING
        return _joined(self._context.decode(av.Packet(data)))

    def finish(self) -> Samples:
        """Nothing is ever left."""
        return NOTHING


class Mp3Decoder:
    """MPEG audio frames, an ID3v2 tag in front allowed."""

    def __init__(self) -> None:
        self.rate_hz = 0
        context = av.CodecContext.create("mp3", "r")
        assert isinstance(context, av.AudioCodecContext)
        self._context = context
        self._head = b""
        self._skip = -1

    def feed(self, data: bytes) -> Samples:
        """The samples of every frame that is now complete."""
        if self._skip < 0:
            self._head += data
            if len(self._head) < 10:
                return NOTHING
            data, self._head = self._head, b""
            self._skip = 0
            if data[:3] == b"ID3":
                size = data[6:10]
                self._skip = 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3])
        dropped = min(self._skip, len(data))
        self._skip -= dropped
        return self._decode(data[dropped:]) if len(data) > dropped else NOTHING

    def finish(self) -> Samples:
        """The last frame, and what the codec still holds."""
        if self._head:
            raise DecodeError("too short for an mp3 frame")
        return self._decode(b"")

    def _decode(self, data: bytes) -> Samples:
        frames: list[av.AudioFrame] = []
        problem: str | None = None
        for packet in [*self._context.parse(data), *(() if data else (None,))]:
            if packet is not None and packet.size < _mp3_frame_bytes(bytes(packet)[:4]):
                problem = "mp3: the stream ends inside a frame"
            try:
                frames.extend(self._context.decode(packet))
            except av.FFmpegError as error:
                problem = problem or f"mp3: {error.strerror}"
        if problem:
            raise DecodeError(problem, self._samples(frames))
        return self._samples(frames)

    def _samples(self, frames: list[av.AudioFrame]) -> Samples:
        if frames:
            self.rate_hz = frames[0].sample_rate
        return _joined(frames)


def _mp3_frame_bytes(head: bytes) -> int:
    """Length of a layer III frame by its header; 0 when it is none (the codec says what it is)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, rate_at, kbps_at = head[1] >> 3 & 3, head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or rate_at == 3 or kbps_at in (0, 15):
        return 0
    kbps = (_MPEG1_KBPS if version == 3 else _MPEG2_KBPS)[kbps_at - 1]
    rate_hz = (44_100, 48_000, 32_000)[rate_at] >> {3: 0, 2: 1, 0: 2}[version]
    return (144 if version == 3 else 72) * kbps * 1000 // rate_hz + (head[2] >> 1 & 1)


class WavDecoder:
    """RIFF WAVE, mono: 16-bit PCM, u-law or A-law; sizes of 0 or -1 mean a stream of any length."""

    def __init__(self) -> None:
        self.rate_hz = 0
        self._head = b""
        self._inner: Decoder | None = None
        self._left: int | None = None

    def feed(self, data: bytes) -> Samples:
        """Samples of the data chunk."""
        if self._inner is None:
            self._head += data
            at = self._read_header()
            if self._inner is None:
                return NOTHING
            data, self._head = self._head[at:], b""
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return self._inner.feed(data)

    def finish(self) -> Samples:
        """Nothing, unless the stream is shorter than its header says."""
        if self._inner is None:
            raise DecodeError("the stream ends inside its wav header")
        if self._left:
            raise DecodeError(f"{self._left} bytes fewer than the wav header declares")
        return self._inner.finish()

    def _read_header(self) -> int:
        head = self._head
        if len(head) >= 12 and (head[:4], head[8:12]) != (b"RIFF", b"WAVE"):
            raise DecodeError("no wav header")
        at, layout = 12, b""
        while at + 8 <= len(head):
            name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
            if name == b"data":
                self._open(layout, size)
                return at + 8
            if at + 8 + size > len(head):
                break
            if name == b"fmt ":
                layout = head[at + 8 : at + 8 + size]
            at += 8 + size + (size & 1)
        return at

    def _open(self, layout: bytes, size: int) -> None:
        if len(layout) < 16:
            raise DecodeError("wav data without a format")
        tag, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", layout[:16])
        codec = _WAV_CODECS.get(tag)
        if codec is None or channels != 1 or bits != (16 if tag == 1 else 8):
            raise DecodeError(f"wav of kind {tag}, {channels} channels, {bits} bits")
        self.rate_hz = rate_hz
        self._inner = PcmDecoder(rate_hz) if tag == 1 else PacketDecoder(codec, rate_hz)
        self._left = None if size in _UNKNOWN_SIZES else size


class OggOpusDecoder:
    """Opus in Ogg, one channel, page by page: as long as its pages say, or it is an error."""

    def __init__(self) -> None:
        self.rate_hz = 0
        self._reader = PageReader()
        self._context: av.AudioCodecContext | None = None
        self._tagged = False
        self._pre_skip = 0
        self._count = 0

    def feed(self, data: bytes) -> Samples:
        """The samples of every page that is now complete."""
        parts: list[Samples] = []
        try:
            parts.extend(map(self._samples, self._reader.feed(data)))
        except (ValueError, av.FFmpegError) as problem:
            raise DecodeError(f"ogg: {problem}", _stitched(parts)) from problem
        return _stitched(parts)

    def finish(self) -> Samples:
        """Nothing, unless the stream does not end as one does."""
        if self._reader.unfinished or not self._reader.ended:
            raise DecodeError("ogg: the stream has no end")
        return NOTHING

    def _samples(self, page: Page) -> Samples:
        frames: list[av.AudioFrame] = []
        for packet in page.packets:
            if self._context is None:
                self._open(packet)
            elif not self._tagged:
                self._tagged = True
                if packet[:8] != b"OpusTags":
                    raise ValueError("the second packet is not OpusTags")
            else:
                frames += self._context.decode(av.Packet(packet))
        samples = _joined(frames)
        if not samples.size:
            return samples
        end = page.granule - self._pre_skip
        self._count += samples.size
        surplus = self._count - end
        if surplus < 0 or surplus > samples.size or (surplus and not page.last):
            raise ValueError(f"a page ends at sample {end}, its audio at {self._count}")
        return samples[: samples.size - surplus]

    def _open(self, head: bytes) -> None:
        if head[:8] != b"OpusHead" or len(head) < 19 or head[9] != 1:
            raise ValueError("no opus of one channel")
        context = av.CodecContext.create("libopus", "r")
        assert isinstance(context, av.AudioCodecContext)
        context.extradata = head
        context.sample_rate = self.rate_hz = 48_000
        context.layout = "mono"
        self._pre_skip = int.from_bytes(head[10:12], "little")
        self._context = context


def _stitched(parts: list[Samples]) -> Samples:
    return np.concatenate(parts) if parts else NOTHING


def _joined(frames: list[av.AudioFrame]) -> Samples:
    if not frames:
        return NOTHING
    mono = [frame.to_ndarray().reshape(-1) for frame in frames]
    joined = mono[0] if len(mono) == 1 else np.concatenate(mono)
    if joined.dtype != np.int16:
        joined = (np.clip(joined, -1, 1) * 32_767).astype(np.int16)
    return np.asarray(joined, np.int16)


def decoder_for(name: str) -> Decoder:
    """A decoder by format name (`mp3_24000_128`, `wav`, `pcm_24000`, `ogg`) or content type.

    Raises:
        ValueError: the format is not known here.
    """
    kind, _, parameters = name.partition(";")
    kind = kind.strip().lower().removeprefix("audio/").removeprefix("x-")
    codec, _, rate = kind.partition("_")
    for parameter in parameters.split(";"):
        key, _, value = parameter.strip().partition("=")
        if key == "rate":
            rate = value
    rate_hz = int(rate.split("_")[0]) if rate else 0
    if codec in ("mp3", "mpeg"):
        return Mp3Decoder()
    if codec in ("wav", "wave"):
        return WavDecoder()
    if codec in ("pcm", "l16"):
        return PcmDecoder(rate_hz or 24_000)
    if codec in ("ulaw", "basic", "pcmu"):
        return PacketDecoder("pcm_mulaw", rate_hz or 8_000)
    if codec in ("alaw", "alaw-basic", "pcma"):
        return PacketDecoder("pcm_alaw", rate_hz or 8_000)
    if codec in ("ogg", "opus"):
        return OggOpusDecoder()
    raise ValueError(f"no decoder for {name!r}")
