"""Kokoro's files: made once, kept, verified, and never needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.voices.kokoro_model import Networks, networks, packaged_model
from core.voices.kokoro_norms import load_norms
from core.voices.registry import EngineOptions

ROOT = Path(__file__).parents[2]
NORMS = load_norms()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the files."""
    directory = tmp_path_factory.mktemp("made")
    files_of(networks(EngineOptions(str(directory)), NORMS))
    return directory


@pytest.fixture
def data_dir(made: Path, tmp_path: Path) -> Path:
    """One of its own for each test."""
    shutil.copytree(made, tmp_path / "data")
    return tmp_path / "data"


def files_of(found: Networks) -> tuple[Path, Path]:
    assert isinstance(found.encoder, Path)
    assert isinstance(found.decoder, Path)
    return found.encoder, found.decoder


def kept(data_dir: Path, *, trust: bool = True) -> tuple[Path, Path]:
    return files_of(networks(EngineOptions(str(data_dir)), NORMS, trust=trust))


def same(first: Path, second: Path) -> bool:
    return first.read_bytes() == second.read_bytes()


def test_files_are_for_this_user_alone(made: Path) -> None:
    directory = made / "kokoro"
    assert directory.stat().st_mode & 0o777 == 0o700
    names = [path.name for path in directory.iterdir()]
    assert len(names) == 4  # two networks, their stamps, the lock
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in directory.iterdir())


def test_a_later_start_finds_them(data_dir: Path) -> None:
    before = kept(data_dir)
    inodes = [path.stat().st_ino for path in before]
    for trust in (True, False):
        assert [path.stat().st_ino for path in kept(data_dir, trust=trust)] == inodes


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone"])
def test_a_damaged_file_is_made_anew(made: Path, data_dir: Path, which: int, damage: str) -> None:
    path, good = kept(data_dir)[which], kept(made)[which]
    if damage == "gone":
        path.unlink()
    else:
        with path.open("r+b") as file:
            if damage == "truncated":
                file.truncate(path.stat().st_size - 1)
            else:
                file.seek(1_000_000)
                byte = file.read(1)[0]
                file.seek(1_000_000)
                file.write(bytes([byte ^ 1]))
    assert same(kept(data_dir)[which], good)


def test_damage_behind_an_unchanged_time_is_found_on_a_close_look(
    made: Path, data_dir: Path
) -> None:
    path = kept(data_dir)[1]
    times = path.stat()
    with path.open("r+b") as file:
        file.write(b"\0\0\0\0")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not same(kept(data_dir)[1], kept(made)[1])
    assert same(kept(data_dir, trust=False)[1], kept(made)[1])


@pytest.mark.long
def test_broken_stamps_are_as_none(data_dir: Path) -> None:
    (stamps,) = (data_dir / "kokoro").glob("*.json")
    for text in ("", "[]", "{", '[{"name": "../x"}]'):
        stamps.write_text(text)
        assert all(path.stat().st_size > 1_000_000 for path in kept(data_dir))


MAKE = """
import logging, resource, signal, sys
from core.voices.kokoro_model import networks
from core.voices.kokoro_norms import load_norms
from core.voices.registry import EngineOptions
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
found = networks(EngineOptions(sys.argv[1]), load_norms())
for network in (found.encoder, found.decoder):
    print(len(network) if isinstance(network, bytes) else (str(network), network.stat().st_ino))
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MAKE, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
def test_children_that_start_at_once_make_them_once(tmp_path: Path) -> None:
    children = [start(str(tmp_path)) for _ in range(3)]
    said = [child.communicate(timeout=50) for child in children]
    assert len({out for out, _ in said}) == 1, said
    assert "encoder.onnx" in said[0][0]
    assert len(list((tmp_path / "kokoro").iterdir())) == 4


def test_a_full_disk_is_no_reason_not_to_speak(tmp_path: Path) -> None:
    out, errors = start(str(tmp_path), "10000000").communicate(timeout=50)
    assert [int(line) > 20_000_000 for line in out.split()] == [True, True], errors
    assert "cannot be kept" in errors
    assert [path.name for path in (tmp_path / "kokoro").iterdir()] == ["lock"]


def test_a_directory_that_cannot_be_made_is_none_either(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    found = networks(EngineOptions(str(tmp_path / "file" / "data")), NORMS)
    assert isinstance(found.encoder, bytes)
    assert isinstance(found.decoder, bytes)
    assert "cannot be kept" in caplog.text


def test_a_directory_that_others_can_write_to_is_not_used(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data_dir / "kokoro").chmod(0o777)
    assert isinstance(networks(EngineOptions(str(data_dir)), NORMS).encoder, bytes)
    assert "this user alone" in caplog.text


def test_a_model_of_the_operator_is_used(made: Path, data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "kokoro-v1.0.int8.onnx"
    path.write_bytes(packaged_model() + b"\x72\x00")  # an empty record more: another file
    options = EngineOptions(str(data_dir), str(path))
    own = files_of(networks(options, NORMS))
    assert own[0].name != kept(made)[0].name
    inode = own[0].stat().st_ino
    assert files_of(networks(options, NORMS))[0].stat().st_ino == inode


@pytest.mark.parametrize("content", [None, b"", b"no model", b"\x3a\x02\x0a\x00"])
def test_a_model_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"model\.onnx") as caught:
        networks(EngineOptions(str(tmp_path), str(path)), NORMS)
    assert "cannot be" in caught.value.message


def test_a_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        networks(EngineOptions(str(tmp_path), str(tmp_path)), NORMS)
