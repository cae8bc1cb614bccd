"""A child of the voice server: loads the voices of its lane, then computes one job at a time.

`python -m core.voices.child LANE OPTIONS FD`: OPTIONS is `registry.EngineOptions` as JSON, FD the
inherited end of a socket pair to the server. The end of that stream ends the child; `core.children`
sees to it that the kernel does too.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from core.audio.level import Leveller
from core.audio.pcm import RATE_HZ, SAMPLE_BYTES, duration_ms, samples_of
from core.errors import ConfigurationError
from core.speech import WordTiming
from core.voices import protocol
from core.voices.pitch import parse_voice, speak_at
from core.voices.protocol import Audio, Cancel, Done, Failed, Job, Ready, Unable
from core.voices.registry import (
    ENGINES,
    EngineOptions,
    Lane,
    Passage,
    VoiceEngine,
    load_engine,
)

CHUNK_BYTES: Final = RATE_HZ * SAMPLE_BYTES // 5
"""200 ms. A passage is computed whole before it is sent, so smaller chunks would not be heard
earlier; larger ones would be handled in one go by the gateway's event loop."""

SLOW_NICE: Final = 10
"""How far children of the slow lane stand back on the processor, see `stand_back`. With two of them
at work on two cores, first audio of ten English words has a p95 of 33 ms alone, 72 at 0, 39 at 10
and 36 at 19; on a processor that others keep busy 10 leaves them three times as much as 19."""

Load = Callable[[Lane, EngineOptions], Mapping[str, VoiceEngine]]


class Link:
    """The child's end of the stream to the server; blocking."""

    def __init__(self, stream: socket.socket) -> None:
        self._socket = stream

    def send(self, message: protocol.FromChild) -> None:
        """Send one message."""
        self._socket.sendall(protocol.frame(message))

    def receive(self) -> protocol.ToChild | None:
        """Wait for the next message; `None` when the server has gone."""
        head = self._read(protocol.LENGTH_BYTES)
        if head is None:
            return None
        body = self._read(protocol.length_of(head))
        return None if body is None else protocol.decode_to_child(body)

    def _read(self, count: int) -> bytes | None:
        """Exactly that many bytes and not one more, so that `cancelled` sees all that is left."""
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                return None
            data += piece
        return bytes(data)

    def cancelled(self) -> bool:
        """Whether the server has sent something, or has gone, while a job is under way: it sends
        the next job only after this one's answer, so it can only be a `Cancel`."""
        return bool(select.select([self._socket], [], [], 0)[0])


def serve(link: Link, engines: Mapping[str, VoiceEngine]) -> None:
    """Answer jobs until the server is gone."""
    link.send(Ready())
    while (message := link.receive()) is not None:
        if isinstance(message, Cancel):  # it crossed the end of its job
            continue
        link.send(_answer(link, engines, message))


def _answer(link: Link, engines: Mapping[str, VoiceEngine], job: Job) -> Done | Failed:
    try:
        engine_name, voice, cents = parse_voice(job.voice)
    except ValueError:
        return Failed("unknown_voice")
    engine = engines.get(engine_name)
    if engine is None or voice not in engine.voices:
        return Failed("unknown_voice")
    samples = 0
    leveller = Leveller(ENGINES[engine_name].usual_lufs if engine_name in ENGINES else None)
    passages = speak_at(engine, voice, job.text, cents=cents, speed=job.speed, seed=job.seed)
    while True:
        try:
            passage = next(passages, None)
            if passage is not None:
                pcm = leveller.apply(passage.pcm, goes_on=passage.goes_on)
                passage = msgspec.structs.replace(passage, pcm=pcm)
        except Exception as error:
            # Whatever a model or its text reader trips over, the child lives on. The message may
            # quote the text, so only the kind of error leaves the child.
            return Failed("engine_failed", reason=type(error).__name__)
        if passage is None:
            return Done(samples)
        for chunk in chunks_of(passage, samples):
            link.send(chunk)
        samples += samples_of(len(passage.pcm))
        if link.cancelled():
            return Done(samples)


def chunks_of(passage: Passage, samples_before: int) -> Iterator[Audio]:
    """A passage in chunks; each word is in the chunk in which it starts, at stream time."""
    base_ms = duration_ms(samples_before)
    words = list(passage.words)
    chunk_ms = duration_ms(samples_of(CHUNK_BYTES))
    for index, at in enumerate(range(0, len(passage.pcm), CHUNK_BYTES)):
        last = at + CHUNK_BYTES >= len(passage.pcm)
        count = 0
        while count < len(words) and (last or words[count].start_ms < (index + 1) * chunk_ms):
            count += 1
        here, words = words[:count], words[count:]
        yield Audio(
            passage.pcm[at : at + CHUNK_BYTES], tuple(_shift(word, base_ms) for word in here)
        )


def _shift(word: WordTiming, by_ms: int) -> WordTiming:
    if not by_ms:
        return word
    return msgspec.structs.replace(word, start_ms=word.start_ms + by_ms, end_ms=word.end_ms + by_ms)


def load(lane: Lane, options: EngineOptions) -> dict[str, VoiceEngine]:
    """The engines of a lane, each ready to speak."""
    return {name: load_engine(name, options) for name, row in ENGINES.items() if row.lane == lane}


def stand_back(nice: int) -> None:
    """Leave the processor to others: weigh about a factor of 1.25 less for each step of `nice`.

    Linux weighs whole sessions first where it groups processes by them, and the server's children
    are sessions of their own: there the nice value counts only together with that of the session.
    """
    os.nice(nice)
    for _ in range(5):
        try:
            with open("/proc/self/autogroup", "w", encoding="ascii") as group:
                group.write(str(nice))
            return
        except BlockingIOError:  # one change in 100 ms is allowed to all processes together
            time.sleep(0.11)
        except OSError:  # no such grouping here
            return


def main(arguments: Sequence[str], load_engines: Load = load) -> int:
    """Load the engines of a lane and serve the inherited socket. The exit code."""
    # onnxruntime would keep a file about this machine in the home directory, and may send it.
    os.putenv("ORT_DISABLE_TELEMETRY", "1")
    lane = msgspec.convert(arguments[0], Lane)
    options = msgspec.json.decode(arguments[1], type=EngineOptions)
    with (
        socket.socket(fileno=int(arguments[2])) as stream,
        contextlib.suppress(BrokenPipeError, ConnectionResetError),  # the server has gone
    ):
        link = Link(stream)
        try:
            if lane == "slow":
                stand_back(SLOW_NICE)
            engines = load_engines(lane, options)
        except ConfigurationError as error:
            link.send(Unable(error.message))
            return 1
        except Exception as error:
            link.send(Unable(f"{type(error).__name__}: {error}", traceback.format_exc()))
            return 1
        serve(link, engines)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
