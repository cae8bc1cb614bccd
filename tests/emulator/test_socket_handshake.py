"""Handshakes of the WebSockets: what is refused there, what after it, and how long all takes."""

from __future__ import annotations

import time

import aiohttp
import pytest

from benchmarks.emulator.process import EmulatorProcess
from tests.emulator.sockets import MULTI, SINGLE, Frame, connected, init, socket_url

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "Would Tuesday at five suit you? "


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"model_id": "eleven_v3"}, (400, "unsupported_model")),
        ({"model_id": "eleven_v4_turbo"}, (400, "unsupported_model")),
        ({"model_id": "nothing"}, (400, "model_not_found")),
        ({"output_format": "wav_24000"}, (400, "invalid_output_format")),
        ({"output_format": "pcm_44100"}, (403, "subscription_required")),
        ({"inactivity_timeout": "181"}, (422, "unprocessable")),
        ({"auto_mode": "perhaps"}, (422, "unprocessable")),
    ],
)
async def test_a_wrong_model_or_format_fails_in_the_handshake(
    emulator: EmulatorProcess,
    http: aiohttp.ClientSession,
    query: dict[str, str],
    expected: tuple[int, str],
) -> None:
    for route in (SINGLE, MULTI):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(socket_url(emulator, route, **query))
        assert caught.value.status == expected[0]
    notes = await emulator.sockets()
    assert [(note.status, note.error) for note in notes] == [expected] * 2


async def test_key_and_voice_are_refused_after_the_upgrade(emulator: EmulatorProcess) -> None:
    async def answer(first: Frame, key: str | None, **query: str) -> str | None:
        headers = {} if key is None else {"xi-api-key": key}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            connected(http, socket_url(emulator, **query)) as client,
        ):
            await client.say(first, {"close_socket": True})
            frames = await client.until_closed()
            if client.close_code == 1000:
                return None
            assert frames[0]["message"] == client.reason
            return str(frames[0]["error"])

    key = "test-key"
    assert await answer(init("c"), "sk_" + "0" * 48) == "invalid_api_key"
    assert await answer(init("c"), None) == "authentication_required"
    assert await answer(init("c"), key, voice="nobody") == "voice_id_does_not_exist"
    for accepted in ({"xi-api-key": key}, {"xi_api_key": key}, {"authorization": f"Bearer {key}"}):
        assert await answer(init("c", **accepted), None) is None
    assert await answer(init("c"), None, authorization=key) is None
    assert all("authorization" not in note.query for note in await emulator.sockets())


async def test_recorded_times_hold_on_a_socket(http: aiohttp.ClientSession) -> None:
    """Usable after 192-228 ms, first audio as over HTTP, the close 0.8 s after the final frame."""
    async with EmulatorProcess("--audio", "coded") as emulator:
        began_s = time.monotonic()
        async with connected(http, socket_url(emulator, SINGLE)) as client:
            opened_s = time.monotonic()
            await client.say(init(), {"text": TEXT}, {"text": ""})
            await client.frame()
            first_s = time.monotonic()
            await client.until_final()
            final_s = time.monotonic()
            await client.until_closed()
    assert opened_s - began_s > 0.192
    assert first_s - opened_s > 0.2
    assert time.monotonic() - final_s > 0.75


async def test_a_plain_request_is_no_socket(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    async with http.get(socket_url(emulator)) as reply:
        assert (reply.status, await reply.json()) == (404, {"detail": "Not Found"})
    assert await emulator.sockets() == []


@pytest.mark.parametrize("message", ["{", "[]", '{"text": 5}', '{"text":"x","flush":"yes"}'])
async def test_a_broken_message_ends_the_socket(
    emulator: EmulatorProcess, http: aiohttp.ClientSession, message: str
) -> None:
    async with connected(http, socket_url(emulator)) as client:
        await client.socket.send_str(message)
        (error,) = await client.until_closed()
    assert (error["error"], client.close_code) == ("invalid_message", 1008)
