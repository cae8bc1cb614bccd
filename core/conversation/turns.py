"""Whose turn it is to be spoken: one task at a time, and none while nothing is asked."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from core.conversation.commands import Interrupt
from core.conversation.ending import cut_off, failed, interrupted
from core.conversation.interrupting import interruption
from core.conversation.journal import Journal
from core.conversation.outbox import ClientLost, Outbox
from core.conversation.parts import SessionParts
from core.conversation.playout import GRACE_S, Playout
from core.conversation.registry import Connection
from core.conversation.speaking import Speaking, Stopped
from core.conversation.state import Counts, SessionState
from core.conversation.utterance import Utterance
from core.errors import SessionBusy, TextTooLong

MAX_CLOSING: Final = 4
"""Interrupted utterances whose speech is coming to its end; a further interruption waits."""
_END_S: Final = 5.0
"""Longest time that speech nobody waits for any more may take to end."""
_RELEASE_S: Final = 0.05
"""So long after its grace an utterance is let go."""
_MOVED_S: Final = 0.5
"""A report that puts the end of an utterance off by less is not kept."""

log = structlog.get_logger(__name__)


class Turns:
    """The task that speaks what waits in a session. Close it with `aclose()`."""

    __slots__ = (
        *("_closing", "_connection", "_journal", "_outbox", "_parts", "_playout", "_release"),
        *("_speaking", "_state", "_task", "leaving"),
    )

    def __init__(
        self,
        state: SessionState,
        connection: Connection,
        parts: SessionParts,
        outbox: Outbox,
        playout: Playout,
        journal: Journal,
    ) -> None:
        self._state = state
        self._connection = connection
        self._parts = parts
        self._outbox = outbox
        self._playout = playout
        self._journal = journal
        self.leaving = False
        """What waits is spoken elsewhere."""
        self._speaking = Speaking(state, parts, outbox, playout, journal)
        self._task: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] | None = None
        self._release: asyncio.TimerHandle | None = None

    @property
    def speaking(self) -> bool:
        """Whether a text is being spoken or waits."""
        return self._task is not None

    @property
    def counts(self) -> Counts:
        """What was done."""
        return self._speaking.counts

    def grown(self) -> None:
        """The text that is being spoken may have grown."""
        self._speaking.grown()

    def regain(self) -> None:
        """Go on with a session that was lost: what was sent of it is still being heard, also of
        the utterance whose rest is to be spoken."""
        now_s, state = time.time(), self._state
        begun = [one for one in state.waiting if one.sent_ms]
        for one in (*state.sent, *begun):
            left_ms = (one.heard_unix_s - now_s) * 1000
            self._playout.regain(one.number, one.sent_ms, left_ms, ended=one not in begun)
        self._connection.asked(len(state.waiting))
        self._let_go()
        self.go_on()

    def queue(self, utterance: Utterance) -> None:
        """Let it wait for its turn. Raises `SessionBusy`."""
        waiting = self._state.waiting
        if len(waiting) > self._parts.max_waiting:
            raise SessionBusy()
        self._connection.asked()
        waiting.append(utterance)
        self.go_on()

    def go_on(self) -> None:
        """Speak what waits."""
        if self._task is None and self._state.waiting and not self.leaving:
            self._task = asyncio.create_task(self._speak_all(), name="session-speech")

    async def spoken(self, within_s: float) -> None:
        """Wait until nothing is being spoken, for so long at most."""
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=within_s)

    async def stop(self, finish_s: float, stop_s: float) -> None:
        """Bring what is being spoken to its end, or after `finish_s` to the end of a clause; a text
        that is being written stops there at once."""
        self.leaving = True
        waiting = self._state.waiting
        if waiting and waiting[0].complete:
            await self.spoken(finish_s)
        if self._speaking.stop():
            await self.spoken(stop_s)
        self.detach()

    async def unstop(self) -> None:
        """Go on after all, from where it was stopped."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=_END_S)
        self._speaking.go_on()
        self.leaving = False
        if self._state.waiting:
            self._state.waiting[0].rewind()
        self.go_on()

    async def cut_short(self, utterance: Utterance) -> None:
        """Tell at once that a text is too long; of it is heard what was sent already."""
        waiting = self._state.waiting
        utterance.over = True
        if waiting[0] is utterance:
            self.detach()
        waiting.remove(utterance)
        self._speaking.counts.failed += 1
        self._playout.ended(utterance.number)
        self._sent(utterance)
        self.go_on()
        error = TextTooLong(f"A text may have {self._parts.max_text_chars} characters.")
        await self._fail(utterance, error)

    async def refuse(self, utterance: Utterance) -> None:
        """There was no room for a text that is being written: the rest of it is dropped."""
        utterance.over = True
        self._journal.sent(utterance)
        self._parts.recorder.refuse(SessionBusy.code)
        await self._fail(utterance, SessionBusy())

    async def interrupt(self, command: Interrupt) -> None:
        """Nothing waits between the first line and the last event but the client itself."""
        self._let_go()
        dropped = self._outbox.drop_turns()
        state = self._state
        self._speaking.counts.interrupted += len(state.waiting)
        self.detach()
        alive = [*state.sent, *state.waiting]
        if state.writing is not None and state.writing not in alive:
            alive.append(state.writing)
        events = interruption(state, self._playout, dropped, command)
        for utterance, event in events:
            cut_off(utterance, event)
        for utterance in alive:
            if utterance.over:
                self._journal.sent(utterance)
        try:
            for utterance, event in events:
                await interrupted(self._outbox, utterance, event)
        finally:
            self._journal.changed(*(utterance for utterance, _ in events))
        if self._closing is not None and len(self._closing) > MAX_CLOSING:
            await asyncio.wait(self._closing, timeout=_END_S, return_when="FIRST_COMPLETED")

    def report(self, utterance_id: str, offset_ms: float) -> None:
        """The client says how far it has played."""
        found = self._state.alive(utterance_id)
        if found is None:
            return
        self._playout.report(found.number, max(0.0, offset_ms))
        playing = self._playout.playing()
        for one in (*self._state.sent, *self._state.waiting[:1]):
            if one.number not in playing:
                continue
            was_s = one.heard_unix_s
            one.heard_unix_s = self._playout.end_unix_s(one.number)
            if abs(one.heard_unix_s - was_s) > _MOVED_S:
                self._journal.changed(one)
            else:
                one.heard_unix_s = was_s
        self._let_go()

    def detach(self) -> None:
        """End what is being spoken, without waiting for it."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._closing is None:
            self._closing = set()
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        task.cancel()

    async def aclose(self) -> None:
        """End what is being spoken; leaves no task behind."""
        self.leaving = True
        self.detach()
        if self._closing:
            await asyncio.wait(self._closing, timeout=_END_S)
        if self._release is not None:
            self._release.cancel()

    async def _fail(self, utterance: Utterance, error: TextTooLong | SessionBusy) -> None:
        try:
            await failed(self._outbox, utterance, error)
        finally:
            self._journal.changed(utterance)

    async def _speak_all(self) -> None:
        waiting = self._state.waiting
        try:
            while waiting and self._task is asyncio.current_task():
                utterance = waiting[0]  # it stays there: the count is right from the start
                await self._speaking.speak(utterance)
                if waiting and waiting[0] is utterance:
                    waiting.pop(0)
                    self._sent(utterance)
                if self.leaving:
                    return
        except Stopped:
            log.debug("speech_stopped")
        except ClientLost:
            log.debug("session_client_lost")  # what waits is left to the journal
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    def _sent(self, utterance: Utterance) -> None:
        if utterance is not self._state.writing:
            (self._state.cut if utterance.over else self._state.ended).add(utterance.id)
        elif not utterance.over:  # it did not grow for too long
            utterance.complete, self._state.writing = True, None
            self._state.ended.add(utterance.id)
        if utterance.sent_ms or utterance.number in self._outbox.turns():
            self._state.sent.append(utterance)
            utterance.heard_unix_s = self._playout.end_unix_s(utterance.number)
            self._let_go()
        self._journal.sent(utterance)

    def _let_go(self) -> None:
        """Forget what was heard a while ago, and look again when the next will have been. What is
        still on its way to a client may be dropped, and would then have to be told."""
        state = self._state
        known = {*self._playout.known(), *self._outbox.turns()}
        state.sent = [one for one in state.sent if one.number in known]
        if self._release is not None:
            self._release.cancel()
            self._release = None
        if state.sent:
            left_s = self._playout.unheard_ms(state.sent[0].number) / 1000 + GRACE_S + _RELEASE_S
            self._release = asyncio.get_running_loop().call_later(left_s, self._let_go)
        self._journal.tidy()
