"""How a socket ends."""

from __future__ import annotations

from typing import Final, Literal

from benchmarks.emulator.errors import Refusal
from benchmarks.emulator.sockets.asked import SocketError
from benchmarks.emulator.sockets.frames import error_frame

POLICY: Final = 1008

Cut = Literal["abort", "reset", "silent"]


class Ends(Exception):
    """Raised by whatever ends a socket: its reader, or one of its contexts."""

    def __init__(
        self,
        code: int | None = None,
        reason: str = "",
        *,
        error: str | None = None,
        frame: bytes | None = None,
        cut: Cut | None = None,
    ) -> None:
        """`code` None: no close frame is sent; `cut` None then means that the client ended it."""
        self.code = code
        self.reason = reason
        self.error = error
        self.frame = frame
        self.cut = cut
        super().__init__(reason)


def ends_with(error: SocketError | Refusal) -> Ends:
    """The error frame and the close of an error; a refusal's body on a socket is assumed."""
    code = error.error if isinstance(error, SocketError) else (error.kind.code or error.code)
    frame = None if code is None else error_frame(code, error.message, POLICY)
    return Ends(POLICY, error.message, error=code, frame=frame)
