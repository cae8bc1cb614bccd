"""The whole installation as a newcomer runs it: `seiketsu up` with its real parts."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from core.audio.pcm import AUDIBLE_AMPLITUDE
from tests.supervisor.running import Running, all_gone, interrupt, port_is_closed, running

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def up(
    clean_environment: dict[str, str], repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    env = {
        **clean_environment,
        "SEIKETSU_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "SEIKETSU_PORT": "0",
    }
    with running(("-m", "gateway.cli", "up"), env, repository) as started:
        started.read_until("Ctrl-C", timeout_s=50)
        yield started


def _url(up: Running) -> str:
    return next(line for line in up.lines if "ready at" in line).split()[5]


def test_it_has_greeted(up: Running) -> None:
    said = "\n".join(up.lines)
    greeted = re.search(r"first audio after (\d+) ms \((\d+\.\d) s of speech\)", said)
    assert greeted is not None, said
    assert int(greeted[1]) < 2000
    assert 1.5 < float(greeted[2]) < 8


def test_it_says_when_mandarin_is_ready_and_then_it_is(up: Running) -> None:
    up.read_until("Mandarin is ready", timeout_s=50)
    body = {"text": "您好，请问有什么可以帮您？", "voice_agent_id": "agent_123"}
    request = urllib.request.Request(
        f"{_url(up)}/api/v1/voice/synthesize",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        said = json.load(reply)
    assert (said["language"], said["provider"]) == ("zh", "local")


def test_its_curl_line_writes_a_playable_mp3(up: Running, tmp_path: Path) -> None:
    (line,) = (line for line in up.lines if line.startswith("Try it:"))
    command = shlex.split(line.removeprefix("Try it:"))
    subprocess.run(command, cwd=tmp_path, check=True, timeout=20)
    with av.open(io.BytesIO((tmp_path / "hello.mp3").read_bytes()), mode="r") as file:
        stream = file.streams.audio[0]
        assert stream.codec_context.name in ("mp3", "mp3float")
        frames = [frame.to_ndarray() for frame in file.decode(stream)]
        rate = stream.rate
    samples = np.concatenate(frames, axis=1)
    assert 1 < samples.shape[1] / rate < 8
    assert np.abs(samples).max() * (32767 if samples.dtype.kind == "f" else 1) > AUDIBLE_AMPLITUDE


@pytest.mark.timeout(90)
def test_the_k6_smoke_run_is_within_the_budgets(up: Running, repository: Path) -> None:
    k6 = Path(sys.executable).parent / "k6"
    run = subprocess.run(
        [k6, "run", "--no-usage-report", "--quiet", "k6/smoke.js"],
        cwd=repository,
        env={"SEIKETSU_URL": _url(up), "HOME": str(repository), "SMOKE_SECONDS": "8"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr


def test_after_ctrl_c_nothing_is_left(up: Running) -> None:
    below = up.descendants()
    assert len(below) >= 5
    port = int(_url(up).rpartition(":")[2])
    interrupt(up.process)
    assert up.wait() == 0
    assert all_gone(below, 0.5)
    assert port_is_closed(port)
    assert not [line for line in up.errors if "Traceback" in line]
