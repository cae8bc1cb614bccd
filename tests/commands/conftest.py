"""A running installation, and the command line as processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.supervisor.running import running

KEY = "a-key-of-the-tests"


class Said:
    """What a command wrote and how it ended."""

    def __init__(self, run: subprocess.CompletedProcess[bytes]) -> None:
        self.code = run.returncode
        self.raw = run.stdout
        self.out = run.stdout.decode("utf-8", "replace")
        self.err = run.stderr.decode()

    @property
    def json(self) -> Any:
        """Standard output, which is one line of JSON."""
        assert self.out.count("\n") == 1, (self.out, self.err)
        return json.loads(self.out)


Seiketsu = Callable[..., Said]


@pytest.fixture(scope="session")
def command(repository: Path) -> Seiketsu:
    """Runs `seiketsu` with these words and settings."""

    def run(*words: str, env: dict[str, str], cwd: Path = repository, stdin: str = "") -> Said:
        line: Sequence[str] = (sys.executable, "-m", "gateway.cli", *words)
        env = {**env, "PYTHONPATH": str(repository)}
        return Said(
            subprocess.run(
                line, env=env, cwd=cwd, input=stdin.encode(), capture_output=True, timeout=40
            )
        )

    return run


@pytest.fixture(scope="module")
def installation(
    clean_environment: dict[str, str], repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment of an installation that runs, with a key."""
    env = {
        **clean_environment,
        "SEIKETSU_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "SEIKETSU_PORT": "0",
        "SEIKETSU_API_KEYS": f"acme:{KEY}",
        "SEIKETSU_VOICE_SLOW_PROCESSES": "0",
        "SEIKETSU_VOICE_PROCESSES": "1",
    }
    with running(("-m", "gateway.cli", "up"), env, repository) as up:
        up.read_until("Ctrl-C", timeout_s=50)
        url = next(line for line in up.lines if "ready at" in line).split()[5]
        yield {**env, "SEIKETSU_URL": url, "SEIKETSU_PORT": url.rpartition(":")[2]}


@pytest.fixture
def seiketsu(command: Seiketsu, installation: dict[str, str], tmp_path: Path) -> Seiketsu:
    """`seiketsu` beside the running installation, in an empty folder."""

    def run(*words: str, stdin: str = "", **changed: str) -> Said:
        return command(*words, env={**installation, **changed}, cwd=tmp_path, stdin=stdin)

    return run
