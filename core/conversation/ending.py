"""The last event of an utterance that was not spoken to its end: told, kept and told again."""

from __future__ import annotations

from msgspec import UNSET

from core.conversation.events import ErrorEvent, Interrupted, error_event
from core.conversation.outbox import Outbox
from core.conversation.utterance import Ending, Utterance
from core.errors import SeiketsuError


async def failed(
    outbox: Outbox, utterance: Utterance, error: SeiketsuError, request_id: str = ""
) -> None:
    """The utterance ends with an error.

    Raises:
        ClientLost: the client cannot be reached any more; what it was to hear is kept.
    """
    utterance.over = True
    utterance.ending = Ending(
        code=error.code,
        message=error.message,
        action=error.action,
        retryable=error.retryable,
        request_id=request_id,
    )
    utterance.last_sequence = 0
    event = error_event(
        error,
        utterance.command_id,
        request_id=request_id or UNSET,
        utterance_id=utterance.id,
    )
    utterance.last_sequence = await outbox.tell(event)


def cut_off(utterance: Utterance, event: Interrupted) -> None:
    """The utterance ends there; `interrupted` tells it."""
    utterance.ending = Ending(
        at_char=len(event.spoken_text), offset_ms=event.offset_ms, estimated=event.estimated
    )
    utterance.words, utterance.clauses = (), []  # kept for a while, and needed no more
    utterance.last_sequence = 0


async def interrupted(outbox: Outbox, utterance: Utterance, event: Interrupted) -> None:
    """Tell of an utterance that was cut off.

    Raises:
        ClientLost: see `failed`.
    """
    size = 1024 + 6 * len(event.spoken_text)
    utterance.last_sequence = await outbox.tell(event, size=size)


def told_again(utterance: Utterance, ending: Ending) -> ErrorEvent | Interrupted:
    """The event anew, for a client that may not have got it."""
    if not ending.code:
        return Interrupted(
            utterance_id=utterance.id,
            spoken_text=utterance.text[: ending.at_char],
            remaining_text=utterance.text[ending.at_char :],
            offset_ms=ending.offset_ms,
            estimated=ending.estimated,
            command_id=utterance.command_id,
        )
    return ErrorEvent(
        code=ending.code,
        message=ending.message,
        action=ending.action,
        retryable=ending.retryable,
        request_id=ending.request_id or UNSET,
        command_id=utterance.command_id,
        utterance_id=utterance.id,
    )


def is_untold(utterance: Utterance, last_sequence: int) -> bool:
    """Whether its last event may not have arrived at who got everything up to that number."""
    return utterance.ending is not None and not 0 < utterance.last_sequence <= last_sequence
