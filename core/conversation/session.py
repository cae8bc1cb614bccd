"""One conversation: commands in, events out. It knows no socket and no web server.

Commands are handled as they arrive; only speech waits. One task at a time speaks, in the order of
the commands, and there is none while nothing is asked.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

import structlog
from msgspec import UNSET, UnsetType

from core.conversation.answers import Answers
from core.conversation.commands import (
    Command,
    Configure,
    EndText,
    FlushText,
    GetStats,
    Interrupt,
    Ping,
    Playback,
    Synthesize,
    Text,
)
from core.conversation.configuring import changed
from core.conversation.events import (
    Accepted,
    Configured,
    Event,
    GoingAway,
    Pong,
    Resumability,
    error_event,
)
from core.conversation.interrupting import interruption
from core.conversation.journal import Journal
from core.conversation.journal_store import Hold
from core.conversation.outbox import ClientLost, Outbox
from core.conversation.parts import SessionParts
from core.conversation.playout import Playout
from core.conversation.registry import Connection
from core.conversation.speaking import Speaking, Stopped
from core.conversation.state import SessionState
from core.conversation.telling import greeting, stats
from core.conversation.utterance import Utterance
from core.conversation.writing import Writing
from core.errors import Busy, SeiketsuError, SessionBusy, TextTooLong

MAX_WAITING: Final = 8
"""Utterances of one session that may wait behind the one being spoken."""
MAX_CLOSING: Final = 4
"""Interrupted utterances whose speech is coming to its end; a further interruption waits."""
_END_S: Final = 5.0
"""Longest time that speech nobody waits for any more may take to end."""
_RELEASE_S: Final = 0.05
"""So long after it was heard an utterance is let go."""

_SOONEST_MS: Final = 50
_SPREAD_MS: Final = 950
"""Sessions of a gateway that ends come back within a second, not all at once."""

log = structlog.get_logger(__name__)


class Session:
    """The state of one conversation and the task that speaks. Close it with `aclose()`."""

    __slots__ = (
        *(
            "_answers",
            "_closing",
            "_connection",
            "_journal",
            "_leaving",
            "_outbox",
            "_parts",
            "_playout",
        ),
        *("_release", "_speaking", "_state", "_task", "_writing"),
    )

    def __init__(
        self,
        state: SessionState,
        connection: Connection,
        parts: SessionParts,
        outbox: Outbox,
        clock: Callable[[], float] = time.monotonic,
        *,
        journal: Journal | None = None,
    ) -> None:
        """Without a journal it cannot be regained."""
        self._state = state
        self._connection = connection
        self._parts = parts
        self._outbox = outbox
        self._playout = Playout(clock)
        if journal is None:
            journal = Journal(state, Hold(state.tenant, state.session_id, ""))
        self._journal = journal
        journal.on_change = self._tell_resumable
        self._answers = Answers(outbox, journal)
        self._leaving = False
        self._speaking = Speaking(state, parts, outbox, self._playout, journal)
        self._writing = Writing(
            state,
            queue=self._queue,
            grown=self._speaking.grown,
            max_chars=parts.max_text_chars,
        )
        self._task: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] | None = None
        self._release: asyncio.TimerHandle | None = None

    @property
    def speaking(self) -> bool:
        """Whether a text is being spoken or waits."""
        return self._task is not None

    async def greet(self) -> None:
        """Send the first event, and go on with what is still to be spoken."""
        await self._outbox.tell(greeting(self._state, self._parts, self._journal, MAX_WAITING))
        if self._journal.known:
            self._journal.begin()
            self._journal.changed()
            self._connection.requests += len(self._state.waiting)
            self._go_on()

    async def handle(self, command: Command) -> None:
        """Carry a command out, or let it wait for its turn to be spoken.

        Raises:
            ClientLost: the client cannot be reached any more.
        """
        await self._journal.confirm()
        command_id = command.command_id
        try:
            match command:
                case Ping():
                    await self._outbox.tell(
                        Pong(server_time_unix_s=round(time.time(), 3), command_id=command_id)
                    )
                    return
                case GetStats():
                    event = stats(self._state, self._connection, self._speaking.counts, command_id)
                    await self._outbox.tell(event)
                    return
            if command_id is not UNSET and command_id in self._state.commands:
                await self._answers.give(Accepted(command_id=command_id))
                return
            answer = await self._carry_out(command)
            if command_id is not UNSET:
                self._state.commands.add(command_id)
                self._journal.carried_out(command_id)
            if answer is not None and command_id is UNSET:
                await self._outbox.tell(answer)
            elif answer is not None:
                await self._answers.give(answer)
        except SeiketsuError as error:
            await self.refuse(error, command_id)

    async def refuse(self, error: SeiketsuError, command_id: str | UnsetType = UNSET) -> None:
        """Answer with an error; the session goes on."""
        self._parts.recorder.refuse(error.code)
        await self._outbox.tell(error_event(error, command_id))

    async def hand_over(self, finish_s: float, stop_s: float) -> bool:
        """Bring what is being spoken to its end, or after `finish_s` to the end of a clause, and
        leave the rest in the journal; whether it is there. No command is carried out any more. A
        text that is being written stops at the end of a clause at once."""
        journal = self._journal
        if not journal.active or not journal.resumable:
            return False
        self._leaving = True
        waiting = self._state.waiting
        if self._task is not None and waiting and waiting[0].complete:
            await asyncio.wait((self._task,), timeout=finish_s)
        self._speaking.stop()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=stop_s)
        self._detach()
        journal.changed()
        await journal.settled()
        if not journal.resumable:
            self._leaving = False
            self._go_on()
            return False
        await self._answers.flush()
        after_ms = _SOONEST_MS + secrets.randbelow(_SPREAD_MS)
        await self._outbox.tell(GoingAway(retry_after_ms=after_ms))
        await self._outbox.flush()
        return True

    def silence(self) -> None:
        """Send nothing more of what was asked: another connection does."""
        self._leaving = True
        self._outbox.drop_turns()
        self._detach()

    async def finish(self, within_s: float) -> None:
        """Wait until all that was asked is spoken and sent, for so long at most; what was not is
        answered with an error. No command is carried out any more: what is being written is
        spoken as far as it is."""
        self._writing.end()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=within_s)
        for utterance in tuple(self._state.waiting):
            error = Busy("This gateway is going to end.")
            self._parts.recorder.refuse(error.code)
            await self._outbox.tell(
                error_event(error, utterance.command_id, utterance_id=utterance.id)
            )
        await self._outbox.flush()

    async def aclose(self) -> None:
        """End what is being spoken and drop what waits; leaves no task behind."""
        self._state.waiting.clear()
        self._detach()
        if self._closing:
            await asyncio.wait(self._closing, timeout=_END_S)
        if self._release is not None:
            self._release.cancel()
        await self._answers.aclose()
        await self._outbox.aclose()

    async def _carry_out(self, command: Command) -> Event | None:
        """The answer, where there is one at once."""
        utterance: Utterance | None = None
        match command:
            case Synthesize():
                if command.stream:
                    self._journal.begin()
                utterance = self._writing.whole(command)
                self._journal.changed(utterance)
                if not command.stream:
                    return None  # the speech is the answer
            case Text():
                self._journal.begin()
                utterance = self._writing.write(command)
                if utterance is not None:
                    self._journal.changed(utterance)
                    if utterance.too_long and not utterance.over:
                        await self._cut_short(utterance)
                        return None
            case FlushText():
                utterance = self._writing.flush()
            case EndText():
                utterance = self._state.writing
                self._writing.end()
            case Playback():
                found = self._state.alive(command.utterance_id)
                if found is not None:
                    offset_ms = max(0.0, command.offset_ms - found.start_ms)
                    self._playout.report(found.number, offset_ms)
            case Configure():
                return await self._configure(command)
            case Interrupt():
                await self._interrupt(command)
        if utterance is not None:
            self._journal.changed(utterance)
        if command.command_id is UNSET and not isinstance(command, Interrupt):
            return None
        named = UNSET if utterance is None else utterance.id
        return Accepted(command_id=command.command_id, utterance_id=named)

    async def _tell_resumable(self, resumable: bool) -> None:
        try:
            await self._outbox.tell(Resumability(resumable=resumable))
        except ClientLost:
            log.debug("session_client_lost")

    def _queue(self, utterance: Utterance) -> None:
        """Raises `SessionBusy`."""
        waiting = self._state.waiting
        if len(waiting) > MAX_WAITING:
            raise SessionBusy()
        self._connection.requests += 1
        waiting.append(utterance)
        self._go_on()

    def _go_on(self) -> None:
        if self._task is None and self._state.waiting and not self._leaving:
            self._task = asyncio.create_task(self._speak_all(), name="session-speech")

    async def _cut_short(self, utterance: Utterance) -> None:
        """Tell at once that a text is too long; of it is heard what was sent already."""
        waiting = self._state.waiting
        utterance.over = True
        if waiting[0] is utterance:
            self._detach()
        waiting.remove(utterance)
        self._speaking.counts.failed += 1
        self._playout.ended(utterance.number)
        self._sent(utterance)
        self._journal.sent(utterance)
        self._go_on()
        error = TextTooLong(f"A text may have {self._parts.max_text_chars} characters.")
        await self._outbox.tell(error_event(error, utterance.command_id, utterance_id=utterance.id))

    async def _configure(self, command: Configure) -> Configured:
        """Raises: see `core.conversation.configuring.changed`."""
        state = self._state
        state.config = config = await changed(
            self._parts.service, state.tenant, state.config, command
        )
        self._connection.voice_agent_id = config.voice_agent_id
        self._connection.language = config.language
        self._journal.changed()
        return Configured(
            voice_agent_id=config.voice_agent_id,
            language=config.language,
            format=config.format,
            audio_encoding=config.audio_encoding,
            command_id=command.command_id,
        )

    async def _interrupt(self, command: Interrupt) -> None:
        """Nothing waits between the first line and the last event but the client itself."""
        dropped = self._outbox.drop_turns()
        state = self._state
        self._speaking.counts.interrupted += len(state.waiting)
        self._detach()
        alive = [*state.sent, *state.waiting]
        events = interruption(state, self._playout, dropped, command.playback_offset_ms)
        for utterance in alive:
            if utterance.over:
                self._journal.sent(utterance)
        for event in events:
            await self._outbox.tell(event, size=1024 + 6 * len(event.spoken_text))
        if self._closing is not None and len(self._closing) > MAX_CLOSING:
            await asyncio.wait(self._closing, timeout=_END_S, return_when="FIRST_COMPLETED")

    def _detach(self) -> None:
        """End what is being spoken, without waiting for it."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._closing is None:
            self._closing = set()
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        task.cancel()

    async def _speak_all(self) -> None:
        waiting = self._state.waiting
        try:
            while waiting and self._task is asyncio.current_task():
                utterance = waiting[0]  # it stays there: the count is right from the start
                await self._speaking.speak(utterance)
                if waiting and waiting[0] is utterance:
                    waiting.pop(0)
                    self._sent(utterance)
                if self._leaving:
                    return
        except Stopped:
            log.debug("speech_stopped")
        except ClientLost:
            waiting.clear()
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    def _sent(self, utterance: Utterance) -> None:
        if utterance is not self._state.writing:
            (self._state.cut if utterance.over else self._state.ended).add(utterance.id)
        elif not utterance.over:  # it did not grow for too long
            self._writing.end()
        self._journal.sent(utterance)
        if utterance.sent_ms:
            self._state.sent.append(utterance)
            self._let_go()

    def _let_go(self) -> None:
        """Forget what was heard to its end, and look again when the next will have been."""
        state = self._state
        playing = self._playout.playing()
        state.sent = [one for one in state.sent if one.number in playing]
        if self._release is not None:
            self._release.cancel()
            self._release = None
        if state.sent:
            left_s = self._playout.unheard_ms() / 1000 + _RELEASE_S
            self._release = asyncio.get_running_loop().call_later(left_s, self._let_go)
