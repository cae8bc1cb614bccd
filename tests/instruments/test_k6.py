"""The scripts of k6: the mix of their sessions, and gates that suit the number of samples."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import sessions_mix as mix
from benchmarks.budgets import load
from benchmarks.load import K6, SCRIPTS
from benchmarks.stats import ENOUGH_FOR_P99


def k6(*arguments: str, **env: str) -> str:
    """What k6 printed."""
    done = subprocess.run(
        [K6[0], *arguments], capture_output=True, text=True, timeout=30, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    printed = tmp_path_factory.mktemp("k6") / "printed"
    script = str(Path(__file__).with_name("mix.js"))
    k6(*K6[1:], "--log-format=raw", f"--console-output={printed}", script)
    told: dict[str, Any] = json.loads(printed.read_text())
    return told


def test_k6_talks_as_the_sessions_of_the_benchmark_do(found: dict[str, Any]) -> None:
    assert found["mix"] == {
        "languages": dict(mix.LANGUAGES),
        "formats": list(mix.FORMATS),
        "fresh": mix.FRESH_SHARE,
        "written": mix.WRITTEN_SHARE,
        "interrupted": mix.INTERRUPTED_SHARE,
        "tokensPerS": mix.TOKENS_PER_S,
        "turnEveryS": mix.TURN_EVERY_S,
    }
    assert found["common"] == {name: list(texts) for name, texts in mix.COMMON.items()}
    for language, text in found["fresh"].items():
        fresh = mix.fresh_texts(language, 0)
        assert text == [next(fresh) for _ in range(43)][42]
    for language, tokens in found["tokens"].items():
        assert tokens == mix.tokens_of("".join(tokens), language)


def test_what_k6_asks_has_the_shares_of_the_mix(found: dict[str, Any]) -> None:
    assert found["sessions"] == {
        f"{language} {name}": share * 1000 / len(mix.FORMATS)
        for language, share in mix.LANGUAGES
        for name in mix.FORMATS
    }
    asked = found["asked"]
    assert asked["fresh"] == pytest.approx(mix.FRESH_SHARE, rel=0.1)
    assert asked["written"] == pytest.approx(mix.WRITTEN_SHARE, rel=0.1)
    assert asked["interrupted"] == pytest.approx(mix.INTERRUPTED_SHARE, rel=0.2)
    assert asked["differing"] == round(asked["fresh"] * 20_000)
    first, last = asked["interruptMs"]
    assert 100 <= first < 200
    assert 1400 < last <= 1500


def test_the_worst_is_gated_where_there_are_too_few_samples_for_a_p99(
    found: dict[str, Any],
) -> None:
    few, almost, enough = found["tails"]
    assert few == almost == ["max", ["med", "p(95)", "max", "count"]]
    assert enough == ["p(99)", ["med", "p(95)", "p(99)", "max", "count"]]
    assert ENOUGH_FOR_P99 == 2000
    assert found["budgets"] == msgspec.to_builtins(load().sessions)


@pytest.mark.parametrize(
    ("script", "metric", "few", "enough"),
    [
        ("session", "session_first_audio_ms", "SESSION_COUNT=20", "SESSION_COUNT=1000"),
        ("load", "first_audio_cached_ms", "LOAD_SECONDS=30", "LOAD_SECONDS=40"),
        ("load", "first_audio_uncached_ms", "LOAD_FRESH=0.1", "LOAD_FRESH=0.9"),
        ("smoke", "first_audio_cached_ms", "SMOKE_SECONDS=7", "SMOKE_SECONDS=8"),
    ],
)
def test_every_script_gates_by_its_configured_size(
    repository: Path, script: str, metric: str, few: str, enough: str
) -> None:
    for setting, gate in ((few, "max<"), (enough, "p(99)<")):
        name, value = setting.split("=")
        inspected = k6(
            *("inspect", "--include-system-env-vars", str(repository / f"k6/{script}.js")),
            **{name: value},
        )
        (threshold,) = json.loads(inspected)["thresholds"][metric]
        assert threshold.startswith(gate), (setting, threshold)


def test_no_script_gates_on_a_p99_without_asking_how_many_samples_there_are(
    repository: Path,
) -> None:
    scripts = sorted((repository / "k6").glob("*.js"))
    assert {f"{name}.js" for name in SCRIPTS} <= {script.name for script in scripts}
    for script in scripts:
        if script.name != "lib.js":
            assert "p(99)" not in script.read_text(), script
