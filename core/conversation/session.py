"""One conversation: commands in, events out. It knows no socket and no web server.

Commands are handled as they arrive; only speech waits. One task at a time speaks, in the order of
the commands, and there is none while nothing is asked.
"""

from __future__ import annotations

import math
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
from core.conversation.ending import is_untold, told_again
from core.conversation.events import (
    Accepted,
    Configured,
    Event,
    GoingAway,
    Pong,
    Resumability,
    error_event,
)
from core.conversation.journal import Journal
from core.conversation.journal_store import Hold
from core.conversation.outbox import ClientLost, Outbox
from core.conversation.parts import SessionParts
from core.conversation.playout import Playout
from core.conversation.registry import Connection
from core.conversation.state import SessionState
from core.conversation.telling import greeting, stats
from core.conversation.turns import Turns
from core.conversation.utterance import Utterance
from core.conversation.writing import Writing
from core.errors import Busy, SeiketsuError, SessionBusy

_MOST_PASSED_OVER: Final = 64
"""Commands that are refused where a session that was to go on elsewhere does not."""
_SOONEST_MS: Final = 50
_SPREAD_MS: Final = 950
"""Sessions of a gateway that ends come back within a second, not all at once."""

log = structlog.get_logger(__name__)


def _ending() -> Busy:
    return Busy("This gateway is going to end.")


class Session:
    """One conversation: its commands as they arrive. Close it with `aclose()`."""

    __slots__ = (
        *("_answers", "_connection", "_journal", "_outbox", "_parts", "_state", "_turns"),
        *("_passed_over", "_writing"),
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
        if journal is None:
            journal = Journal(state, Hold(state.tenant, state.session_id, ""))
        self._journal = journal
        journal.on_change = self._tell_resumable
        self._answers = Answers(outbox, journal)
        self._turns = turns = Turns(state, connection, parts, outbox, Playout(clock), journal)
        self._writing = Writing(
            state, queue=turns.queue, grown=turns.grown, max_chars=parts.max_text_chars
        )
        self._passed_over: list[str | UnsetType] | None = None

    @property
    def speaking(self) -> bool:
        """Whether a text is being spoken or waits."""
        return self._turns.speaking

    async def greet(self) -> None:
        """Send the first event, what did not arrive of those before, and go on with what is still
        to be spoken."""
        state, journal = self._state, self._journal
        told, state.told = state.told, []
        untold = [one for one in told if is_untold(one, state.sequence)]
        await self._outbox.tell(greeting(state, self._parts, journal))
        if not journal.known:
            return
        journal.begin()
        for one in told:
            journal.sent(one)
        journal.changed()
        for one in sorted(untold, key=lambda one: one.last_sequence or math.inf):
            if one.ending is not None:
                one.last_sequence = await self._outbox.tell(told_again(one, one.ending))
                journal.changed(one)
        self._turns.regain()

    async def handle(self, command: Command) -> None:
        """Carry a command out, or let it wait for its turn to be spoken.

        Raises:
            ClientLost: the client cannot be reached any more.
        """
        self._journal.confirm()
        command_id = command.command_id
        try:
            match command:
                case Ping():
                    await self._outbox.tell(
                        Pong(server_time_unix_s=round(time.time(), 3), command_id=command_id)
                    )
                    return
                case GetStats():
                    event = stats(self._state, self._connection, self._turns.counts, command_id)
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

    async def handle_leaving(self, command: Command) -> None:
        """Carry a command out while the session comes to its end. One that asks for something is
        not, and is not acknowledged: its client asks again where the session goes on.

        Raises:
            ClientLost: the client cannot be reached any more.
        """
        if isinstance(command, Interrupt | Ping | Playback | GetStats):
            await self.handle(command)
        elif self._turns.leaving:
            self._passed_over = [*(self._passed_over or ()), command.command_id]
            del self._passed_over[:-_MOST_PASSED_OVER]
        else:
            await self.refuse(_ending(), command.command_id)

    async def hand_over(self, finish_s: float, stop_s: float) -> bool:
        """Bring what is being spoken to its end, or after `finish_s` to the end of a clause, and
        leave the rest in the journal; whether it is there. A text that is being written stops at
        the end of a clause at once."""
        journal = self._journal
        if not journal.active or not journal.resumable:
            return False
        await self._turns.stop(finish_s, stop_s)
        journal.changed()
        await journal.settled()
        if journal.fenced:
            return True  # to the connection that has taken it over
        if not journal.resumable:
            await self._turns.unstop()
            passed_over, self._passed_over = self._passed_over or (), None
            for command_id in passed_over:
                await self.refuse(_ending(), command_id)
            return False
        await self._answers.flush()
        await self._tell_going_away()
        return True

    def silence(self) -> None:
        """Send nothing more of what was asked: another connection does."""
        self._turns.leaving = True
        self._outbox.drop_turns()
        self._turns.detach()

    async def finish(self, within_s: float) -> None:
        """Wait until all that was asked is spoken and sent, for so long at most; what was not is
        answered with an error. What is being written is spoken as far as it is. Nothing is left of
        the session then: its client is told to come back to a new one."""
        self._writing.end()
        await self._turns.spoken(within_s)
        for utterance in tuple(self._state.waiting):
            error = _ending()
            self._parts.recorder.refuse(error.code)
            await self._outbox.tell(
                error_event(error, utterance.command_id, utterance_id=utterance.id)
            )
        await self._tell_going_away()

    async def aclose(self) -> None:
        """End what is being spoken; leaves no task behind. What waits stays where it is, since
        its journal may still be written."""
        await self._turns.aclose()
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
                utterance, answered = await self._write(command)
                if answered:
                    return None
            case FlushText():
                utterance = self._writing.flush(command.utterance_id)
            case EndText():
                utterance = self._writing.named(command.utterance_id)
                if utterance is not None:
                    self._writing.end()
            case Playback():
                self._turns.report(command.utterance_id, command.offset_ms)
            case Configure():
                return await self._configure(command)
            case Interrupt():
                await self._turns.interrupt(command)
        if utterance is not None:
            self._journal.changed(utterance)
        if command.command_id is UNSET and not isinstance(command, Interrupt):
            return None
        named = UNSET if utterance is None else utterance.id
        return Accepted(command_id=command.command_id, utterance_id=named)

    async def _tell_going_away(self) -> None:
        after_ms = _SOONEST_MS + secrets.randbelow(_SPREAD_MS)
        await self._outbox.tell(GoingAway(retry_after_ms=after_ms))
        await self._outbox.flush()

    async def _tell_resumable(self, resumable: bool) -> None:
        try:
            await self._outbox.tell(Resumability(resumable=resumable))
        except ClientLost:
            log.debug("session_client_lost")

    async def _write(self, command: Text) -> tuple[Utterance | None, bool]:
        """The utterance that the piece belongs to, and whether its end by it was told."""
        try:
            utterance = self._writing.write(command)
        except SessionBusy:
            refused = self._state.writing
            if refused is None:
                raise
            await self._turns.refuse(refused)
            return refused, True
        if utterance is None or utterance.over or not utterance.too_long:
            return utterance, False
        self._journal.changed(utterance)
        await self._turns.cut_short(utterance)
        return utterance, True

    async def _configure(self, command: Configure) -> Configured:
        """Raises: see `core.conversation.configuring.changed`."""
        state = self._state
        state.config = config = await changed(
            self._parts.service, state.tenant, state.config, command
        )
        self._connection.configured(config.voice_agent_id, config.language)
        self._journal.changed()
        return Configured(
            voice_agent_id=config.voice_agent_id,
            language=config.language,
            format=config.format,
            audio_encoding=config.audio_encoding,
            command_id=command.command_id,
        )
