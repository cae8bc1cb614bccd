"""Client libraries send what was not given as null: it is the same as leaving it out."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec
import pytest

from core.conversation.commands import COMMANDS, decode_command
from gateway.docs.openapi import request_bodies
from gateway.messages_agents import AgentChange
from tests.gateway.conftest import BODY, fetch
from tests.gateway.fakes import FakeSpeech
from tests.gateway.server import Gateway
from tests.gateway.sessions import talk

# A change of an agent tells the two apart: null gives a setting back to the profile.
BODIES = sorted(request_bodies() - {AgentChange}, key=lambda kind: kind.__name__)
VALUES: dict[str, Any] = {"texts": ["Hi."], "phrases": ["Hi."], "offset_ms": 1}


def body_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """A body with what is needed, and null for everything else."""
    return {
        field.encode_name: VALUES.get(field.name, "value") if field.required else None
        for field in msgspec.structs.fields(kind)
    }


@pytest.mark.parametrize("kind", BODIES)
def test_every_optional_field_of_every_body_may_be_null(kind: type[msgspec.Struct]) -> None:
    given = msgspec.json.decode(msgspec.json.encode(body_of(kind)), type=kind)
    assert type(given) is kind


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_optional_field_of_every_command_may_be_null(kind: type[msgspec.Struct]) -> None:
    tag = {"type": kind.__struct_config__.tag}
    given = decode_command(json.dumps({**tag, **body_of(kind)}))
    assert type(given) is kind
    assert given.command_id is msgspec.UNSET


async def test_the_document_says_so(gateway: Gateway) -> None:
    document = (await fetch(gateway.base + "/docs/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for kind in BODIES:
        schema = schemas[kind.__name__]
        for name, field in schema["properties"].items():
            if name not in schema.get("required", ()):
                assert {"type": "null"} in field["anyOf"], (kind, name)


def test_a_text_is_spoken_as_if_nothing_had_been_said(
    http: httpx.Client, speech: FakeSpeech
) -> None:
    optional = ("language", "format", "optimize_for_speed", "enable_caching", "include_audio")
    said = http.post("/synthesize", json=BODY).json()
    null = http.post("/synthesize", json={**BODY, **dict.fromkeys(optional)}).json()
    assert speech.requests[-2] == speech.requests[-1]
    assert null["format"] == said["format"]
    assert null["audio_base64"] is None
    audio = http.post("/synthesize", json={**BODY, "format": None}, headers={"accept": "audio/wav"})
    assert audio.headers["content-type"] == "audio/wav"


def test_many_texts_are_spoken_as_if_nothing_had_been_said(
    http: httpx.Client, speech: FakeSpeech
) -> None:
    body = {"texts": ["One."], "voice_agent_id": "agent_123"}
    optional = ("language", "format", "optimize_for_speed", "background_processing")
    http.post("/streaming/synthesize/bulk", json=body)
    reply = http.post("/streaming/synthesize/bulk", json={**body, **dict.fromkeys(optional)})
    assert reply.status_code == 200
    assert speech.requests[-2] == speech.requests[-1]


def test_an_agent_is_made_as_if_nothing_had_been_said(http: httpx.Client) -> None:
    voice = ("profile", "voice_id", "stability", "speed", "language_preferences")
    null = {"name": "Ana", "id": None, "revision": None, "voice_settings": dict.fromkeys(voice)}
    made = [http.post("/agents", json=body) for body in ({"name": "Ana"}, null)]
    assert [reply.status_code for reply in made] == [201, 201]
    assert made[0].json()["voice_settings"] == made[1].json()["voice_settings"]
    path = "/agents/" + made[1].json()["id"]
    put = http.put(path, json={**null, "voice_settings": None})
    assert (put.status_code, put.json()["voice_settings"]) == (
        200,
        made[0].json()["voice_settings"],
    )
    kept = http.patch(path, json={"voice_settings": {"profile": None}})
    assert kept.status_code == 400


async def test_a_command_is_carried_out_as_if_nothing_had_been_said(
    gateway: Gateway, speech: FakeSpeech
) -> None:
    optional = ("language", "format", "optimize_for_speed", "enable_caching", "stream")
    async with talk(gateway) as session:
        said = await session.ask("synthesize", text="Hello.")
        null = dict.fromkeys((*optional, "utterance_id", "command_id"))
        given = await session.ask("synthesize", text="Hello.", **null)
    assert (said["type"], given["type"]) == ("audio_response", "audio_response")
    assert "command_id" not in given
    assert speech.requests[-2] == speech.requests[-1]
