"""What an interruption cuts off, and what of it was heard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.conversation.events import Interrupted
from core.conversation.heard import split_spoken
from core.conversation.playout import Playout
from core.conversation.state import SessionState
from core.conversation.utterance import Utterance


def interruption(
    state: SessionState,
    playout: Playout,
    dropped: Mapping[int, float],
    offset_ms: float | None,
) -> list[Interrupted]:
    """Cut off everything that was not heard to its end; an event for each, in order.

    `dropped` says from where on the audio of an utterance was never sent; `offset_ms` is what the
    client says it has heard of the one that is being played. Never more counts as heard than was
    sent.
    """
    playing = playout.playing()
    cut = [one for one in state.sent if one.number in playing or one.number in dropped]
    cut += state.waiting
    events: list[Interrupted] = []
    for place, utterance in enumerate(cut):
        sent_ms = min(utterance.sent_ms, dropped.get(utterance.number, utterance.sent_ms))
        heard_ms = 0.0
        if place == 0:
            reckoned_ms = utterance.start_ms + playout.heard_ms(utterance.number)
            heard_ms = reckoned_ms if offset_ms is None else offset_ms
        # A failed one has been told of by its error, unless some of it is heard now.
        if not utterance.over or sent_ms:
            events.append(_cut_off(utterance, min(heard_ms, sent_ms)))
    for utterance in _unfinished(state, cut):
        utterance.over = True
        state.cut.add(utterance.id)
    state.writing = None
    state.waiting.clear()
    state.sent.clear()
    playout.clear()
    return events


def _unfinished(state: SessionState, cut: list[Utterance]) -> Iterator[Utterance]:
    yield from cut
    if state.writing is not None and state.writing not in cut:
        yield state.writing


def _cut_off(utterance: Utterance, heard_ms: float) -> Interrupted:
    if heard_ms <= 0:
        spoken, remaining, estimated = "", utterance.text, False
    else:
        split = split_spoken(utterance.text, utterance.words, heard_ms)
        spoken, remaining, estimated = split.spoken, split.remaining, split.estimated
    return Interrupted(
        utterance_id=utterance.id,
        spoken_text=spoken,
        remaining_text=remaining,
        offset_ms=round(heard_ms),
        estimated=estimated,
        command_id=utterance.command_id,
    )
