"""What an interruption cuts off, and what of it was heard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.conversation.commands import Interrupt
from core.conversation.events import Interrupted
from core.conversation.heard import split_spoken
from core.conversation.playout import Playout
from core.conversation.state import SessionState
from core.conversation.utterance import Utterance


def interruption(
    state: SessionState,
    playout: Playout,
    dropped: Mapping[int, float],
    command: Interrupt,
) -> list[tuple[Utterance, Interrupted]]:
    """Cut off everything that was not heard to its end; an event for each, in order.

    `dropped` says from where on the audio of an utterance was never sent. Never more counts as
    heard than was sent.
    """
    playing = playout.playing()
    alive = [*state.sent, *state.waiting]
    meant = _meant(state, playout, command)
    offset_ms = None if meant is None else command.playback_offset_ms
    if meant is None:
        cut = [one for one in state.sent if one.number in playing or one.number in dropped]
        cut += state.waiting
    else:
        place = alive.index(meant)
        cut = [one for at, one in enumerate(alive) if at >= place or one.number in dropped]
    heard = meant or (cut[0] if cut else None)
    events: list[tuple[Utterance, Interrupted]] = []
    for utterance in cut:
        sent_ms = min(utterance.sent_ms, dropped.get(utterance.number, utterance.sent_ms))
        heard_ms, guessed = 0.0, False
        if utterance is heard and offset_ms is not None:
            heard_ms = max(0.0, offset_ms)
        elif utterance is heard:
            heard_ms = playout.heard_ms(utterance.number, utterance.start_ms)
            guessed = playout.is_guessed(utterance.number)
        # A failed one has been told of by its error, unless some of it is heard now.
        if not utterance.over or sent_ms:
            events.append((utterance, _cut_off(utterance, min(heard_ms, sent_ms), guessed)))
    for utterance in _unfinished(state, cut):
        utterance.over = True
        state.cut.add(utterance.id)
    state.writing = None
    state.waiting.clear()
    state.sent.clear()
    playout.clear()
    return events


def _meant(state: SessionState, playout: Playout, command: Interrupt) -> Utterance | None:
    """The utterance that the listener was at, as far as the client says so; None: by the clock."""
    if command.utterance_id is not None:
        # The offset of one that is not known any more says nothing of another, nor does that of one
        # of which nothing was sent.
        found = state.alive(command.utterance_id)
        return None if found in state.waiting[1:] else found
    if command.playback_offset_ms is None:
        return None
    playing = playout.playing()
    alive = [*state.sent, *state.waiting]
    for one in alive:
        if one.number == playout.reported:
            return one
    for one in alive:
        if one.number in playing:
            return one
    if state.sent and command.playback_offset_ms < state.sent[-1].sent_ms:
        return state.sent[-1]  # the clock is a little ahead of the player
    return state.waiting[0] if state.waiting else None


def _unfinished(state: SessionState, cut: list[Utterance]) -> Iterator[Utterance]:
    yield from cut
    if state.writing is not None and state.writing not in cut:
        yield state.writing


def _cut_off(utterance: Utterance, heard_ms: float, guessed: bool) -> Interrupted:
    if heard_ms <= 0:
        spoken, remaining, estimated = "", utterance.text, False
    else:
        split = split_spoken(utterance.text, utterance.words, heard_ms, utterance.clauses)
        spoken, remaining, estimated = split.spoken, split.remaining, split.estimated
    return Interrupted(
        utterance_id=utterance.id,
        spoken_text=spoken,
        remaining_text=remaining,
        offset_ms=round(heard_ms),
        estimated=estimated or guessed,
        command_id=utterance.command_id,
    )
