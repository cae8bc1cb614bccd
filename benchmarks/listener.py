"""An outside client's ear: what arrived on the wire, when, and what a player would have made of it.

Reception only notes pieces and times; decoding happens afterwards (`Heard.listening`) and so does
not disturb what is measured. *First audio* is the arrival of the piece that lets a decoder produce
the first sample over -45 dBFS (`core.audio.pcm.AUDIBLE_AMPLITUDE`): never a header, never silence.
"""

from __future__ import annotations

import asyncio
import base64
import json as jsonlib
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp
import msgspec
import numpy as np

from benchmarks.decoders import DecodeError, Decoder, Samples, decoder_for
from core.audio.pcm import AUDIBLE_AMPLITUDE

UNDERRUN_MS: Final = 300.0
"""A gap longer than this is an underrun."""

_SMALLEST_GAP_MS: Final = 0.5


class Piece(msgspec.Struct, frozen=True):
    """Bytes as one read gave them; `at_s` is `time.monotonic()` when they were there."""

    at_s: float
    data: bytes


class Gap(msgspec.Struct, frozen=True):
    """A time in which the player had nothing to play."""

    at_ms: float
    """Place in the audio, counted from its first sample."""
    lasts_ms: float


class Listening(msgspec.Struct, frozen=True):
    """What a player heard. Times in `*_audio_ms` count from the start of the request."""

    first_audio_ms: float | None
    """None: nothing audible came."""
    lead_silence_ms: float | None
    """Where in the audio the first audible sample stands."""
    duration_ms: float
    gaps: tuple[Gap, ...]
    error: str | None
    """Why the stream is not the audio it claims to be; None: it decodes."""
    pcm: bytes
    """The decoded samples, s16le mono."""
    rate_hz: int

    @property
    def underruns(self) -> tuple[Gap, ...]:
        """The gaps over 300 ms."""
        return tuple(gap for gap in self.gaps if gap.lasts_ms > UNDERRUN_MS)


def play(
    pieces: Sequence[Piece], started_s: float, audio_format: str, *, whole: bool = True
) -> Listening:
    """Decode pieces on a playback clock that starts with the first decoded sample.

    `whole=False` stops after the first audible sample, for runs where only that time counts.
    Gaps are found at the rate the decoder has told by then.

    Raises:
        ValueError: there is no decoder for that format.
    """
    decoder = decoder_for(audio_format)
    decoded: list[Samples] = []
    gaps: list[Gap] = []
    error: str | None = None
    first_audio_ms: float | None = None
    lead: int | None = None
    count = 0
    played_until_s: float | None = None
    last_s = pieces[-1].at_s if pieces else started_s
    for at_s, data in [*((p.at_s, p.data) for p in pieces), (last_s, None)]:
        samples, problem = _step(decoder, data)
        error = error or problem
        if samples.size == 0:
            continue
        rate_hz = decoder.rate_hz
        if played_until_s is not None and (at_s - played_until_s) * 1000 > _SMALLEST_GAP_MS:
            gaps.append(Gap(count * 1000 / rate_hz, (at_s - played_until_s) * 1000))
        began_s = at_s if played_until_s is None else max(at_s, played_until_s)
        played_until_s = began_s + samples.size / rate_hz
        if first_audio_ms is None:
            loud = np.abs(samples.astype(np.int32)) > AUDIBLE_AMPLITUDE
            if loud.any():
                lead = count + int(loud.argmax())
                first_audio_ms = (at_s - started_s) * 1000
        decoded.append(samples)
        count += samples.size
        if first_audio_ms is not None and not whole:
            break
    rate_hz = decoder.rate_hz or 24_000
    return Listening(
        first_audio_ms=first_audio_ms,
        lead_silence_ms=None if lead is None else lead * 1000 / rate_hz,
        duration_ms=count * 1000 / rate_hz,
        gaps=tuple(gaps),
        error=error,
        pcm=b"".join(part.tobytes() for part in decoded),
        rate_hz=rate_hz,
    )


def _step(decoder: Decoder, data: bytes | None) -> tuple[Samples, str | None]:
    try:
        return (decoder.finish() if data is None else decoder.feed(data)), None
    except DecodeError as problem:
        return problem.samples, str(problem)


class Heard(msgspec.Struct):
    """One request as its client saw it. Instants are `time.monotonic()`."""

    started_s: float
    status: int | None = None
    """None: the connection broke, or time was over, before any headers."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Names in lower case."""
    headers_s: float | None = None
    pieces: list[Piece] = msgspec.field(default_factory=list)
    ended_s: float = 0.0
    truncated: bool = False
    """The connection broke before the reply was complete."""
    timed_out: bool = False
    left: bool = False
    """This client hung up on purpose."""
    error: str | None = None

    @property
    def body(self) -> bytes:
        """Everything that came."""
        return b"".join(piece.data for piece in self.pieces)

    @property
    def complete(self) -> bool:
        """A 2xx reply that came to its proper end."""
        good = self.status is not None and 200 <= self.status < 300
        return good and not (self.truncated or self.timed_out or self.left)

    @property
    def first_byte_ms(self) -> float | None:
        """Until the first byte of the body."""
        return (self.pieces[0].at_s - self.started_s) * 1000 if self.pieces else None

    @property
    def total_ms(self) -> float:
        """Until the end, however it came."""
        return (self.ended_s - self.started_s) * 1000

    def json(self) -> Any:
        """The body as JSON."""
        return jsonlib.loads(self.body)

    def listening(self, audio_format: str | None = None, *, whole: bool = True) -> Listening:
        """What a player made of it; the format is the reply's own if not given.

        `x-format` tells the sample rate of bare samples, which a content type does not.
        """
        named = audio_format or self.headers.get("x-format") or self.headers.get("content-type", "")
        return play(self.pieces, self.started_s, named, whole=whole)

    def spoken_lines(self) -> list[Piece]:
        """The audio inside a reply of JSON lines (`audio_base64`), each with its line's arrival."""
        lines: list[Piece] = []
        rest = b""
        for piece in [*self.pieces, Piece(self.ended_s, b"\n")]:
            *whole, rest = (rest + piece.data).split(b"\n")
            for line in whole:
                if line.strip():
                    audio = base64.b64decode(jsonlib.loads(line)["audio_base64"])
                    lines.append(Piece(piece.at_s, audio))
        return lines


class Pace(msgspec.Struct, frozen=True):
    """How a client reads. Small reads with a pause are a slow one; use `narrow_session` with it,
    or the kernel's buffers read ahead for it."""

    read_bytes: int = 65_536
    pause_s: float = 0.0
    leave_after_bytes: int | None = None
    """Hang up once that many bytes have come; 0: right after the headers."""


def narrow_session(receive_bytes: int = 4_096) -> aiohttp.ClientSession:
    """A session whose sockets take in little, so that a slow reader is felt by the server."""

    def make(info: Any) -> socket.socket:
        family, kind, proto, _, _ = info
        made = socket.socket(family, kind, proto)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        return made

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=make, force_close=True),
        read_bufsize=receive_bytes,
    )


async def listen(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    json: Any = None,
    headers: Mapping[str, str] | None = None,
    pace: Pace | None = None,
    timeout_s: float = 60.0,
) -> Heard:
    """Make one request on a real port and note everything that comes, when it comes.

    Never raises for what the server or the network does: the result says it.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    heard = Heard(started_s=time.monotonic())
    try:
        async with session.request(
            method, url, json=json, headers=headers, timeout=timeout
        ) as response:
            heard.headers_s = time.monotonic()
            heard.status = response.status
            heard.headers = {name.lower(): value for name, value in response.headers.items()}
            await _receive(response, heard, pace)
            if heard.left:
                response.close()
    except TimeoutError:
        heard.timed_out = True
        heard.error = "timeout"
    except (aiohttp.ClientError, ConnectionError) as broken:
        heard.truncated = True
        heard.error = type(broken).__name__
    heard.ended_s = time.monotonic()
    return heard


async def _receive(response: aiohttp.ClientResponse, heard: Heard, pace: Pace | None) -> None:
    content = response.content
    if pace is None:
        async for data in content.iter_any():
            heard.pieces.append(Piece(time.monotonic(), data))
        return
    count = 0
    while pace.leave_after_bytes is None or count < pace.leave_after_bytes:
        data = await content.read(pace.read_bytes)
        if not data:
            return
        heard.pieces.append(Piece(time.monotonic(), data))
        count += len(data)
        if pace.pause_s:
            await asyncio.sleep(pace.pause_s)
    heard.left = True
