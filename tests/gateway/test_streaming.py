"""Streams on a real port: in time, closed by whoever must, and never falsely whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from core.errors import StreamTruncated
from gateway.streaming import send_audio
from tests.gateway.conftest import BODY, Start
from tests.gateway.fakes import Box, FakeSpeech, entry_of
from tests.gateway.server import Gateway

PATH = "/api/v1/voice/streaming/synthesize/streaming"


def raw_request(path: str = PATH, **extra: object) -> bytes:
    """A request as bytes."""
    body = json.dumps({**BODY, **extra}).encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def connect(gateway: Gateway, *, receive_bytes: int | None = None) -> socket.socket:
    client = socket.socket()
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(5)
    client.connect(("127.0.0.1", gateway.port))
    return client


def idle(gateway: Gateway, speech: FakeSpeech) -> bool:
    """Nothing of any request is left."""
    return speech.opened == speech.closed and all("_worker" in name for name in gateway.tasks())


def test_the_first_byte_comes_before_the_last_is_made(
    http: httpx.Client, speech: FakeSpeech
) -> None:
    speech.between_s = 0.2
    with http.stream("POST", PATH.removeprefix("/api/v1/voice"), json=BODY) as reply:
        pieces = reply.iter_raw()
        assert next(pieces) == b"one"
        heard_at_s = time.monotonic()
        assert b"".join(pieces) == b"twothree"
    assert heard_at_s < speech.made_at_s[-1] - 0.2


def test_a_client_that_leaves_mid_stream_ends_the_work(
    gateway: Gateway, speech: FakeSpeech, box: Box
) -> None:
    speech.endless, speech.between_s = True, 0.01
    with connect(gateway) as client:
        client.sendall(raw_request())
        assert b"200 OK" in client.recv(4096)
        assert speech.opened == 1
        assert speech.closed == 0
    gateway.wait_until(lambda: idle(gateway, speech))
    assert box.runtime is not None
    counted = box.runtime.recorder.snapshot()
    assert (counted["abandoned"], counted["errors"], counted["served"]) == (1, {}, 0)
    performance = httpx.get(gateway.voice + "/performance").json()
    assert performance["requests_under_way"] == 0


@pytest.mark.parametrize("path", [PATH, "/api/v1/voice/synthesize"])
def test_a_client_that_leaves_before_the_first_piece_ends_the_work(
    gateway: Gateway, speech: FakeSpeech, path: str
) -> None:
    speech.first_after_s = 30
    with connect(gateway) as client:
        client.sendall(raw_request(path))
        gateway.wait_until(lambda: speech.opened == 1)
    gateway.wait_until(lambda: idle(gateway, speech))


def test_fifty_clients_that_leave_leave_nothing(gateway: Gateway, speech: FakeSpeech) -> None:
    speech.endless, speech.between_s = True, 0.002
    clients = [connect(gateway) for _ in range(50)]
    for client in clients:
        client.sendall(raw_request())
    for number, client in enumerate(clients):
        if number % 2:
            client.recv(100)
        client.close()
    gateway.wait_until(lambda: speech.opened == 50 and idle(gateway, speech), 10)
    assert gateway.connections() == 0


def test_a_client_that_does_not_read_is_closed(start: Start, speech: FakeSpeech) -> None:
    gateway = start(send_stall_s=0.5)
    speech.endless, speech.chunks = True, [bytes(65_536)]
    with connect(gateway, receive_bytes=4096) as client:
        client.sendall(raw_request())
        gateway.wait_until(lambda: speech.opened == 1)
        gateway.wait_until(lambda: idle(gateway, speech) and not gateway.connections(), 5)
        assert len(speech.made_at_s) < 300, "the stream was not held back"


def test_pipelined_replies_that_are_not_read_hold_nothing(start: Start, speech: FakeSpeech) -> None:
    gateway = start(send_stall_s=0.5)
    speech.held[BODY["text"]] = entry_of(bytes(1_000_000))
    with connect(gateway, receive_bytes=4096) as client:
        client.sendall(raw_request() * 40)
        gateway.wait_until(lambda: gateway.connections() == 1)
        gateway.wait_until(lambda: not gateway.connections(), 5)
    assert idle(gateway, speech)


def test_a_client_that_does_not_read_a_small_reply_is_closed(
    start: Start, speech: FakeSpeech
) -> None:
    """It fits into the system's own buffers, so only the system can tell."""
    gateway = start(send_stall_s=0.5)
    speech.held[BODY["text"]] = entry_of(bytes(40_000))
    with connect(gateway, receive_bytes=4096) as client:
        client.sendall(raw_request())
        gateway.wait_until(lambda: gateway.connections() == 1)
        gateway.wait_until(lambda: not gateway.connections(), 8)


def test_a_client_that_reads_far_too_slowly_is_closed(start: Start, speech: FakeSpeech) -> None:
    """Its system goes on taking a little, so only what waits in this process can tell."""
    gateway = start(send_stall_s=0.5)
    speech.endless, speech.chunks = True, [bytes(65_536)]
    with connect(gateway, receive_bytes=4096) as client:
        client.sendall(raw_request())
        gateway.wait_until(lambda: gateway.connections() == 1)
        until = time.monotonic() + 6
        while gateway.connections():
            assert time.monotonic() < until, "it is still served"
            with contextlib.suppress(ConnectionResetError):
                client.recv(2048)
            time.sleep(0.05)
    gateway.wait_until(lambda: idle(gateway, speech))


async def test_the_stream_is_closed_at_once_when_sending_is_cancelled() -> None:
    """Not some time later by the garbage collector, in another task."""
    closed_by: list[asyncio.Task[Any] | None] = []

    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"piece"
        finally:
            closed_by.append(asyncio.current_task())

    async def stuck(_: object) -> None:
        await asyncio.sleep(60)

    kept = chunks()
    sending = asyncio.create_task(send_audio(stuck, kept, list))
    await asyncio.sleep(0.01)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert len(closed_by) == 1
    assert closed_by[0] is sending


@pytest.mark.parametrize("unforeseen", [False, True])
def test_a_truncated_stream_is_seen_as_incomplete(
    http: httpx.Client,
    gateway: Gateway,
    speech: FakeSpeech,
    box: Box,
    unforeseen: bool,
) -> None:
    speech.fail_after = (
        ValueError("secret") if unforeseen else StreamTruncated("It ended.", provider="fake")
    )
    speech.between_s = 0.02
    got = bytearray()

    def read_all(reply: httpx.Response) -> None:
        for piece in reply.iter_raw():
            got.extend(piece)

    with http.stream("POST", PATH.removeprefix("/api/v1/voice"), json=BODY) as reply:
        assert reply.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            read_all(reply)
    assert bytes(got) == b"onetwothree", "what was made is delivered before the cut"
    gateway.wait_until(lambda: idle(gateway, speech))
    assert box.runtime is not None
    code = "internal_error" if unforeseen else "stream_truncated"
    assert box.runtime.recorder.snapshot()["errors"] == {code: 1}


def test_a_truncated_json_reply_is_an_error_body(http: httpx.Client, speech: FakeSpeech) -> None:
    speech.fail_after = StreamTruncated("It ended.", provider="fake")
    reply = http.post("/synthesize", json=BODY)
    assert reply.status_code == 502
    assert reply.json()["error"]["code"] == "stream_truncated"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /api/v1/voice/synthesize HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        raw_request()[:-5],
    ],
)
def test_a_request_that_never_ends_is_closed(start: Start, speech: FakeSpeech, sent: bytes) -> None:
    gateway = start(request_timeout_s=0.4)
    with connect(gateway) as client:
        client.sendall(sent)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408 ") if sent else not answer
    assert answer.count(b"HTTP/1.1") == bool(sent)
    gateway.wait_until(lambda: idle(gateway, speech) and not gateway.connections())


def test_half_a_next_request_does_not_cut_a_running_reply(start: Start, speech: FakeSpeech) -> None:
    gateway = start(request_timeout_s=0.3)
    speech.between_s = 0.4
    with connect(gateway) as client:
        client.sendall(raw_request() + b"POST /api")
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            piece = client.recv(4096)
            assert piece, got
            got += piece
    assert b"three" in got


async def test_many_streams_at_once_stay_apart(gateway: Gateway, speech: FakeSpeech) -> None:
    speech.between_s = 0.005
    async with httpx.AsyncClient(base_url=gateway.base, timeout=20) as client:
        replies = await asyncio.gather(*(client.post(PATH, json=BODY) for _ in range(40)))
    assert {reply.content for reply in replies} == {b"onetwothree"}
    assert len({reply.headers["x-request-id"] for reply in replies}) == 40


def exchange(port: int, data: bytes, *, wait_s: float = 3.0) -> bytes:
    """Send bytes and read until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as client:
        try:
            for start in range(0, len(data), 65_536):
                client.sendall(data[start : start + 65_536])
        except ConnectionError:
            pass  # it has hung up already; what it said is read below
        answer = b""
        try:
            while piece := client.recv(65_536):
                answer += piece
        except ConnectionError:
            pass
        return answer


UPGRADE = (
    b"GET /api/v1/voice/%s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize("path", [b"synthesize", b"streaming/synthesize/streaming"])
def test_a_websocket_upgrade_of_a_plain_route_is_refused(gateway: Gateway, path: bytes) -> None:
    assert exchange(gateway.port, UPGRADE % path).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "noise",
    [b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"\x16\x03\x01\x02\x00"],
)
def test_what_is_no_http_gets_the_one_error_body(gateway: Gateway, noise: bytes) -> None:
    head, _, body = exchange(gateway.port, noise + b"\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["code"] == "invalid_request"


REQUEST = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
ONE_FIELD = b"X-One: " + b"a" * 100_000
MANY_FIELDS = b"\r\n".join(b"X-%d: %s" % (number, b"a" * 90) for number in range(900))


@pytest.mark.parametrize("head", [ONE_FIELD, MANY_FIELDS], ids=["one", "many"])
def test_a_large_head_is_refused(gateway: Gateway, head: bytes) -> None:
    answer = exchange(gateway.port, REQUEST + head + b"\r\n\r\n")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


def test_a_head_without_end_is_not_kept(gateway: Gateway) -> None:
    began = time.monotonic()
    exchange(gateway.port, REQUEST + b"X: " + b"a" * 20_000_000)
    assert time.monotonic() - began < 3
    gateway.wait_until(lambda: gateway.connections() == 0, 5)
