"""Errors of sessions; `core.errors` has the whole tree."""

from __future__ import annotations

from core.errors_base import Busy, RequestError


class FrameTooLarge(RequestError):
    """The audio does not fit into one frame of a session."""

    code = "frame_too_large"
    action = (
        "Send it with `stream`, or ask `POST /api/v1/voice/streaming/synthesize/streaming` for "
        "this text, or choose a compressed format."
    )


class SessionBusy(Busy):
    """This session has all the texts that may wait in it."""

    code = "session_busy"
    action = "Wait until a text of the session was spoken, then send this one again."


class ClientTooSlow(Busy):
    """What was sent to this session was not read in time."""

    code = "client_too_slow"
    action = "Read every event as it comes, then connect again."


class SessionsFull(Busy):
    """This gateway has all the sessions it takes at once."""

    code = "sessions_full"
    action = "Connect again when Retry-After says, or to another gateway."


class TooManySessions(Busy):
    """This key has all the sessions it may have at once."""

    code = "too_many_sessions"
    action = "Close a session of this key, then connect again."


class SessionInUse(RequestError):
    """A session of that name is alive, or waits to be regained."""

    code = "session_in_use"
    action = "Choose another session id, or send the `resume_token` that its owner got last."


class SessionExpired(RequestError):
    """Nothing is left of the session that was to be regained."""

    code = "session_expired"
    action = "Ask anew for what was not heard: this is a new session."


class TakenOver(RequestError):
    """Another connection goes on with this session."""

    code = "taken_over"
    action = "Use the newer connection; do not connect again with this one's token."
