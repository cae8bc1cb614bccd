"""Each fault as it is felt on the wire."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import numpy as np
import pytest

from benchmarks import wordcode
from benchmarks.emulator.errors import ERRORS
from benchmarks.emulator.process import EmulatorProcess
from benchmarks.listener import Heard, Pace, listen
from tests.emulator.conftest import KEY, RACHEL

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november"
ROUTES = ("", "/stream", "/with-timestamps", "/stream/with-timestamps")


async def _ask(
    emulator: EmulatorProcess,
    http: aiohttp.ClientSession,
    route: str = "/stream",
    *,
    timeout_s: float = 5.0,
    pace: Pace | None = None,
) -> Heard:
    url = f"{emulator.url}/v1/text-to-speech/{RACHEL}{route}?output_format=pcm_24000"
    body = {"text": TEXT, "model_id": "eleven_flash_v2_5"}
    headers = {"xi-api-key": KEY}
    return await listen(
        http, "POST", url, json=body, headers=headers, timeout_s=timeout_s, pace=pace
    )


async def _settled(emulator: EmulatorProcess) -> dict[str, int]:
    """The flash gate once nothing runs any more."""
    for _ in range(100):
        gate: dict[str, int] = (await emulator.state())["gates"]["flash"]
        if gate["active"] == 0:
            return gate
        await asyncio.sleep(0.01)
    raise AssertionError("a place is still held")


async def test_slow(emulator: EmulatorProcess, http: aiohttp.ClientSession) -> None:
    await emulator.set_fault("slow", delay_ms=300)
    heard = await _ask(emulator, http)
    assert heard.complete
    assert heard.first_byte_ms is not None
    assert 290 < heard.first_byte_ms < 800


async def test_silent_without_headers(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await emulator.set_fault("silent")
    heard = await _ask(emulator, http, timeout_s=0.3)
    assert (heard.timed_out, heard.status, heard.pieces) == (True, None, [])
    await _settled(emulator)
    (call,) = await emulator.calls()
    assert (call.fault, call.status, call.aborted) == ("silent", None, True)


@pytest.mark.parametrize("route", ROUTES)
async def test_silent_with_headers(
    emulator: EmulatorProcess, http: aiohttp.ClientSession, route: str
) -> None:
    await emulator.set_fault("silent", headers=True)
    heard = await _ask(emulator, http, route, timeout_s=0.3)
    assert (heard.timed_out, heard.status, heard.pieces) == (True, 200, [])
    await _settled(emulator)


@pytest.mark.parametrize("route", ROUTES)
async def test_stall(emulator: EmulatorProcess, http: aiohttp.ClientSession, route: str) -> None:
    await emulator.set_fault("stall", after_bytes=10_000)
    heard = await _ask(emulator, http, route, timeout_s=0.3)
    assert (heard.timed_out, heard.status, len(heard.body)) == (True, 200, 10_000)


async def test_a_stall_may_pass(emulator: EmulatorProcess, http: aiohttp.ClientSession) -> None:
    await emulator.set_fault("stall", delay_ms=200)
    heard = await _ask(emulator, http)
    assert heard.complete
    result = heard.listening("pcm_24000")
    assert heard.total_ms > 190
    assert wordcode.matches(TEXT, wordcode.decode(result.pcm, 24_000)).ok


@pytest.mark.parametrize("route", ROUTES)
async def test_truncated_by_the_connection(
    emulator: EmulatorProcess, http: aiohttp.ClientSession, route: str
) -> None:
    await emulator.set_fault("truncate", after_bytes=30_000)
    heard = await _ask(emulator, http, route)
    assert (heard.truncated, heard.timed_out, heard.status) == (True, False, 200)
    assert len(heard.body) == 30_000
    await _settled(emulator)
    (call,) = await emulator.calls()
    assert (call.hung_up, call.aborted) == (True, False)


async def test_truncated_with_a_clean_end(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await emulator.set_fault("truncate", end="clean")
    for route in ("", "/stream"):
        heard = await _ask(emulator, http, route)
        assert heard.complete
        found = wordcode.matches(TEXT, wordcode.decode(heard.body, 24_000))
        assert found.missing
    heard = await _ask(emulator, http, "/stream/with-timestamps")
    assert heard.complete
    lines = heard.spoken_lines()
    audio = b"".join(piece.data for piece in lines)
    assert len(lines) > 1
    assert wordcode.matches(TEXT, wordcode.decode(audio, 24_000)).missing


async def test_reset_before_headers(emulator: EmulatorProcess, http: aiohttp.ClientSession) -> None:
    await emulator.set_fault("reset")
    heard = await _ask(emulator, http)
    assert (heard.status, heard.truncated, heard.timed_out) == (None, True, False)
    assert heard.error in ("ClientOSError", "ServerDisconnectedError", "ClientConnectionResetError")


async def test_reset_is_a_tcp_reset(emulator: EmulatorProcess) -> None:
    await emulator.set_fault("reset")
    host, port = emulator.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/text-to-speech/{RACHEL} HTTP/1.1\r\nhost: x\r\nxi-api-key: {KEY}\r\n"
    body = b'{"text":"Hello there."}'
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    try:
        with pytest.raises(ConnectionResetError):
            await reader.read()
    finally:
        writer.close()


async def test_reset_in_the_body(emulator: EmulatorProcess, http: aiohttp.ClientSession) -> None:
    await emulator.set_fault("reset", headers=True, after_bytes=5_000)
    heard = await _ask(emulator, http)
    assert (heard.status, heard.truncated) == (200, True)
    assert len(heard.body) <= 5_000


@pytest.mark.parametrize("code", sorted(ERRORS))
async def test_every_error_code(
    emulator: EmulatorProcess, http: aiohttp.ClientSession, code: str
) -> None:
    await emulator.set_fault(code)
    heard = await _ask(emulator, http)
    kind = ERRORS[code]
    assert heard.status == kind.http_status
    detail = heard.json()["detail"]
    named = kind.code or code
    match kind.shape:
        case "plain":
            assert isinstance(detail, str)
        case "fields":
            assert detail[0]["loc"] == ["body", "text"]
        case "legacy":
            assert (detail["status"], set(detail)) == (named, {"status", "message"})
        case "envelope":
            assert (detail["code"], detail["status"], detail["type"]) == (named, named, kind.type)


async def test_garbage(emulator: EmulatorProcess, http: aiohttp.ClientSession) -> None:
    await emulator.set_fault("garbage")
    heard = await _ask(emulator, http)
    assert heard.complete
    found = wordcode.decode(heard.body, 24_000)
    assert all(word.index == wordcode.UNREADABLE for word in found)
    assert np.frombuffer(heard.body, "<i2").std() > 10_000
    lines = (await _ask(emulator, http, "/stream/with-timestamps")).spoken_lines()
    assert np.frombuffer(b"".join(p.data for p in lines), "<i2").std() > 10_000


async def test_broken_json(emulator: EmulatorProcess, http: aiohttp.ClientSession) -> None:
    await emulator.set_fault("broken_json")
    heard = await _ask(emulator, http, "/stream/with-timestamps")
    assert heard.complete
    with pytest.raises(ValueError, match=r"delimiter|Expecting"):
        heard.spoken_lines()


@pytest.mark.parametrize("route", ["", "/stream"])
async def test_zero_and_empty(
    emulator: EmulatorProcess, http: aiohttp.ClientSession, route: str
) -> None:
    whole = len((await _ask(emulator, http, route)).body)
    await emulator.set_fault("zero")
    zero = await _ask(emulator, http, route)
    assert zero.complete
    assert zero.body == bytes(whole)
    assert zero.listening("pcm_24000").first_audio_ms is None
    await emulator.set_fault("empty")
    empty = await _ask(emulator, http, route)
    assert (empty.complete, empty.body) == (True, b"")


async def test_empty_lines(emulator: EmulatorProcess, http: aiohttp.ClientSession) -> None:
    await emulator.set_fault("empty")
    heard = await _ask(emulator, http, "/stream/with-timestamps")
    assert heard.complete
    assert [piece.data for piece in heard.spoken_lines()] == [b""]


async def test_count_routes_and_voices_limit_a_rule(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await emulator.set_faults(
        {"kind": "internal_error", "count": 1},
        {"kind": "maintenance", "routes": ["convert"]},
        {"kind": "system_busy", "voices": ["AZnzlk1XvdvUeBnXmlld"]},
    )
    found = [(await _ask(emulator, http, route)).status for route in ("/stream", "/stream", "")]
    assert found == [500, 200, 503]


async def test_unknown_rules_are_refused(emulator: EmulatorProcess) -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        await emulator.set_fault("explode")
    with pytest.raises(ValueError, match="rate"):
        await emulator.set_fault("slow", rate=2.0)


async def test_a_client_that_leaves_frees_its_place_at_once(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    await emulator.set_fault("stall", after_bytes=20_000)
    heard = await _ask(emulator, http, pace=Pace(leave_after_bytes=10_000))
    began = time.monotonic()
    assert heard.left
    assert (await _settled(emulator))["active"] == 0
    assert time.monotonic() - began < 0.5
    (call,) = await emulator.calls()
    assert call.aborted
    assert call.ended_s is not None
