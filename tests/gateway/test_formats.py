"""Which audio a caller gets: by the body's `format`, else by the Accept header."""

from __future__ import annotations

import httpx
import pytest

from core.audio.formats import ALIASES, FORMATS, content_types
from gateway.http import ANY_AUDIO, NOT_MADE, wanted_audio
from tests.gateway.conftest import BODY
from tests.gateway.server import Gateway

STREAM = "/streaming/synthesize/streaming"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("audio/mpeg", "mp3"),
        ("audio/wav", "wav"),
        ("audio/ogg", "ogg"),
        ('audio/ogg; codecs="opus"', "ogg"),
        ("audio/ogg;codecs=vorbis", NOT_MADE),
        ("audio/opus", "opus"),
        ("Audio/Basic", "ulaw"),
        ("audio/PCMA;rate=8000", "alaw_8000"),
        ("audio/x-alaw-basic", "alaw"),
        ("audio/pcm", "pcm"),
        ("audio/pcm;rate=16000", "pcm_16000"),
        ("audio/pcm; rate=11025", NOT_MADE),
        ("audio/basic;rate=16000", NOT_MADE),
        ("audio/L16;rate=24000", NOT_MADE),
        ("audio/*", ANY_AUDIO),
        ("audio/*;q=0.5, audio/wav", "wav"),
        ("audio/wav;q=0.4, audio/ogg;q=0.6", "ogg"),
        ("audio/flac", NOT_MADE),
        ("audio/flac, audio/aac;q=0.5", NOT_MADE),
        ("audio/flac, audio/mpeg;q=0.1", "mp3"),
        ("audio/flac, */*;q=0.1", None),
        ("audio/flac, application/json;q=0.1", None),
        ("audio/flac;q=0", None),
        ("application/json, audio/wav", None),
        ("audio/wav, application/json", "wav"),
        ("*/*", None),
        ("text/html", None),
        ("", None),
        ("audio/wav;q=high", None),
        (";;,,q=1;=", None),
    ],
)
def test_the_preferred_audio(accept: str, wanted: str | None) -> None:
    assert wanted_audio(accept.encode()) == wanted


def test_every_content_type_leads_to_a_format_of_it(gateway: Gateway) -> None:
    with httpx.Client(base_url=gateway.voice) as http:
        for kind in content_types():
            for route in ("/synthesize", STREAM):
                reply = http.post(route, json=BODY, headers={"accept": kind})
                assert (reply.status_code, reply.headers["content-type"]) == (200, kind)


@pytest.mark.parametrize("name", ["mp3", *ALIASES, *FORMATS])
def test_a_format_of_the_body_is_answered_with_its_type(http: httpx.Client, name: str) -> None:
    reply = http.post(STREAM, json={**BODY, "format": name}, headers={"accept": "audio/wav"})
    assert reply.status_code == 200
    output = FORMATS[reply.headers["x-format"]]
    assert output.name.startswith(name)
    assert reply.headers["content-type"] == output.content_type


@pytest.mark.parametrize("route", ["/synthesize", STREAM])
def test_audio_that_is_not_made_is_refused_with_the_types(http: httpx.Client, route: str) -> None:
    reply = http.post(route, json=BODY, headers={"accept": "audio/flac, audio/aac;q=0.8"})
    assert reply.status_code == 406
    error = reply.json()["error"]
    assert error["code"] == "not_acceptable"
    assert all(kind in error["message"] for kind in content_types())
    named = http.post(route, json={**BODY, "format": "wav"}, headers={"accept": "audio/flac"})
    assert (named.status_code, named.headers["content-type"]) == (200, "audio/wav")


def test_the_document_tells_every_format_and_type(gateway: Gateway) -> None:
    document = httpx.get(gateway.base + "/docs/openapi.json").json()
    assert all(f"`{name}`" in document["info"]["description"] for name in (*ALIASES, *FORMATS))
    paths = document["paths"]
    for path, method, status in (
        ("/api/v1/voice/synthesize", "post", "200"),
        ("/api/v1/voice" + STREAM, "post", "200"),
        ("/api/v1/voice/audio/{audio_id}", "get", "200"),
        ("/api/v1/voice/audio/{audio_id}", "get", "206"),
    ):
        content = paths[path][method]["responses"][status]["content"]
        assert set(content_types()) <= set(content), path
