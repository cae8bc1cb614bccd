"""One utterance of a session: what was asked, what was written so far and what was sent of it.

Nothing here holds a task, so that another process can go on from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from core.conversation.audio_frames import AudioEncoding
from core.speech import WordTiming
from core.synthesis.live import FLUSH, Flush, after_marks

MAX_FLUSHES = 256
"""Places of one text where it was asked to be spoken without waiting; further ones are dropped."""


class ClauseMark(msgspec.Struct, frozen=True, gc=False):
    """Where a clause begins."""

    sequence: int
    """What comes before the clause has a lower one, and its own events have this or a higher."""
    start_char: int
    offset_ms: float


class Ending(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the last event of an utterance said that was not spoken to its end. `code` and what
    follows it are of an error; without one it was interrupted, and the rest is where."""

    code: str = ""
    message: str = ""
    action: str = ""
    retryable: bool = False
    request_id: str = ""
    at_char: int = 0
    offset_ms: int = 0
    estimated: bool = False


class Utterance(msgspec.Struct, eq=False):
    """Made when its first command arrives; dropped when it was heard to its end."""

    id: str
    number: int
    """1, 2, 3 and so on within the session."""
    voice_agent_id: str
    language: str
    """One of ours, any tag of the command, or `auto`."""
    format: str
    encoding: AudioEncoding
    stream: bool = True
    """False: answered by one `audio_response`."""
    text: str = ""
    """What was written so far."""
    complete: bool = False
    too_long: bool = False
    """More was written than one text may hold."""
    flushes: list[int] = []
    """Characters after which what was written was to be spoken at once."""
    optimize_for_speed: bool = True
    enable_caching: bool = True
    command_id: str | UnsetType = UNSET
    start_char: int = 0
    """Speaking begins here in `text`; what comes before was heard already."""
    start_ms: float = 0.0
    """What was heard already takes so much of the utterance's clock."""
    words: Sequence[WordTiming] = ()
    """Of the audio that was sent, in order."""
    sent_ms: float = 0.0
    """Where the audio that was sent ends on the utterance's clock."""
    chunks: int = 0
    clauses: list[ClauseMark] = []
    begun_in: str = ""
    """The language that its first audio was spoken in; empty: there was none yet."""
    last_sequence: int = 0
    """Of its last event; 0: there is more to come."""
    resumed: bool = False
    """It was being spoken already when its session was lost."""
    over: bool = False
    """It failed or was interrupted: what still arrives for it is dropped."""
    ending: Ending | None = None
    """Said by the event of `last_sequence`, where it is over."""
    heard_unix_s: float = 0.0
    """When the end of what was sent is heard, by the clock; 0: nothing was."""

    def rewind(self) -> None:
        """Speak it from its last mark on: it was stopped."""
        if not self.clauses:
            return
        mark = self.clauses[-1]
        self.start_char = after_marks(self.text, mark.start_char)
        self.start_ms = mark.offset_ms
        self.words = [word for word in self.words if word.char_start < mark.start_char]
        self.heard_unix_s -= (self.sent_ms - mark.offset_ms) / 1000
        self.sent_ms, self.chunks, self.resumed = mark.offset_ms, 0, True

    @property
    def silent(self) -> bool:
        """Whether it is complete because its writer said nothing for too long."""
        return self.complete and not (self.too_long or self.over)


class Arriving:
    """The text of an utterance from its `start_char`, as it is written; iterated once.

    Ends when the text is complete, or did not grow for `idle_s` while it was waited for: then
    `utterance.complete` is set. Waiting may be
    cancelled and taken up again. `grown()` is to be called after every change of the utterance.
    """

    __slots__ = ("_flushed", "_given", "_grown", "_idle_s", "_utterance")

    def __init__(self, utterance: Utterance, idle_s: float) -> None:
        self._utterance = utterance
        self._idle_s = idle_s
        self._given = utterance.start_char
        self._flushed = sum(at <= utterance.start_char for at in utterance.flushes)
        self._grown = asyncio.Event()

    def grown(self) -> None:
        """The utterance has more text, is to be flushed or is complete."""
        self._grown.set()

    def __aiter__(self) -> Arriving:
        return self

    async def __anext__(self) -> str | Flush:
        while True:
            self._grown.clear()
            found = self._next()
            if found is not None:
                return found
            if self._utterance.complete:
                raise StopAsyncIteration
            try:
                async with asyncio.timeout(self._idle_s):
                    await self._grown.wait()
            except TimeoutError:
                self._utterance.complete = True

    def _next(self) -> str | Flush | None:
        utterance = self._utterance
        flushes = utterance.flushes
        if self._flushed < len(flushes):
            at = flushes[self._flushed]
            if at <= self._given:
                self._flushed += 1
                return FLUSH
            text = utterance.text[self._given : at]
        else:
            text = utterance.text[self._given :]
        self._given += len(text)
        return text or None
