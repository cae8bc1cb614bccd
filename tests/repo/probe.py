"""Imports each named module in a fork of this fresh interpreter and prints what that did, as JSON.

    python -B tests/repo/probe.py [--with LIBRARY,LIBRARY...] MODULE...

A fork is as fresh as a new interpreter and costs nothing; the libraries are imported before it.
What an import may not do is watched by an audit hook: open files to write, touch the network, start
processes; and it may leave no thread.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import traceback
from typing import Any

_FORBIDDEN = (
    *("socket.bind", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"),
    *("os.exec", "os.fork", "os.posix_spawn", "os.mkdir", "os.remove", "os.rename"),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def probe(module: str) -> dict[str, Any]:
    did: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN:
            did.append(f"{event} {arguments!r:.80}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
            did.append(f"opens to write: {arguments[0]!r}")

    sys.addaudithook(watch)
    try:
        importlib.import_module(module)
    except BaseException:  # the report is what this program is for
        return {"module": module, "error": traceback.format_exc(), "did": did, "loaded": {}}
    did += [f"thread {t.name}" for t in threading.enumerate() if t is not threading.main_thread()]
    loaded = {n: getattr(m, "__file__", None) for n, m in list(sys.modules.items())}
    return {"module": module, "error": None, "did": did, "loaded": loaded}


def main() -> None:
    names = sys.argv[1:]
    if names[0] == "--with":
        for library in names[1].split(","):
            importlib.import_module(library)
        names = names[2:]
    for module in names:
        child = os.fork()
        if child == 0:
            print(json.dumps(probe(module)), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
