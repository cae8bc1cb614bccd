"""A child of the voice server: loads the voices, then computes one job at a time.

`python -m core.voices.child FD`: FD is the inherited end of a socket pair to the server. The end of
that stream ends the child; `core.children` sees to it that the kernel does too.
"""

from __future__ import annotations

import select
import socket
import sys
import traceback
from collections.abc import Iterator
from typing import Final

import msgspec

from core.audio.pcm import RATE_HZ, SAMPLE_BYTES, duration_ms, samples_of
from core.speech import WordTiming
from core.voices import protocol
from core.voices.protocol import Audio, Cancel, Done, Failed, Job, Ready
from core.voices.registry import ENGINES, Passage, VoiceEngine, load_engine

CHUNK_BYTES: Final = RATE_HZ * SAMPLE_BYTES // 5
"""200 ms. A passage is computed whole before it is sent, so smaller chunks would not be heard
earlier; larger ones would be handled in one go by the gateway's event loop."""


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


def serve(link: Link, engines: dict[str, VoiceEngine]) -> None:
    """Answer jobs until the server is gone."""
    link.send(Ready())
    while (message := link.receive()) is not None:
        if isinstance(message, Cancel):  # it crossed the end of its job
            continue
        link.send(_answer(link, engines, message))


def _answer(link: Link, engines: dict[str, VoiceEngine], job: Job) -> Done | Failed:
    engine_name, _, voice = job.voice.partition("/")
    engine = engines.get(engine_name)
    if engine is None or voice not in engine.voices:
        return Failed("unknown_voice")
    samples = 0
    passages = engine.speak(voice, job.text, speed=job.speed, seed=job.seed)
    while True:
        try:
            passage = next(passages, None)
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


def main(descriptor: int) -> int:
    """Load all engines and serve the socket that was inherited as `descriptor`. The exit code."""
    with socket.socket(fileno=descriptor) as stream:
        link = Link(stream)
        try:
            serve(link, {name: load_engine(name) for name in ENGINES})
        except (BrokenPipeError, ConnectionResetError):  # the server has gone
            return 0
        except Exception:
            # Said before the stream ends, since the server kills a child whose stream has ended.
            traceback.print_exc()
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
