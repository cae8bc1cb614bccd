"""`verify-upstream` and `doctor`, with an emulator in the real provider's place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

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
in_one_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[EmulatorProcess]:
    """It answers at once: no time is compared."""
    async with EmulatorProcess("--key", KEY, "--latency", "none", "--close-ms", "20") as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def provider(running: EmulatorProcess) -> EmulatorProcess:
    await running.clear_faults()
    await running.clear_calls()
    await running.clear_sockets()
    return running


@in_one_loop
async def test_the_same_service_answers_the_same_and_it_costs_little(
    provider: EmulatorProcess,
) -> None:
    url, made = f"{provider.url}/v1", calls(VOICE)
    first, second = await record(url, KEY, made), await record(url, KEY, made)
    spoken, sockets = await provider.calls(), await provider.sockets()
    for name, answer in first.items():
        assert differences(answer, second[name]) == [], name
    assert (first["wrong voice"].error_code, first["wrong key"].status) == ("voice_not_found", 400)
    assert first["stream"].audible
    assert (first["timestamps"].lines or 0) > 1
    said = first["socket"]
    assert (said.status, said.audible, said.final_frames, said.close_code) == (101, True, 1, 1000)
    assert (said.shape[0]["contextId"], said.shape[0]["context_id"]) == ("text", "text")
    for name, code in (("voice", "voice_id_does_not_exist"), ("key", "invalid_api_key")):
        refused = first[f"socket, wrong {name}"]
        assert (refused.status, refused.error_code, refused.close_code) == (101, code, 1008)
        assert refused.reason_told
    assert len(spoken) == 6
    assert [socket.ended for socket in sockets] == [1, 0, 0] * 2
    spent = [call.credits for call in spoken[:3]] + [note.credits for note in sockets[0].contexts]
    assert 0 < sum(spent) <= MOST_CREDITS


@in_one_loop
async def test_where_the_service_differs_is_told_call_by_call(
    provider: EmulatorProcess,
    command: Seiketsu,
    clean_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "recorded.json"
    await provider.set_faults(
        {"kind": "truncate", "routes": ["stream"]},
        {"kind": "broken_json", "routes": ["stream/with-timestamps"]},
        {"kind": "reset", "routes": ["models"]},
        {"kind": "close", "routes": ["multi-stream-input"], "code": 1012, "after_frames": 1},
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
    assert "final frames: 0, emulated 1 close code: 1012, emulated 1000" in found["socket"]
    assert found["socket, wrong voice"] == found["socket, wrong key"] == ""
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


@in_one_loop
@pytest.mark.parametrize(
    ("key", "state", "said"), [(KEY, "ok", "creator"), ("sk_" + "8" * 48, "wrong", "refuses")]
)
async def test_the_doctor_asks_the_provider_what_costs_nothing(
    provider: EmulatorProcess,
    key: str,
    state: str,
    said: str,
    command: Seiketsu,
    clean_environment: dict[str, str],
) -> None:
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
