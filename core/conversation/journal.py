"""The journal of one session: written behind its back, and waited for where a promise hangs on it.

An utterance that begins or ends is written at once. What comes between is gathered for a moment,
unless somebody waits for it: a language model's text changes 25 times a second.

It begins with the first text that is streamed; a session that only asks for whole texts has none.
A session whose journal cannot be written goes on without one and says so.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec
import structlog

from core.conversation.journal_records import (
    HEAD,
    command_fields,
    field_of,
    head_of,
    utterance_field,
)
from core.conversation.journal_store import RESUME_S, Batch, Hold, JournalStore, Mode, Outcome
from core.conversation.state import SessionState
from core.conversation.utterance import Utterance
from core.errors import StoreError

log = structlog.get_logger(__name__)

MAX_SENT: Final = 64
"""Utterances that were sent wholly and are kept, since they may not have arrived."""
MAX_SENT_BYTES: Final = 32 * 1024
"""Of what is written of them; the newest is kept however large it is."""
GATHER_S: Final = 0.1
"""So long changes are gathered before they are written."""
_WORD_BYTES: Final = 16
"""What is written of a word takes about that."""


class _Sent(msgspec.Struct, eq=False):
    """An utterance of which all was sent, or which failed."""

    number: int
    at_s: float
    """By `time.monotonic()`."""
    utterance: Utterance | None
    """None: nothing of it is expected to change."""
    record: bytes = b""
    """What is written of it then, in a third of the memory."""

    @property
    def size(self) -> int:
        """Bytes that are written of it, or about so many."""
        one = self.utterance
        if one is None:
            return len(self.record)
        return len(one.text.encode()) + _WORD_BYTES * len(one.words)


class Keeper(Protocol):
    """What keeps all journals of a process alive."""

    store: JournalStore
    well: bool
    """Whether the database answered lately."""

    def keep(self, journal: Journal) -> None: ...
    def drop(self, journal: Journal) -> None: ...


class Journal:
    """Follows `state`. Without a keeper nothing is ever written."""

    __slots__ = (
        *(
            "_asked",
            "_commands",
            "_confirmed",
            "_counted",
            "_dirty",
            "_gone",
            "_keeper",
            "_key_id",
            "_mode",
            "_newest",
            "_whole",
        ),
        *("_sent", "_settled", "_settling", "_state", "_task", "_timer", "_urgent"),
        *("active", "fenced", "hold", "on_change", "on_fenced", "well"),
    )

    def __init__(
        self,
        state: SessionState,
        hold: Hold,
        keeper: Keeper | None = None,
        key_id: str = "",
        *,
        resumed: bool = False,
    ) -> None:
        self.hold = hold
        self.active = False
        """Whether there is something to regain."""
        self.well = keeper is not None and keeper.well
        self.fenced = False
        """Another connection holds it."""
        self.on_fenced: Callable[[], None] | None = None
        self.on_change: Callable[[bool], Awaitable[None]] | None = None
        """Told whether the session can be regained from now on."""
        self._state = state
        self._keeper = keeper
        self._key_id = key_id
        self._mode: Mode = "known" if resumed else "new"
        self._confirmed = not resumed
        self._dirty: dict[int, Utterance] | None = None
        self._commands: list[int] | None = None
        self._counted = len(state.commands.digests())
        self._sent: deque[_Sent] | None = None
        self._gone: list[str] | None = None
        self._whole = False
        self._newest = 0
        """Utterance that was written, or is about to be."""
        self._urgent = False
        self._asked = self._settled = 0
        self._settling: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def known(self) -> bool:
        """Whether it was written once."""
        return self._mode != "new"

    @property
    def resumable(self) -> bool:
        """Whether what is streamed can be regained."""
        return self.well and not self.fenced

    def begin(self) -> None:
        """The session streams from now on."""
        if self.active or self._keeper is None:
            return
        self.active = True
        self._whole = True
        self._keeper.keep(self)

    def changed(self, *utterances: Utterance) -> None:
        """Write these anew, and the head."""
        if not self.active:
            return
        changed = {utterance.number: utterance for utterance in utterances}
        for one in self._sent or ():
            one.utterance = changed.get(one.number, one.utterance)
        if self._collects:
            self._dirty = self._dirty or {}
            self._dirty |= changed
        newest = max(changed, default=0)
        self._ask(at_once=not changed or newest > self._newest)
        self._newest = max(newest, self._newest)

    def carried_out(self, command_id: str) -> None:
        """A command is known from now on."""
        if self.active and self._collects:
            self._commands = self._commands or []
            self._commands.append(self._state.commands.newest)
        if self.active:
            self._ask()
        self._counted += 1

    def confirm(self) -> None:
        """Something came from the client: the token it has used is used up as soon as that is
        written, which nothing waits for but what is promised anyway."""
        if not self._confirmed:
            self._confirmed = True
            self.changed()

    def sent(self, utterance: Utterance) -> None:
        """All of it was sent, or it failed: it is kept for as long as a session may be away."""
        if not self.active:
            return
        before = self._sent or ()
        self._sent = deque(one for one in before if one.number != utterance.number)
        self._sent.append(_Sent(utterance.number, time.monotonic(), utterance))
        self._urgent = True
        self.changed(utterance)
        self.tidy()

    def tidy(self) -> None:
        """Forget what was sent so long ago that it has arrived, and keep little of the rest."""
        if not self.active:
            return
        now_s, state = time.monotonic(), self._state
        self._compact()
        size = sum(one.size for one in self._sent or ())
        while self._sent and (
            self._sent[0].at_s < now_s - RESUME_S
            or len(self._sent) > MAX_SENT
            or (size > MAX_SENT_BYTES and len(self._sent) > 1)
        ):
            one = self._sent.popleft()
            if state.writing is not None and one.number == state.writing.number:
                one.at_s = now_s  # what comes of it is dropped
                self._sent.append(one)
                continue
            size -= one.size
            if self._dirty is not None:
                self._dirty.pop(one.number, None)
            if self._collects:
                self._gone = self._gone or []
                self._gone.append(field_of(one.number))
            self._ask()
        if not self._sent:
            self._sent = None  # an empty deque would take 600 bytes

    def _compact(self) -> None:
        """Keep of what nothing is expected to change only what is written."""
        state = self._state
        alive = {one.number for one in state.sent}
        if state.writing is not None:
            alive.add(state.writing.number)
        for one in self._sent or ():
            if one.utterance is not None and one.number not in alive:
                _, one.record = utterance_field(one.utterance)
                one.utterance = None

    @property
    def is_settled(self) -> bool:
        """Whether everything so far is written, or cannot be."""
        return self._settled >= self._asked or not self.resumable

    async def settled(self) -> None:
        """Wait until everything so far is written, or cannot be."""
        wanted = self._asked
        while self._settled < wanted and self.resumable:
            if self._task is None and not self.active:
                return  # it has ended
            # The writer bounds the waiting.
            self._settling = self._settling or asyncio.Event()
            self._begin_writing()
            await self._settling.wait()

    def retry(self) -> None:
        """Write everything anew: it is missing, or could not be written."""
        if self.active and not self.fenced:
            self._lost()
            self._ask(unwell=True)

    def fence(self) -> None:
        """Another connection holds the journal: this session is told."""
        if self.fenced:
            return
        self.fenced = True
        self._drop_timer()
        if self._keeper is not None:
            self._keeper.drop(self)
        self._wake()
        if self.on_fenced is not None:
            self.on_fenced()

    async def aclose(self, *, ended: bool) -> None:
        """Leave it as it is to whoever goes on; `ended`: nobody will."""
        self.on_change = self.on_fenced = None
        if not self.active:
            return
        if self._timer is not None and not ended:
            self._begin_writing()
        self._drop_timer()
        self.active = False
        if self._task is not None:
            await asyncio.wait((self._task,))
        if self._keeper is None or self.fenced:
            return
        self._keeper.drop(self)
        if ended:
            try:
                await self._keeper.store.end(self.hold)
            except StoreError:
                log.debug("journal_not_ended")

    def _ask(self, *, at_once: bool = False, unwell: bool = False) -> None:
        self._asked += 1
        self._urgent = self._urgent or at_once
        if self._task is not None or self.fenced:
            return
        if unwell or (self.well and (self._urgent or self._settling is not None)):
            self._begin_writing()
        elif self.well:
            self._gather()

    def _gather(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GATHER_S, self._begin_writing)

    def _begin_writing(self) -> None:
        self._drop_timer()
        if self._task is None:
            self._task = asyncio.create_task(self._write_all(), name="session-journal")

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if self._settling is not None:
            self._settling.set()
            self._settling = None

    @property
    def _collects(self) -> bool:
        """Whether changes are noted one by one: what could not be written is written whole."""
        return self.well or self._task is not None

    def _lost(self) -> None:
        self._whole = True
        self._dirty = self._commands = self._gone = None
        if self._mode == "known":
            self._mode = "lost"

    async def _write_all(self) -> None:
        """A batch of what has changed, and further ones of what may not be gathered."""
        keeper = self._keeper
        if keeper is None:
            return
        try:
            while self._settled < self._asked and not self.fenced:
                asked = self._asked
                batch = self._batch()
                outcome = await keeper.store.write(self.hold, batch, self._mode)
                keeper.well = True
                if outcome is Outcome.TAKEN and self._mode == "new":
                    # Another session of that name streams already.
                    self.active = False
                    keeper.drop(self)
                    await self._became(well=False)
                elif outcome is Outcome.TAKEN:
                    self.fence()
                elif outcome is Outcome.MISSING:
                    self._lost()
                    continue
                else:
                    self._mode, self._settled = "known", asked
                    self._wake()
                    await self._became(well=True)
                    if self._urgent or not self.active:
                        continue
                return
        except Exception as error:
            if isinstance(error, StoreError):
                keeper.well = False
            else:
                log.error("journal_not_written", error_type=type(error).__name__)
            self._lost()
            await self._became(well=False)
        finally:
            self._task = None
            self._wake()
            if self._settled < self._asked and self.active and self.resumable:
                self._gather()

    def _batch(self) -> Batch:
        """What is to be set and removed; it counts as written from now on."""
        state = self._state
        self._urgent = False
        dirty, self._dirty = self._dirty or {}, None
        gone, self._gone = self._gone or [], None
        commands, self._commands = self._commands or [], None
        whole, self._whole = self._whole, False
        if whole:
            sent = [one.utterance for one in self._sent or () if one.utterance is not None]
            alive = [*sent, *state.sent, *state.waiting]
            if state.writing is not None:
                alive.append(state.writing)
            dirty = {utterance.number: utterance for utterance in alive}
            gone = []
            commands = state.commands.digests()
        fields = dict(map(utterance_field, dirty.values()))
        if whole:
            fields |= {
                field_of(one.number): one.record
                for one in self._sent or ()
                if one.utterance is None
            }
        fields[HEAD] = head_of(state, self._key_id)
        fields |= command_fields(self._counted - len(commands), commands)
        return Batch(fields, tuple(gone), whole, self._confirmed)

    async def _became(self, *, well: bool) -> None:
        if self.well == well:
            return
        self.well = well
        self._wake()
        if self.on_change is not None:
            await self.on_change(well)
