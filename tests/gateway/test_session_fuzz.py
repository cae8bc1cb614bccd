"""Thousands of made-up frames and command sequences in a few sessions.

SEIKETSU_FUZZ is the number of sequences.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from core.conversation.audio_frames import read_header
from core.conversation.events import Event
from tests.gateway.conftest import Start
from tests.gateway.fakes import Box, FakeSpeech, entry_of
from tests.gateway.server import Gateway
from tests.gateway.session_sequences import Frame, frames_of, made, sentences
from tests.gateway.sessions import url_of

SEQUENCES = int(os.environ.get("SEIKETSU_FUZZ", "400"))
FRAMES_A_SEQUENCE = 8

sequences = st.lists(frames_of(sentences), min_size=FRAMES_A_SEQUENCE, max_size=FRAMES_A_SEQUENCE)

_events = msgspec.json.Decoder(Event)
HEAD = (
    "GET /api/v1/voice/streaming/stream/s1 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_END = '{"type": "end"}'
_PING = '{"type": "ping", "command_id": "the end"}'


class Fuzzed:
    """A session that is opened again whenever the gateway has closed it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._socket: ClientConnection | None = None
        self.heard: Counter[str] = Counter()
        self.closed: set[int] = set()
        self.sent = 0
        self.opened = 0
        self._sequence = 0

    def run(self, sequence: list[Frame]) -> None:
        try:
            socket = self._open()
            for frame in sequence:
                socket.send(frame)
                self.sent += 1
            socket.send(_END)  # or what follows would wait for a text that nobody writes
            socket.send(_PING)
            while not self._hear(socket):
                pass
        except ConnectionClosed as closed:
            self._socket = None
            self.closed.add(closed.rcvd.code if closed.rcvd is not None else 0)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _open(self) -> ClientConnection:
        if self._socket is None:
            self._socket = connect(url_of(self._gateway), compression=None, proxy=None, legacy=True)
            self.opened += 1
            self._sequence = 0
            self._hear(self._socket)
        return self._socket

    def _hear(self, socket: ClientConnection) -> bool:
        frame = socket.recv(timeout=5)
        if isinstance(frame, bytes):
            self._in_order(read_header(frame).sequence)
            self.heard["binary"] += 1
            return False
        _events.decode(frame)
        event: dict[str, Any] = json.loads(frame)
        self._in_order(event["sequence"])
        self.heard[event.get("code", event["type"])] += 1
        return event["type"] == "pong" and event.get("command_id") == "the end"

    def _in_order(self, sequence: int) -> None:
        assert sequence > self._sequence
        self._sequence = sequence


@pytest.mark.timeout(60 + SEQUENCES / 10)
def _frames(*commands: dict[str, Any]) -> list[str | bytes]:
    return [json.dumps(command) for command in commands]


SAID: dict[str, Any] = {"type": "synthesize", "text": "One two three.", "stream": True}
SURE = [
    _frames({"type": "configure", "audio_encoding": encoding}, SAID, {"type": "get_stats"}, *then)
    for encoding in ("binary", "hex")
    for then in ([], [{**SAID, "text": "Four five six."}, {"type": "interrupt"}])
]


def test_whatever_is_sent_every_answer_is_a_documented_message(
    gateway: Gateway, speech: FakeSpeech, box: Box
) -> None:
    idle = gateway.tasks()
    speech.held["held"] = entry_of(b"x" * 100)
    session = Fuzzed(gateway)
    for number, sequence in enumerate(made(sequences, SEQUENCES)):
        session.run(sequence)
        if number % 50 == 0:  # what is made depends on what Hypothesis finds: these always come
            session.run(SURE[number // 50 % len(SURE)])
    session.close()
    gateway.wait_until(lambda: gateway.connections() == 0)
    gateway.wait_until(lambda: gateway.tasks() == idle)
    print(f"\n{SEQUENCES} sequences, {session.sent} frames, {session.opened} sessions: ", end="")
    print(f"{session.heard.total()} messages came, closed with {session.closed or None}")
    assert session.sent >= 7 * SEQUENCES
    assert session.opened < SEQUENCES / 4
    assert session.closed <= {1008}
    assert session.heard["internal_error"] == 0
    for kind in (
        *("audio_response", "pong", "session_stats", "invalid_request", "accepted", "configured"),
        *("speech_started", "audio_chunk", "binary", "speech_finished", "interrupted"),
        "text_too_long",
    ):
        assert session.heard[kind] > 0, (kind, session.heard)
    assert speech.opened == speech.closed
    assert box.runtime is not None
    assert "internal_error" not in box.runtime.recorder.snapshot()["errors"]
    assert box.runtime.recorder.snapshot()["record_failures"] == 0


async def test_bytes_that_are_no_websocket_leave_nothing(gateway: Gateway) -> None:
    """After a good handshake, noise; before it, heads that are almost right."""
    idle = gateway.tasks()
    heads = (
        (HEAD + "\r\n", b"101"),
        (HEAD.replace("13", "12") + "\r\n", b"4"),
        (HEAD.replace("dGhl", "!") + "\r\n", b"4"),
        (HEAD + "X-Long: " + "a" * 10_000 + "\r\n\r\n", b""),
        (HEAD + "".join(f"X-{n}: a\r\n" for n in range(200)) + "\r\n", b""),
    )
    for text, expected in heads:
        for noise in (b"", b"\x00" * 200, b"\xff" * 200, b"\x81\xfe\xff\xff", b"\x81\x85abcd\xff"):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(text.encode() + noise)
            answer = b""
            if expected == b"101":  # who hangs up before it gets none
                answer = await asyncio.wait_for(reader.readline(), 5)
            writer.write_eof()
            answer += await asyncio.wait_for(reader.read(), 5)
            assert answer.startswith(b"HTTP/1.1 " + expected) or not expected, answer
            writer.close()
            await writer.wait_closed()
    await asyncio.to_thread(gateway.wait_until, lambda: gateway.connections() == 0)
    await asyncio.to_thread(gateway.wait_until, lambda: gateway.tasks() == idle)


def test_pings_whose_answers_nobody_reads_fill_no_memory(start: Start) -> None:
    gateway = start(send_stall_s=1.5)
    pings = (b"\x89\xfd\x00\x00\x00\x00" + b"x" * 125) * 2000
    sent = 0
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=1) as client:
        client.sendall(HEAD.encode() + b"\r\n")
        while b"connection_established" not in client.recv(65536):
            pass
        while sent < 64 * 1024 * 1024:
            try:
                client.sendall(pings)
            except (TimeoutError, ConnectionResetError):
                break
            sent += len(pings)
        gateway.wait_until(lambda: gateway.connections() == 0)
    assert sent < 32 * 1024 * 1024, "the gateway went on reading"
