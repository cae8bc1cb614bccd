"""The faults of one context, felt frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from benchmarks.emulator.faults import FaultRule
from benchmarks.emulator.sending import LONGEST_HANG_S, SLOW_MS
from benchmarks.emulator.sockets.ending import POLICY, Ends
from benchmarks.emulator.sockets.frames import error_frame
from benchmarks.emulator.sockets.log import ContextNote

_STRIKES: Final = ("stall", "silent", "truncate", "reset", "close", "error_frame")
_DEFAULT_ERROR: Final = "internal_error"
_MESSAGE: Final = "We are sorry, something went wrong. You are not charged for this request."


class Struck(Exception):
    """The context ends here; `final`: with its final frame, as if it were whole."""

    def __init__(self, *, final: bool) -> None:
        self.final = final
        super().__init__("struck")


class Striking:
    """Asked before every frame of a context."""

    def __init__(
        self,
        fault: FaultRule | None,
        note: ContextNote,
        send: Callable[[bytes], Awaitable[None]],
        *,
        named: bool,
    ) -> None:
        self._fault = fault
        self._note = note
        self._send = send
        self._named = named
        self._done = False
        note.fault = self.kind

    @property
    def kind(self) -> str | None:
        """Of the fault, if there is one."""
        return None if self._fault is None else self._fault.kind

    @property
    def delay_s(self) -> float:
        """How much later the first frame comes."""
        if self._fault is None or self._fault.kind != "slow" or self._note.frames:
            return 0.0
        return (SLOW_MS if self._fault.delay_ms is None else self._fault.delay_ms) / 1000

    async def before_audio(self) -> None:
        """Strike if it is time.

        Raises:
            Struck: the context ends.
            Ends: the socket does.
        """
        fault = self._fault
        if fault is None or self._done or fault.kind not in _STRIKES:
            return
        if self._note.frames >= _frames_before(fault):
            self._done = True
            await self._strike(fault)

    async def before_final(self) -> None:
        """The last chance: a fault that waited for more frames than there were strikes now.

        Raises:
            Struck: no final frame is to be sent.
            Ends: the socket ends.
        """
        fault = self._fault
        if fault is None:
            return
        if fault.kind == "no_final":
            # It is never over, and counts for ever.
            await asyncio.sleep(LONGEST_HANG_S)
        if fault.kind in _STRIKES and not self._done:
            self._done = True
            await self._strike(fault)

    async def _strike(self, fault: FaultRule) -> None:
        match fault.kind:
            case "stall":
                delay_s = LONGEST_HANG_S if fault.delay_ms is None else fault.delay_ms / 1000
                await asyncio.sleep(delay_s)
            case "silent":
                raise Ends(cut="silent")
            case "reset":
                raise Ends(cut="reset")
            case "truncate":
                if fault.end == "abort":
                    raise Ends(cut="abort")
                raise Struck(final=True)
            case "close":
                code = POLICY if fault.code is None else fault.code
                raise Ends(code, fault.message or _MESSAGE)
            case "error_frame":
                await self._fail(fault)

    async def _fail(self, fault: FaultRule) -> None:
        error = fault.error or _DEFAULT_ERROR
        message = fault.message or _MESSAGE
        named = self._note.id if fault.with_context and self._named else None
        frame = error_frame(error, message, fault.code or POLICY, named)
        if fault.code is not None:
            raise Ends(fault.code, message, error=error, frame=frame)
        self._note.failed = True
        await self._send(frame)
        raise Struck(final=False)


def _frames_before(fault: FaultRule) -> int:
    default = 1 if fault.kind in ("stall", "truncate") else 0
    return default if fault.after_frames is None else fault.after_frames
