"""The root of every error and the branches that more than one file grows from."""

from __future__ import annotations

from typing import ClassVar


class SeiketsuError(Exception):
    """Root of the tree. `message` is for people and never contains secrets or callers' texts."""

    code: ClassVar[str] = "internal_error"
    retryable: bool = False
    action: ClassVar[str] = "If it stays after another try, report the request id."
    """What the reader should do, one sentence; shown in the error body and the docs."""

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        self.message = message or (type(self).__doc__ or self.code).strip().splitlines()[0]
        self.retry_after_s = retry_after_s
        super().__init__(self.message)


class RequestError(SeiketsuError):
    """The request cannot be carried out as it was made."""

    code = "invalid_request"
    action = "Correct the request as the message says and send it again."


class AccessError(SeiketsuError):
    """The caller may not do this."""

    code = "access_denied"
    action = "Send a valid key."


class Busy(SeiketsuError):
    """Every place is taken and the queue is full."""

    code = "busy"
    retryable = True
    action = "Wait as long as Retry-After says, then send the same request again."
