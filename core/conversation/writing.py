"""The texts of a session as they are asked for or written, before they are spoken."""

from __future__ import annotations

from collections.abc import Callable

from core.conversation.commands import Synthesize, Text
from core.conversation.state import SessionState
from core.conversation.utterance import MAX_FLUSHES, Utterance
from core.errors import InvalidRequest, SessionBusy


class Writing:
    """Makes utterances of what arrives; `queue` takes them (it raises `SessionBusy`), and `grown`
    is told when the one that is being written has changed."""

    __slots__ = ("_grown", "_max_chars", "_queue", "_state")

    def __init__(
        self,
        state: SessionState,
        *,
        queue: Callable[[Utterance], None],
        grown: Callable[[], None],
        max_chars: int,
    ) -> None:
        self._state = state
        self._queue = queue
        self._grown = grown
        self._max_chars = max_chars

    def whole(self, command: Synthesize) -> Utterance:
        """Take a text that is complete.

        Raises:
            SessionBusy: there is no room for it.
            InvalidRequest: its id was used before.
        """
        if command.utterance_id is not None and self._state.known(command.utterance_id):
            raise InvalidRequest("That `utterance_id` was used before in this session.")
        utterance = self._new(command.utterance_id)
        utterance.text = command.text
        utterance.complete = True
        utterance.stream = command.stream is True
        utterance.language = command.language or utterance.language
        utterance.format = command.format or utterance.format
        utterance.optimize_for_speed = command.optimize_for_speed is not False
        utterance.enable_caching = command.enable_caching is not False
        utterance.command_id = command.command_id
        self._queue(utterance)
        return utterance

    def write(self, command: Text) -> Utterance | None:
        """Take a piece of a text; None where it belongs to one that was cut off.

        Raises:
            SessionBusy: it begins another text, and there is no room for it.
            InvalidRequest: its text is complete already.
        """
        state, wanted = self._state, command.utterance_id
        if state.writing is not None and state.writing.silent:
            self.end()
        writing = state.writing
        if writing is None or wanted not in (None, writing.id):
            if wanted is not None and wanted in state.cut:
                return None
            if wanted is not None and state.known(wanted):
                raise InvalidRequest("The text of that `utterance_id` was complete already.")
            self.end()
            writing = state.writing = self._new(wanted)
            writing.command_id = command.command_id
            try:
                self._queue(writing)
            except SessionBusy:
                # What follows of it is dropped: its beginning would be missing.
                writing.over = True
                raise
        if not writing.over and not writing.complete:
            most = self._max_chars
            text = writing.text + command.text
            writing.text = text[:most]
            if len(text) > most:
                writing.too_long = writing.complete = True
            self._grown()
        return writing

    def named(self, utterance_id: str | None) -> Utterance | None:
        """What is being written, if it is that one; None: whichever it is."""
        writing = self._state.writing
        if writing is None or utterance_id not in (None, writing.id):
            return None
        return writing

    def flush(self, utterance_id: str | None = None) -> Utterance | None:
        """Have spoken what is being written, as far as it is."""
        writing = self.named(utterance_id)
        if writing is not None and not writing.over:
            at = len(writing.text)
            if at and at not in writing.flushes[-1:] and len(writing.flushes) < MAX_FLUSHES:
                writing.flushes.append(at)
                self._grown()
        return writing

    def end(self) -> None:
        """What is being written is complete."""
        writing, self._state.writing = self._state.writing, None
        if writing is not None:
            writing.complete = True
            (self._state.cut if writing.over else self._state.ended).add(writing.id)
            self._grown()

    def _new(self, utterance_id: str | None) -> Utterance:
        state = self._state
        state.utterances += 1
        config = state.config
        name = utterance_id or f"u{state.utterances}"
        while utterance_id is None and state.known(name):
            name += "_"
        return Utterance(
            id=name,
            number=state.utterances,
            voice_agent_id=config.voice_agent_id,
            language=config.language,
            format=config.format,
            encoding=config.audio_encoding,
        )
