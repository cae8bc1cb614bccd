"""Every module imports alone and does nothing by it; the core loads no Rust and no web server."""

from __future__ import annotations

import compileall
import functools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

PACKAGES = ("core", "gateway", "workers", "benchmarks")
FOREIGN_TO_THE_CORE = {
    *("litestar", "uvicorn", "arq", "orjson", "pydantic", "pydantic_core", "tokenizers"),
    *("cryptography", "jwt", "jsonschema_rs", "gateway", "workers", "benchmarks", "tests"),
}
LIBRARIES = "aiohttp,numpy,redis.asyncio,structlog,aiocache"
"""Imported once for all modules; what the core may not load is not among them."""
EDGE_LIBRARIES = f"{LIBRARIES},litestar,uvicorn,arq,orjson,core.runtime"
"""The core as well: it never imports what stands around it."""
RUST = (b"rustc version", b"/rustc/")
"""What the compiler leaves in a library, stripped ones included: its name and its source paths."""


def _modules(root: Path, package: str) -> list[str]:
    files = sorted((root / package).rglob("*.py"))
    names = [".".join(path.relative_to(root).with_suffix("").parts) for path in files]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def _probe(root: Path, libraries: str, modules: list[str]) -> list[dict[str, Any]]:
    run = subprocess.run(
        [sys.executable, "-B", "tests/repo/probe.py", "--with", libraries, *modules],
        cwd=root,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


@functools.cache
def _probed(root: Path) -> list[dict[str, Any]]:
    inner = _modules(root, "core")
    outer = [name for package in PACKAGES if package != "core" for name in _modules(root, package)]
    assert min(len(inner), len(outer)) > 20
    # Else each fork compiles most of the product anew.
    assert all(compileall.compile_dir(root / package, quiet=2) for package in PACKAGES)
    with ThreadPoolExecutor(2) as pool:
        halves = pool.map(
            functools.partial(_probe, root), (LIBRARIES, EDGE_LIBRARIES), (inner, outer)
        )
        found = [report for half in halves for report in half]
    assert sorted(report["module"] for report in found) == sorted(inner + outer)
    return found


@functools.cache
def _is_rust(library: str) -> bool:
    code = Path(library).read_bytes()
    return any(mark in code for mark in RUST)


@pytest.mark.timeout(150)
def test_every_module_imports_alone(repository: Path) -> None:
    broken = {r["module"]: r["error"] for r in _probed(repository) if r["error"]}
    assert not broken


@pytest.mark.timeout(150)
def test_importing_does_nothing_else(repository: Path) -> None:
    did = {report["module"]: report["did"] for report in _probed(repository) if report["did"]}
    assert not did


@pytest.mark.timeout(150)
def test_the_core_loads_nothing_foreign(repository: Path) -> None:
    for report in _probed(repository):
        if report["module"].partition(".")[0] == "core":
            roots = {name.partition(".")[0] for name in report["loaded"]}
            assert not roots & FOREIGN_TO_THE_CORE, report["module"]


@pytest.mark.timeout(150)
def test_the_core_loads_no_rust_extension(repository: Path) -> None:
    for report in _probed(repository):
        if report["module"].partition(".")[0] == "core":
            libraries = [f for f in report["loaded"].values() if f and f.endswith(".so")]
            assert not [f for f in libraries if _is_rust(f)], report["module"]


def test_rust_and_effects_would_be_seen(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "import threading, time\n"
        f"open({str(tmp_path / 'out')!r}, 'w').close()\n"
        "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
    )
    run = subprocess.run(
        [sys.executable, "-B", "tests/repo/probe.py", "orjson", "bad", "no_such_module"],
        cwd=repository,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    orjson, bad, absent = (json.loads(line) for line in run.stdout.splitlines())
    assert any(_is_rust(f) for f in orjson["loaded"].values() if f and f.endswith(".so"))
    assert len(bad["did"]) == 2
    assert "ModuleNotFoundError" in absent["error"]
