"""`verify-upstream` and `doctor`, with an emulator in the real provider's place."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks.emulator.process import EmulatorProcess
from gateway.commands.base import CommandFailed
from gateway.commands.upstream import (
    MOST_CREDITS,
    VOICE,
    UpstreamCall,
    calls,
    differences,
    record,
    require_cheap,
    shape_of,
)
from tests.commands.conftest import Seiketsu

KEY = "sk_" + "7" * 48


async def test_the_same_service_answers_the_same_and_it_costs_little() -> None:
    async with EmulatorProcess("--key", KEY) as provider:
        url, made = f"{provider.url}/v1", calls(VOICE)
        first, second = await record(url, KEY, made), await record(url, KEY, made)
        spoken = await provider.calls()
    for name, answer in first.items():
        assert differences(answer, second[name]) == [], name
    assert (first["wrong voice"].error_code, first["wrong key"].status) == ("voice_not_found", 400)
    assert first["stream"].audible
    assert (first["timestamps"].lines or 0) > 1
    assert len(spoken) == 6
    assert sum(call.text_chars or 0 for call in spoken[:3]) <= MOST_CREDITS


async def test_where_the_service_differs_is_told_call_by_call(
    command: Seiketsu, clean_environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "recorded.json"
    async with EmulatorProcess("--key", KEY) as provider:
        await provider.set_faults(
            {"kind": "truncate", "routes": ["stream"]},
            {"kind": "broken_json", "routes": ["stream/with-timestamps"]},
            {"kind": "reset", "routes": ["models"]},
        )
        settings = {
            **clean_environment,
            "ELEVEN_LABS_API_KEY": KEY,
            "ELEVEN_LABS_BASE_URL": f"{provider.url}/v1",
        }
        words = ("verify-upstream", "--json", "--out", str(file))
        said = await asyncio.to_thread(command, *words, env=settings)
    assert said.code == 1, said.err
    found = {one["call"]: " ".join(one["differences"]) for one in said.json["calls"]}
    assert "end of the reply" in found["stream"]
    assert "body" in found["timestamps"]
    assert "status: 0, emulated 200" in found["models"]
    assert found["voices"] == found["subscription"] == found["wrong key"] == ""
    assert json.loads(file.read_text())["same"] is False
    assert KEY not in file.read_text() + said.out + said.err


def test_without_a_key_nothing_is_sent(
    command: Seiketsu, clean_environment: dict[str, str]
) -> None:
    refused = command("verify-upstream", env=clean_environment)
    assert (refused.code, refused.out) == (1, "")
    assert "ELEVEN_LABS_API_KEY" in refused.err


def test_more_than_the_allowed_credits_are_refused() -> None:
    assert require_cheap(calls("voice")) <= MOST_CREDITS
    dear = UpstreamCall("dear", "POST", "/x", "audio", "a" * (MOST_CREDITS + 1))
    with pytest.raises(CommandFailed, match="300 credits"):
        require_cheap((dear,))


def test_shapes_tell_names_and_kinds_alone() -> None:
    tree = {"a": [{"b": 1}, {"b": None, "c": "secret"}], "d": True, "e": None}
    assert shape_of(tree) == {"a": [{"b": "number", "c": "text"}], "d": "bool", "e": None}


@pytest.mark.parametrize(
    ("key", "state", "said"), [(KEY, "ok", "creator"), ("sk_" + "8" * 48, "wrong", "refuses")]
)
async def test_the_doctor_asks_the_provider_what_costs_nothing(
    key: str, state: str, said: str, command: Seiketsu, clean_environment: dict[str, str]
) -> None:
    async with EmulatorProcess("--key", KEY) as provider:
        env = {
            **clean_environment,
            "ELEVEN_LABS_API_KEY": key,
            "ELEVEN_LABS_BASE_URL": f"{provider.url}/v1",
        }
        told = await asyncio.to_thread(command, "doctor", "--json", env=env)
        assert await provider.calls() == []
    (found,) = [check for check in told.json["checks"] if check["name"] == "provider"]
    assert found["state"] == state
    assert said in found["found"]
    assert key not in told.out + told.err
