"""The container files without a container engine: what they name exists, what they run runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.embedded import EmbeddedRedis
from core.settings import VARIABLES

pytestmark = pytest.mark.alone

OWN_ENTRIES = {"SEIKETSU_API_KEYS", *VARIABLES}
_OURS = re.compile(
    r"\b(?:SEIKETSU|ELEVEN_LABS|VOICE|TWENTYONEDEV)_[A-Z_]+\b|\b(?:CACHE_)?REDIS_URL\b"
)


@pytest.fixture(scope="module")
def dockerfile(repository: Path) -> list[str]:
    """Its instructions, each on one line."""
    text = (repository / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((repository / "compose.yaml").read_text())
    return loaded


def last_stage(dockerfile: list[str]) -> list[str]:
    starts = [index for index, line in enumerate(dockerfile) if line.startswith("FROM ")]
    return dockerfile[starts[-1] :]


def test_every_file_it_copies_is_there_and_not_ignored(
    dockerfile: list[str], repository: Path
) -> None:
    allowed = (repository / ".dockerignore").read_text().splitlines()
    copied = [
        source
        for line in dockerfile
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    ]
    assert "core" in copied
    for source in copied:
        assert (repository / source).exists(), source
        assert f"!{source.partition('/')[0]}" in allowed, source


def test_the_last_stage_is_no_root_and_has_no_build_tools(dockerfile: list[str]) -> None:
    last = last_stage(dockerfile)
    users = [line.split()[1] for line in last if line.startswith("USER ")]
    assert users == ["seiketsu"]
    run = " ".join(line for line in last if line.startswith("RUN "))
    assert not re.search(r"\b(?:apt|apt-get|pip|gcc|make|uv)\b", run)
    assert any("container-studio.service=" in line for line in last)
    assert any("container-studio.tier=" in line for line in last)
    assert any(line.startswith("HEALTHCHECK ") for line in last)


def test_every_variable_is_a_setting(dockerfile: list[str], repository: Path) -> None:
    texts = ["\n".join(dockerfile), (repository / "compose.yaml").read_text()]
    named = {name for text in texts for name in _OURS.findall(text)}
    assert {"SEIKETSU_HOST", "REDIS_URL", "CACHE_REDIS_URL", "SEIKETSU_API_KEYS"} <= named
    assert named <= OWN_ENTRIES


def test_a_key_is_required(compose: dict[str, Any]) -> None:
    for name in ("gateway-1", "gateway-2"):
        keys = compose["services"][name]["environment"]["SEIKETSU_API_KEYS"]
        assert keys.startswith("${SEIKETSU_API_KEYS:?")


def test_the_services_are_those_of_an_installation(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {
        *("balancer", "gateway-1", "gateway-2", "worker", "voices", "state", "audio"),
    }
    state, audio = (shlex.join(services[name]["command"]) for name in ("state", "audio"))
    assert "--appendonly yes --maxmemory 2gb --maxmemory-policy noeviction" in state
    assert "--maxmemory 1gb --maxmemory-policy allkeys-lfu" in audio
    # Whoever shares the voice server shares the folder with its socket.
    for name in ("gateway-1", "gateway-2", "worker", "voices"):
        assert "voices:/run/seiketsu" in services[name]["volumes"]
    for name, service in services.items():
        for needed in service.get("depends_on", {}):
            assert needed in services, name
    balancer = compose["configs"]["balancer"]["content"]
    for needed in (
        "Upgrade $$http_upgrade",
        "Connection $$connection_upgrade",
        "proxy_buffering off",
        "Host $$http_host",
        "access_log off",
    ):
        assert needed in balancer
    for server in re.findall(r"server (\S+?):(\d+)", balancer):
        assert server[0] in services
        assert server[1] == "8000"


def _command(compose: dict[str, Any], service: str, **places: str) -> list[str]:
    """What the container would run, with its absolute paths in a folder of the test's."""
    command = [places.get(word, word) for word in compose["services"][service]["command"]]
    scripts = Path(sys.executable).parent
    program = {"python": sys.executable, "seiketsu": str(scripts / "seiketsu")}[command[0]]
    return [program, *command[1:]]


@contextmanager
def _running(
    command: list[str], env: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def _healthy(check: list[str], env: dict[str, str]) -> bool:
    return (
        subprocess.run([sys.executable, *check[1:]], env=env, capture_output=True).returncode == 0
    )


def _until_healthy(check: list[str], env: dict[str, str], log: Path) -> None:
    for _ in range(120):
        if _healthy(check, env):
            return
        time.sleep(0.25)
    raise AssertionError(log.read_text()[-2000:])


async def test_the_commands_run_are_healthy_and_end_in_order(
    compose: dict[str, Any],
    dockerfile: list[str],
    redis_state: EmbeddedRedis,
    redis_cache: EmbeddedRedis,
    clean_environment: dict[str, str],
    free_port: int,
    tmp_path: Path,
) -> None:
    socket = str(tmp_path / "voices.sock")
    (line,) = (line for line in last_stage(dockerfile) if line.startswith("HEALTHCHECK "))
    check = json.loads(line[line.index("CMD ") + 4 :])
    env = {
        **clean_environment,
        "SEIKETSU_API_KEYS": "a-key-for-the-test",
        "REDIS_URL": redis_state.url,
        "CACHE_REDIS_URL": redis_cache.url,
        "SEIKETSU_VOICE_SOCKET": socket,
        "SEIKETSU_DATA_DIR": str(tmp_path),
        "SEIKETSU_PORT": str(free_port),
        "PATH": os.environ["PATH"],
    }
    voices = _command(
        compose, "voices", **{"/run/seiketsu/voices.sock": socket, "/data": str(tmp_path)}
    )
    voices_check = [
        word.replace("/run/seiketsu/voices.sock", socket)
        for word in compose["services"]["voices"]["healthcheck"]["test"][1:]
    ]
    assert not _healthy(check, env)
    assert not _healthy(voices_check, env)
    with ExitStack() as stack:
        logs = {name: tmp_path / f"{name}.log" for name in ("voices", "gateway", "worker")}
        serving = stack.enter_context(
            _running([*voices, "--slow-processes", "0"], clean_environment, logs["voices"])
        )
        _until_healthy(voices_check, env, logs["voices"])
        gateway = stack.enter_context(
            _running(_command(compose, "gateway-1"), env, logs["gateway"])
        )
        worker = stack.enter_context(_running(_command(compose, "worker"), env, logs["worker"]))
        _until_healthy(check, env, logs["gateway"])
        assert worker.poll() is None, logs["worker"].read_text()[-2000:]
        for name, process in (("worker", worker), ("gateway", gateway), ("voices", serving)):
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, logs[name].read_text()[-2000:] if name in logs else name
