"""The rules of the house that can be read off the source."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path
from typing import TypeGuard

import pytest

from tests.conftest import LONGEST_FIRST
from tests.repo.tables import README, TABLES, with_tables

MAX_LINES = 400
MAY_READ_THE_ENVIRONMENT = {"core/settings.py", "gateway/cli.py"}
HOSTS = ("py" + "pi.org", "python" + "hosted", "npm" + "js.org", "proxy." + "golang")
"""Package index hosts, written so that this file does not name them."""
GENERATED = {"requirements/run.txt", "requirements/test.txt", "LICENSE"}


@pytest.fixture(scope="module")
def tracked(repository: Path) -> list[Path]:
    """Every file that is or would be in the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    run = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    files = [repository / name for name in run.stdout.split("\0") if name]
    return [path for path in files if path.is_file()]


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def test_files_are_small(tracked: list[Path], repository: Path) -> None:
    text = {".py", ".js", ".toml", ".md", ".html", ".css", ".json", ""}
    long = {
        str(path.relative_to(repository)): lines
        for path in tracked
        if path.suffix in text and str(path.relative_to(repository)) not in GENERATED
        if not (path.suffix == ".json" and "tests" in path.parts)  # a corpus
        if (lines := _read(path).count("\n")) > MAX_LINES
    }
    assert not long


def test_the_files_that_are_run_first_are_there(repository: Path) -> None:
    assert [name for name in LONGEST_FIRST if not (repository / "tests" / name).is_file()] == []


def test_only_the_settings_read_the_environment(repository: Path) -> None:
    found = set()
    for package in ("core", "gateway", "workers"):
        for path in (repository / package).rglob("*.py"):
            name = str(path.relative_to(repository))
            tree = ast.parse(path.read_bytes())
            handed_over = {id(node.args[0]) for node in ast.walk(tree) if _loads_settings(node)}
            for node in ast.walk(tree):
                read = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
                named = isinstance(node, ast.alias) and node.name in ("environ", "getenv")
                if (read or named) and id(node) not in handed_over:
                    found.add(name)
    assert found <= MAY_READ_THE_ENVIRONMENT


def _loads_settings(node: ast.AST) -> TypeGuard[ast.Call]:
    """`load_settings(os.environ)`: handing the environment to the one that reads it."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "load_settings"
    )


def test_no_package_index_is_named(tracked: list[Path]) -> None:
    pattern = re.compile("|".join(map(re.escape, HOSTS)), re.IGNORECASE)
    assert not [str(path) for path in tracked if pattern.search(_read(path))]


def test_no_pattern_has_a_possessive_group(repository: Path) -> None:
    """Python 3.11 before 3.11.5 ends `(?:ab)*+` a character early; `a*+` is right."""
    possessive = re.compile(r"\)(?:[*+?]|\{[0-9,]*\}|\{\{[0-9,]*\}\})\+|\(\?>")
    assert possessive.search("(?:ab)*" + "+")
    for package in ("core", "gateway", "benchmarks"):
        for path in (repository / package).rglob("*.py"):
            tree = ast.parse(path.read_bytes())
            texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
            assert not [t for t in texts if isinstance(t, str) and possessive.search(t)], path


def _pins(path: Path) -> dict[str, tuple[str, int]]:
    """Name to version and number of hashes, of a file of pins with hashes."""
    found: dict[str, tuple[str, int]] = {}
    for block in _read(path).replace("\\\n", " ").splitlines():
        if not block.strip() or block.startswith("#"):
            continue
        pin = re.match(
            r"([a-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;]+)(?: ;[^\\-]*?)?(?=\s+--hash)", block
        )
        assert pin is not None, block[:80]
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)", block)
        assert len(hashes) == block.count("--"), block[:80]
        found[pin[1]] = (pin[2], len(hashes))
    return found


@pytest.mark.parametrize("name", ["run", "test"])
def test_every_pin_has_a_version_and_hashes(repository: Path, name: str) -> None:
    pins = _pins(repository / "requirements" / f"{name}.txt")
    assert len(pins) > 20
    assert all(hashes for _, hashes in pins.values())
    asked = {
        line.split(";")[0].strip()
        for line in _read(repository / "requirements" / f"{name}.in").splitlines()
        if line and not line.startswith(("#", "-"))
    }
    for requirement in asked:
        package, _, version = requirement.partition("==")
        normal = re.sub(r"[-_.]+", "-", package.partition("[")[0]).lower()
        assert pins[normal][0] == version, requirement


def test_both_files_agree(repository: Path) -> None:
    run, test = (_pins(repository / "requirements" / f"{n}.txt") for n in ("run", "test"))
    assert not {name for name in run.keys() & test.keys() if run[name][0] != test[name][0]}


def test_ci_is_make_check_and_nothing_else(repository: Path) -> None:
    lines = [
        line
        for line in _read(repository / ".ci" / "run").splitlines()
        if line and not line.startswith("#")
    ]
    assert lines == ["set -eu", 'cd "$(dirname "$0")/.."', "exec make check"]


def test_check_runs_every_gate(repository: Path) -> None:
    run = subprocess.run(
        ["make", "--dry-run", "check"], cwd=repository, capture_output=True, text=True, check=True
    )
    commands = [line.strip() for line in run.stdout.splitlines()]
    for gate in (
        *("ruff format --check .", "ruff check .", "mypy", "lint-imports"),
        "python -m benchmarks.run --ci",
    ):
        assert f".venv/bin/{gate}" in commands
    suites = [line.partition(" -m ")[2] for line in commands if line.startswith(".venv/bin/pytest")]
    beside, alone = suites
    assert beside.partition(" --")[0] == '"not alone and not long"'
    assert alone == '"alone and not long"', "with `make long` each test is in one"


def test_warnings_are_errors(repository: Path) -> None:
    project = tomllib.loads(_read(repository / "pyproject.toml"))
    assert project["tool"]["pytest"]["ini_options"]["filterwarnings"] == ["error"]
    assert project["tool"]["mypy"]["strict"] is True


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_the_tables_follow_from_the_code(page: Path) -> None:
    assert with_tables(page) == page.read_text(), "run `make docs`"


def test_the_readme_opens_with_the_two_commands() -> None:
    head = README.read_text().split("## ")[0]
    assert head.index("make run") < head.index("make test")
