"""Where the unix sockets of an installation are, and their privacy.

A socket's path may have about 107 bytes, so an installation in a deep directory keeps its sockets
in a short private one. The place follows from the data directory alone: every process finds it.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from pathlib import Path
from typing import Final

from core.errors import ConfigurationError

_PATH_LIMIT_BYTES: Final = 100
"""Linux takes 107 bytes, macOS 103; a little is left for the longest name."""

_SHORT_ROOT: Final = Path("/tmp")  # noqa: S108 - the directories in it are private and checked


def socket_path(data_dir: Path, name: str) -> Path:
    """The absolute path of the socket `name` of the installation at `data_dir`."""
    wanted = data_dir.absolute() / name
    if len(os.fsencode(wanted)) <= _PATH_LIMIT_BYTES:
        return wanted
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    return _SHORT_ROOT / f"seiketsu-{os.getuid()}-{digest}" / name


def private_directory(path: Path) -> None:
    """Make sure that `path` is a directory of ours that nobody else can put a thing into.

    A new one is closed to others altogether (0700); one that exists keeps its mode.

    Raises:
        ConfigurationError: it belongs to somebody else, others can write to it, it is no directory,
            or it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) and found.st_uid == os.getuid():
            found = path.stat()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be used ({error.strerror}); set SEIKETSU_DATA_DIR to another place."
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ConfigurationError(
            f"{path} is not a directory that this user alone can write to; set SEIKETSU_DATA_DIR "
            "to another place."
        )


def is_live(path: Path, *, timeout_s: float = 0.5) -> bool:
    """Whether a process listens on the socket at `path`. Blocks for `timeout_s` at the most."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout_s)
        try:
            probe.connect(str(path))
        except TimeoutError:
            return True  # its queue of connections is full: somebody has it
        except OSError:
            return False
    return True
