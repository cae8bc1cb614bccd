"""One conversation: commands in, events out. It knows no socket and no web server.

Commands are handled as they arrive; only speech waits. One task at a time speaks, in the order of
the commands, and there is none while nothing is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from msgspec import UNSET, UnsetType

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
from core.conversation.events import Accepted, Configured, Pong, error_event
from core.conversation.interrupting import interruption
from core.conversation.outbox import ClientLost, Outbox
from core.conversation.parts import SessionParts
from core.conversation.playout import Playout
from core.conversation.registry import Connection
from core.conversation.speaking import Speaking
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


class Session:
    """The state of one conversation and the task that speaks. Close it with `aclose()`."""

    __slots__ = (
        *("_closing", "_connection", "_outbox", "_parts", "_playout", "_release", "_speaking"),
        *("_state", "_task", "_writing"),
    )

    def __init__(
        self,
        state: SessionState,
        connection: Connection,
        parts: SessionParts,
        outbox: Outbox,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._connection = connection
        self._parts = parts
        self._outbox = outbox
        self._playout = Playout(clock)
        self._speaking = Speaking(state.tenant, parts, outbox, self._playout)
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
        """Send the first event."""
        await self._outbox.tell(greeting(self._state, self._parts, MAX_WAITING))

    async def handle(self, command: Command) -> None:
        """Carry a command out, or let it wait for its turn to be spoken.

        Raises:
            ClientLost: the client cannot be reached any more.
        """
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
                await self._outbox.tell(Accepted(command_id=command_id))
                return
            await self._carry_out(command)
            if command_id is not UNSET:
                self._state.commands.add(command_id)
        except SeiketsuError as error:
            await self.refuse(error, command_id)

    async def refuse(self, error: SeiketsuError, command_id: str | UnsetType = UNSET) -> None:
        """Answer with an error; the session goes on."""
        self._parts.recorder.refuse(error.code)
        await self._outbox.tell(error_event(error, command_id))

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
        await self._outbox.aclose()

    async def _carry_out(self, command: Command) -> None:
        utterance: Utterance | None = None
        match command:
            case Synthesize():
                utterance = self._writing.whole(command)
                if not command.stream:
                    return  # the speech is the answer
            case Text():
                utterance = self._writing.write(command)
                if utterance is not None and utterance.too_long and not utterance.over:
                    await self._cut_short(utterance)
                    return
            case FlushText():
                utterance = self._writing.flush()
            case EndText():
                utterance = self._state.writing
                self._writing.end()
            case Playback():
                utterance = self._state.alive(command.utterance_id)
                if utterance is not None:
                    offset_ms = max(0.0, command.offset_ms - utterance.start_ms)
                    self._playout.report(utterance.number, offset_ms)
            case Configure():
                await self._configure(command)
                return
            case Interrupt():
                await self._interrupt(command)
        if command.command_id is not UNSET or isinstance(command, Interrupt):
            named = UNSET if utterance is None else utterance.id
            await self._outbox.tell(Accepted(command_id=command.command_id, utterance_id=named))

    def _queue(self, utterance: Utterance) -> None:
        """Raises `SessionBusy`."""
        waiting = self._state.waiting
        if len(waiting) > MAX_WAITING:
            raise SessionBusy()
        self._connection.requests += 1
        waiting.append(utterance)
        self._go_on()

    def _go_on(self) -> None:
        if self._task is None and self._state.waiting:
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
        self._go_on()
        error = TextTooLong(f"A text may have {self._parts.max_text_chars} characters.")
        await self._outbox.tell(error_event(error, utterance.command_id, utterance_id=utterance.id))

    async def _configure(self, command: Configure) -> None:
        """Raises: see `core.conversation.configuring.changed`."""
        state = self._state
        state.config = config = await changed(
            self._parts.service, state.tenant, state.config, command
        )
        self._connection.voice_agent_id = config.voice_agent_id
        self._connection.language = config.language
        await self._outbox.tell(
            Configured(
                voice_agent_id=config.voice_agent_id,
                language=config.language,
                format=config.format,
                audio_encoding=config.audio_encoding,
                command_id=command.command_id,
            )
        )

    async def _interrupt(self, command: Interrupt) -> None:
        """Nothing waits between the first line and the last event but the client itself."""
        dropped = self._outbox.drop_turns()
        self._speaking.counts.interrupted += len(self._state.waiting)
        self._detach()
        for event in interruption(self._state, self._playout, dropped, command.playback_offset_ms):
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
