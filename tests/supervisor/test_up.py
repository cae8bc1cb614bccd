"""The supervisor: starting, greeting, restarting, ending; with stand-ins, on real processes."""

from __future__ import annotations

import contextlib
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.supervisor.running import Running, all_gone, interrupt, port_is_closed, running

UP = ("-m", "tests.supervisor.standins", "up")


@pytest.fixture
def env(clean_environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {
        **clean_environment,
        "SEIKETSU_DATA_DIR": str(tmp_path / "data"),
        "SEIKETSU_PORT": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def up(env: dict[str, str], repository: Path) -> Iterator[Running]:
    with running(UP, env, repository) as started:
        started.read_until("Ctrl-C")
        yield started


def _url(up: Running) -> str:
    return next(line for line in up.lines if "ready at" in line).split()[5]


def _port(up: Running) -> int:
    return int(_url(up).rpartition(":")[2])


def _child(up: Running, word: str) -> psutil.Process | None:
    """Named by that word; None while it is being started."""
    for child in psutil.Process(up.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if word in " ".join(child.cmdline()):
                return child
    return None


def _ask(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:
        text: str = reply.read().decode()
        return text


def test_it_greets_and_says_what_to_try(up: Running, tmp_path: Path) -> None:
    said = "\n".join(up.lines)
    greeted = re.search(r"first audio after (\d+) ms \((\d\.\d) s of speech\)", said)
    assert greeted is not None
    assert 0 < int(greeted[1]) < 1000
    assert greeted[2] == "1.1"
    assert f"curl -sS -X POST {_url(up)}/api/v1/voice/synthesize " in said
    assert "-o hello.mp3" in said
    assert f"{_url(up)}/docs" in said
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_children_learn_where_the_others_are(up: Running, tmp_path: Path) -> None:
    assert _ask(f"{_url(up)}/env/REDIS_URL") == f"unix://{tmp_path}/data/state.sock"
    assert _ask(f"{_url(up)}/env/CACHE_REDIS_URL") == f"unix://{tmp_path}/data/cache.sock"
    assert _ask(f"{_url(up)}/env/SEIKETSU_VOICE_SOCKET") == f"{tmp_path}/data/voices.sock"
    assert _ask(f"{_url(up)}/env/SEIKETSU_PORT") == str(_port(up))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ending_it_leaves_nothing(up: Running, number: signal.Signals, tmp_path: Path) -> None:
    below = up.descendants()
    assert len(below) == 6  # two Redis, voices and its child, gateway, worker
    if number == signal.SIGINT:
        interrupt(up.process)
    else:
        up.process.send_signal(number)
    assert up.wait() == 0
    assert up.lines[-1] == "Everything has ended."
    assert all_gone(below, 0.0)
    assert port_is_closed(_port(up))
    assert not list((tmp_path / "data").glob("*.sock"))


def test_killing_it_leaves_nothing_and_the_next_one_starts(
    up: Running, env: dict[str, str], repository: Path
) -> None:
    below = up.descendants()
    assert len(below) == 6
    up.process.kill()
    with running(UP, env, repository) as again:
        again.read_until("Ctrl-C")
        assert all_gone(below)
        interrupt(again.process)
        assert again.wait() == 0


def test_a_second_one_in_the_same_place_is_refused(
    up: Running, env: dict[str, str], repository: Path
) -> None:
    with running(UP, env, repository) as second:
        assert second.wait() == 1
        (error,) = second.errors
        assert re.match(r"seiketsu: The \w+ database in .* is in use by process \d+;", error)
        assert str(up.process.pid) in error
    assert _ask(f"{_url(up)}/env/SEIKETSU_PORT") == str(_port(up))


def test_a_port_in_use_is_said_at_once(up: Running, env: dict[str, str], repository: Path) -> None:
    taken = {
        **env,
        "SEIKETSU_PORT": str(_port(up)),
        "SEIKETSU_DATA_DIR": env["SEIKETSU_DATA_DIR"] + "2",
    }
    with running(UP, taken, repository) as second:
        assert second.wait() == 1
        (error,) = second.errors
        assert error.startswith(f"seiketsu: Port {_port(up)} on 127.0.0.1 cannot be opened")
        assert "SEIKETSU_PORT" in error


@pytest.mark.parametrize("word", ["gateway", "voices", "worker", "state.sock", "cache.sock"])
def test_what_dies_is_started_again(up: Running, word: str) -> None:
    until = time.monotonic() + 5
    while (first := _child(up, word)) is None:
        assert time.monotonic() < until, "the worker is begun last"
        time.sleep(0.02)
    first.kill()
    said = up.read_until("The ")
    assert "starting it again" in said
    until = time.monotonic() + 10
    while (second := _child(up, word)) is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert second.pid != first.pid
    assert _ask(f"{_url(up)}/env/SEIKETSU_PORT") == str(_port(up))
    below = up.descendants()
    interrupt(up.process)
    assert up.wait() == 0
    assert all_gone(below, 0.0)


@pytest.mark.parametrize(("part", "name"), [("GATEWAY", "gateway"), ("VOICES", "voice server")])
def test_what_cannot_start_ends_everything(
    env: dict[str, str], repository: Path, part: str, name: str
) -> None:
    with running(UP, {**env, f"STAND_IN_{part}": "exits"}, repository) as started:
        assert started.wait() == 1
    assert started.errors[-1] == f"seiketsu: The {name} could not start (it ended with 3)."
    assert any("has no luck" in line for line in started.errors)


def test_what_will_not_stay_ends_everything(up: Running) -> None:
    below: set[psutil.Process] = set()
    until = time.monotonic() + 30
    while up.process.poll() is None:
        assert time.monotonic() < until
        with contextlib.suppress(psutil.Error):
            below |= set(up.descendants())
            gateway = _child(up, "gateway")
            if gateway is not None:
                gateway.kill()
        time.sleep(0.05)
    assert up.wait() == 1
    assert re.fullmatch(r"seiketsu: The gateway ended 6 times in a row \(-9\)\.", up.errors[-1])
    assert all_gone(list(below), 0.0)


def test_a_second_ctrl_c_kills_what_does_not_listen(env: dict[str, str], repository: Path) -> None:
    with running(UP, {**env, "STAND_IN_GATEWAY": "deaf"}, repository) as started:
        started.read_until("Ctrl-C")
        below = started.descendants()
        interrupt(started.process)
        time.sleep(0.3)
        assert started.process.poll() is None
        asked = time.monotonic()
        interrupt(started.process)
        assert started.wait() == 0
        assert time.monotonic() - asked < 2
        assert all_gone(below, 0.0)


def test_ctrl_c_during_the_start_leaves_nothing(env: dict[str, str], repository: Path) -> None:
    with running(UP, env, repository) as started:
        until = time.monotonic() + 10
        while len(below := started.descendants()) < 2:
            assert time.monotonic() < until
            time.sleep(0.005)
        interrupt(started.process)
        assert started.wait() == 0, started.errors
        assert all_gone(below)
