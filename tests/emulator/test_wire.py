"""What stands on the wire: headers, types, chunking, refusals, and what is ignored."""

from __future__ import annotations

import base64
import json
from typing import Any

import aiohttp
import pytest

from benchmarks import wordcode
from benchmarks.emulator.formats import FORMATS
from benchmarks.emulator.process import EmulatorProcess
from benchmarks.listener import listen, play
from tests.emulator.conftest import RACHEL

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "The garden is large and the kitchen is new, as you will see."
FLASH = "eleven_flash_v2_5"


def _url(
    emulator: EmulatorProcess, route: str = "/stream", voice: str = RACHEL, **query: str
) -> str:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return f"{emulator.url}/v1/text-to-speech/{voice}{route}?{asked}"


async def _code(http: aiohttp.ClientSession, url: str, body: Any) -> tuple[int, Any]:
    async with http.post(url, json=body) as reply:
        detail = (await reply.json())["detail"]
        assert "request-id" not in reply.headers
        assert {"x-region", "x-trace-id"} <= set(reply.headers)
        return reply.status, detail if isinstance(detail, list) else detail.get("code")


async def test_headers_of_a_good_reply(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    body = {"text": "x" * 51, "model_id": FLASH}
    async with http.post(_url(emulator, output_format="pcm_24000"), json=body) as reply:
        await reply.read()
        found = reply.headers
    assert found["content-type"] == "audio/pcm"
    assert found["transfer-encoding"] == "chunked"
    assert found["character-cost"] == "26"
    assert found["maximum-concurrent-requests"] == "20"
    assert found["current-concurrent-requests"] == "1"
    assert found["server"] == "uvicorn"
    assert found["x-region"] == "europe-west4"
    assert len(found["x-trace-id"]) == 32
    assert len(found["request-id"]) == 20
    assert found["request-id"] != found["history-item-id"]
    assert int(found["tts-latency-ms"]) >= 0
    assert "retry-after" not in found
    (call,) = await emulator.calls()
    assert (call.request_id, call.credits) == (found["request-id"], 26)


@pytest.mark.parametrize("name", sorted(FORMATS))
async def test_every_format(
    emulator: EmulatorProcess, http: aiohttp.ClientSession, name: str
) -> None:
    body = {"text": TEXT, "model_id": FLASH}
    heard = await listen(
        http, "POST", _url(emulator, "", output_format=name), json=body, headers=dict(http.headers)
    )
    if name.endswith("_44100") and name[:3] in ("pcm", "wav"):
        assert (heard.status, heard.json()["detail"]["code"]) == (403, "subscription_required")
        return
    assert heard.status == 200
    assert heard.headers["content-length"] == str(len(heard.body))
    if FORMATS[name].codec == "opus":
        assert heard.headers["content-type"] == "audio/opus"
        assert heard.body.startswith(b"OggS")
        return
    result = heard.listening(None if name[:4] in ("wav_", "mp3_") else name)
    assert result.error is None
    assert wordcode.matches(TEXT, wordcode.decode(result.pcm, result.rate_hz)).ok


async def test_wav_is_absent_on_streams(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    body = {"text": TEXT}
    for route in ("/stream", "/stream/with-timestamps"):
        found = await _code(http, _url(emulator, route, output_format="wav_24000"), body)
        assert found == (400, "invalid_output_format")


@pytest.mark.parametrize(
    ("body", "query", "expected"),
    [
        ({"text": TEXT, "voice_settings": {"stability": 1.5}}, {}, (400, "invalid_voice_settings")),
        ({"text": TEXT, "voice_settings": {"speed": 0.5}}, {}, (400, "invalid_voice_settings")),
        ({"text": TEXT, "model_id": "nothing"}, {}, (400, "model_not_found")),
        ({"text": TEXT, "model_id": "eleven_v4_turbo"}, {}, (400, "unsupported_model")),
        ({"text": TEXT, "seed": -1}, {}, (400, "invalid_parameters")),
        ({"text": " "}, {}, (400, "invalid_parameters")),
        ({"text": "x" * 40_001}, {}, (400, "text_too_long")),
        ({"text": TEXT, "previous_request_ids": ["a"] * 4}, {}, (400, "invalid_parameters")),
        (
            {"text": TEXT, "model_id": "eleven_v3", "previous_text": "Hello."},
            {},
            (400, "invalid_parameters"),
        ),
        ({"text": TEXT}, {"output_format": "mp3"}, (400, "invalid_output_format")),
    ],
)
async def test_refusals(
    emulator: EmulatorProcess,
    http: aiohttp.ClientSession,
    body: dict[str, Any],
    query: dict[str, str],
    expected: tuple[int, str],
) -> None:
    assert await _code(http, _url(emulator, **query), body) == expected
    (call,) = await emulator.calls()
    assert (call.status, call.code) == expected


@pytest.mark.parametrize(
    ("body", "place", "kind"),
    [
        ({}, ["body", "text"], "missing"),
        ({"text": 5}, ["body", "text"], "string_type"),
        ({"text": TEXT, "seed": "x"}, ["body", "seed"], "int_type"),
        ({"text": TEXT, "voice_settings": []}, ["body", "voice_settings"], "dict_type"),
        ([], ["body"], "dict_type"),
    ],
)
async def test_422_lists_the_fields(
    emulator: EmulatorProcess,
    http: aiohttp.ClientSession,
    body: Any,
    place: list[str],
    kind: str,
) -> None:
    status, fields = await _code(http, _url(emulator), body)
    assert status == 422
    assert [(entry["loc"], entry["type"]) for entry in fields] == [(place, kind)]


async def test_bad_json_is_422(emulator: EmulatorProcess, http: aiohttp.ClientSession) -> None:
    async with http.post(_url(emulator), data=b'{"text": ') as reply:
        assert reply.status == 422
        assert (await reply.json())["detail"][0]["type"] == "json_invalid"


async def test_nulls_and_unknown_fields_are_accepted_and_body_formats_ignored(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    body = {
        "text": TEXT,
        "model_id": None,
        "voice_settings": None,
        "seed": None,
        "language_code": None,
        "output_format": "pcm_24000",
        "something_else": {"a": 1},
    }
    async with http.post(_url(emulator), json=body) as reply:
        assert reply.status == 200
        assert reply.content_type == "audio/mpeg"
        await reply.read()
    (call,) = await emulator.calls()
    assert (call.output_format, call.model_id) == ("mp3_44100_128", "eleven_multilingual_v2")
    assert call.body["text"] == {"chars": len(TEXT), "sha256": call.text_sha256}


async def test_no_key(emulator: EmulatorProcess) -> None:
    async with aiohttp.ClientSession() as bare:
        found = await _code(bare, _url(emulator), {"text": TEXT})
    assert found == (401, "missing_api_key")


async def test_timestamp_lines(emulator: EmulatorProcess, http: aiohttp.ClientSession) -> None:
    text = " ".join([TEXT] * 8)
    url = _url(emulator, "/stream/with-timestamps", output_format="pcm_24000")
    heard = await listen(
        http, "POST", url, json={"text": text, "model_id": FLASH}, headers=dict(http.headers)
    )
    assert heard.headers["content-type"] == "application/json"
    lines = heard.body.split(b"\n")
    assert max(map(len, lines)) < 512 * 1024
    assert lines[-1] == b""
    assert b"" in lines[:-1]
    objects = [json.loads(line) for line in lines if line]
    aligned = [found["alignment"] for found in objects if found["alignment"]]
    assert "".join(c for found in aligned for c in found["characters"]) == text
    starts = [at for found in aligned for at in found["character_start_times_seconds"]]
    seconds = sum(len(base64.b64decode(found["audio_base64"])) for found in objects) / 48_000
    assert starts == sorted(starts)
    assert seconds - 1 < starts[-1] < seconds
    result = play(heard.spoken_lines(), heard.started_s, "pcm_24000")
    assert wordcode.matches(text, wordcode.decode(result.pcm, 24_000)).ok


async def test_unknown_paths_and_methods(
    emulator: EmulatorProcess, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{emulator.url}/v1/nothing") as reply:
        assert (reply.status, await reply.json()) == (404, {"detail": "Not Found"})
    async with http.get(_url(emulator)) as reply:
        assert (reply.status, await reply.json()) == (405, {"detail": "Method Not Allowed"})
