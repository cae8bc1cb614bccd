"""The yardstick: a bare Litestar handler that decodes the same body and returns the same bytes.

`python -m benchmarks.bare --fd N --bytes FILE`, run by `benchmarks.throughput` beside the gateway.
"""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import msgspec
import uvicorn
from litestar import Litestar, Response, post


class Asked(msgspec.Struct):
    """The body of a synthesis request."""

    text: str
    voice_agent_id: str
    language: str | None = None
    format: str = "mp3"
    optimize_for_speed: bool = True
    enable_caching: bool = True


def app_of(audio: bytes) -> Litestar:
    """One handler that answers with `audio`."""

    @post("/synthesize", status_code=200)
    async def synthesize(data: Asked) -> Response[bytes]:
        return Response(audio, media_type="audio/mpeg")

    return Litestar([synthesize], openapi_config=None, logging_config=None)


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--bytes", type=Path, required=True)
    options = parser.parse_args()
    config = uvicorn.Config(
        app_of(options.bytes.read_bytes()),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
    )
    with socket.socket(fileno=options.fd) as listener:
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
