"""The commands that talk to a running gateway, as a user types them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import av
import pytest

from core.settings import Settings
from gateway.client import open_client
from gateway.commands.base import CommandFailed
from gateway.commands.bulk import _save, texts_of
from tests.commands.conftest import Seiketsu


def _seconds(audio: bytes) -> float:
    with av.open(io.BytesIO(audio), mode="r") as file:
        stream = file.streams.audio[0]
        return sum(frame.samples for frame in file.decode(stream)) / stream.rate


def test_say_writes_a_file_and_tells_the_times(seiketsu: Seiketsu, tmp_path: Path) -> None:
    said = seiketsu("say", "Hello! How can I help you today?", "--out", "hello.mp3", "--json")
    assert said.code == 0, said.err
    told = said.json
    assert 0 < told["first_audio_ms"] <= told["whole_ms"]
    assert (told["cached"], told["provider"], told["language"]) == (False, "local", "en")
    audio = (tmp_path / "hello.mp3").read_bytes()
    assert len(audio) == told["audio_bytes"]
    assert abs(_seconds(audio) * 1000 - told["duration_ms"]) < 200
    again = seiketsu("say", "Hello! How can I help you today?", "--out", "again.mp3")
    assert "cached       yes" in again.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.mp3", "hello.mp3"]


def test_say_reads_standard_input_and_writes_standard_output(seiketsu: Seiketsu) -> None:
    said = seiketsu("say", "-", "--out", "-", "--format", "wav", stdin="El piso es muy bonito.")
    assert said.code == 0, said.err
    assert said.raw[:4] == b"RIFF"
    assert "language     es" in said.err


def test_a_refusal_is_told_on_stderr_and_leaves_no_file(seiketsu: Seiketsu, tmp_path: Path) -> None:
    as_json = seiketsu("say", "Hello.", "--agent", "nobody", "--json")
    assert (as_json.code, as_json.out) == (1, "")
    assert json.loads(as_json.err)["error"]["code"] == "agent_not_found"
    assert not list(tmp_path.iterdir())


def test_a_wrong_key_and_no_gateway_are_told_apart(seiketsu: Seiketsu, free_port: int) -> None:
    refused = seiketsu("agents", SEIKETSU_KEY="wrong")
    assert (refused.code, "key" in refused.err) == (1, True)
    absent = seiketsu("agents", SEIKETSU_URL=f"http://127.0.0.1:{free_port}")
    assert absent.code == 1
    assert f"No gateway answers at http://127.0.0.1:{free_port}" in absent.err
    assert "seiketsu up" in absent.err


def test_agents_are_set_shown_changed_and_deleted(seiketsu: Seiketsu) -> None:
    made = seiketsu(
        *("agents", "set", "agent_7", "--name", "Mira", "--profile", "friendly_female"),
        *("--languages", "es,en", "--json"),
    )
    assert made.code == 0, made.err
    assert made.json["voice_settings"]["language_preferences"] == ["es", "en"]
    changed = seiketsu("agents", "set", "agent_7", "--speed", "1.1", "--json").json
    assert changed["name"] == "Mira"
    assert changed["voice_settings"]["speed"] == 1.1
    assert changed["voice_settings"]["profile"] == "friendly_female"
    listed = seiketsu("agents")
    assert "agent_123" in listed.out
    assert "Mira" in listed.out
    assert seiketsu("agents", "delete", "agent_7").code == 0
    gone = seiketsu("agents", "show", "agent_7", "--json")
    assert (gone.code, json.loads(gone.err)["error"]["code"]) == (1, "agent_not_found")


def test_few_texts_are_spoken_at_once_and_saved(seiketsu: Seiketsu, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("Good morning.\n\nGood evening.\nGood night.\n")
    said = seiketsu("bulk", "texts.txt", "--out", "audio", "--format", "wav", "--json")
    assert said.code == 0, said.err
    assert [item["status"] for item in said.json["results"]] == ["success"] * 3
    files = sorted((tmp_path / "audio").iterdir())
    assert [file.name for file in files] == ["0001.wav", "0002.wav", "0003.wav"]
    assert all(0.3 < _seconds(file.read_bytes()) < 4 for file in files)


async def test_audio_that_comes_in_the_reply_itself_is_saved_too(tmp_path: Path) -> None:
    items = [{"index": 0, "audio_url": None, "audio_base64": base64.b64encode(b"abc").decode()}]
    async with open_client(Settings()) as client:
        await _save(client, items, tmp_path, "mp3")
    assert (tmp_path / "0001.mp3").read_bytes() == b"abc"
    assert "audio_base64" not in items[0]


def test_many_texts_become_a_job_that_can_be_looked_at(seiketsu: Seiketsu, tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"This is line {n}."}) for n in range(1, 25)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    said = seiketsu("bulk", "texts.jsonl", "--out", "audio", "--json")
    assert said.code == 0, said.err
    job = said.json
    assert (job["status"], job["succeeded"], job["total"]) == ("done", 24, 24)
    assert len(list((tmp_path / "audio").glob("*.mp3"))) == 24
    assert job["job_id"] in seiketsu("jobs").out
    assert job["job_id"] in seiketsu("jobs", "list", "--status", "done").out
    assert seiketsu("jobs", "list", "--status", "queued", "--json").json["total"] == 0
    shown = seiketsu("jobs", "show", job["job_id"], "--json").json
    assert [item["index"] for item in shown["items"]] == list(range(24))
    late = seiketsu("jobs", "cancel", job["job_id"])
    assert (late.code, "job_ended" in late.err or "has ended" in late.err) == (1, True), late.err
    assert seiketsu("jobs", "remove", job["job_id"]).code == 0
    assert job["job_id"] not in seiketsu("jobs").out
    (worker,) = seiketsu("jobs", "workers", "--json").json["workers"]
    assert (worker["requests"] >= 24, worker["jobs"]) == (True, [])


def test_a_worker_that_is_to_do_what_there_is_ends_then(seiketsu: Seiketsu) -> None:
    said = seiketsu("worker", "--burst")
    assert said.code == 0, (said.out, said.err)


def test_what_cannot_be_asked_for_is_misuse(seiketsu: Seiketsu) -> None:
    for words in (("jobs", "show"), ("agents", "delete"), ("say", "Hi.", "--out", "-", "--json")):
        told = seiketsu(*words)
        assert (told.code, told.out) == (2, "")
        assert told.err


def test_pregenerated_phrases_are_answered_from_the_cache(seiketsu: Seiketsu) -> None:
    said = seiketsu("pregenerate", "agent_123", "--language", "en", "--json")
    assert said.code == 0, said.err
    (job,) = said.json["jobs"]
    assert job["succeeded"] == job["total"] > 5


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.txt", None, "cannot be read"),
        ("empty.txt", "\n\n", "holds no text"),
        ("odd.jsonl", '{"words": "x"}', "line 1"),
    ],
)
def test_a_file_that_cannot_be_spoken_is_told(
    name: str, content: str | None, said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(CommandFailed, match=said):
        texts_of(tmp_path / name)


def test_voices_lists_profiles_and_what_speaks_here(seiketsu: Seiketsu) -> None:
    told = seiketsu("voices", "--json").json
    assert len(told["profiles"]) == 5
    states = {voice["language"]: voice["state"] for voice in told["local_voices"]}
    assert states == {"en": "ready (1 of 1)", "es": "ready (1 of 1)", "zh": "switched off"}


def test_the_doctor_finds_a_sound_installation_sound(seiketsu: Seiketsu) -> None:
    told = seiketsu("doctor", "--json")
    assert told.code == 0, told.out
    states = {check["name"]: check["state"] for check in told.json["checks"]}
    assert states == {
        **{"state database": "ok", "audio database": "ok", "codecs": "ok", "gateway": "ok"},
        "voice server": "warning",  # Mandarin is switched off
        "provider": "warning",  # there is no key
    }


def test_the_doctor_in_another_folder_goes_by_what_the_gateway_says(
    seiketsu: Seiketsu, tmp_path: Path
) -> None:
    told = seiketsu("doctor", "--json", SEIKETSU_DATA_DIR="")
    assert told.code == 0, told.out
    checks = {check["name"]: check for check in told.json["checks"]}
    for name in ("state database", "audio database", "voice server"):
        assert checks[name]["state"] == "warning"
        assert str(tmp_path / ".seiketsu") in checks[name]["found"]
        assert "SEIKETSU_DATA_DIR" in checks[name]["action"]
    alone = seiketsu("doctor", "--json", SEIKETSU_DATA_DIR="", SEIKETSU_URL="http://127.0.0.1:1")
    assert alone.code == 1
    wrong = {one["name"]: one for one in alone.json["checks"] if one["state"] == "wrong"}
    assert set(wrong) == {"state database", "audio database", "voice server", "gateway"}
    assert str(tmp_path / ".seiketsu") in wrong["state database"]["found"]


@pytest.mark.parametrize(
    ("variable", "value", "check"),
    [
        ("REDIS_URL", "unix:///nowhere.sock", "state database"),
        ("SEIKETSU_VOICE_SOCKET", "/nowhere.sock", "voice server"),
        ("SEIKETSU_KEY", "wrong", "gateway"),
    ],
)
def test_the_doctor_names_what_is_wrong(
    variable: str, value: str, check: str, seiketsu: Seiketsu
) -> None:
    told = seiketsu("doctor", "--json", **{variable: value})
    assert told.code == 1
    wrong = [one for one in told.json["checks"] if one["state"] == "wrong"]
    assert [one["name"] for one in wrong] == [check]
    assert wrong[0]["action"]
