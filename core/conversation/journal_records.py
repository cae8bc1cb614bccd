"""What a journal holds of a session, and the session that follows from it.

Fields of the hash: `head` (`Head`); `uN` (`UtteranceRecord`) for the utterance of that number,
which stays for a while after all of it was sent, since it may not have arrived; `cN` for a
command, in a ring: its count and the digest of its id.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import UNSET

from core.conversation.audio_frames import AudioEncoding
from core.conversation.playout import GRACE_S
from core.conversation.state import KNOWN_COMMANDS, SessionConfig, SessionState
from core.conversation.utterance import ClauseMark, Ending, Utterance
from core.speech import WordTiming
from core.synthesis.live import after_marks

_COMMAND: Final = struct.Struct(">QQ")
HEAD: Final = "head"


class Head(msgspec.Struct, frozen=True, array_like=True):
    """Whose session it is, and what is used in it."""

    key_id: str
    config: SessionConfig
    utterances: int
    """How many there were."""
    writing: int
    """Number of the one that is being written; 0: none."""


class UtteranceRecord(msgspec.Struct, frozen=True, array_like=True):
    """An utterance as far as it is known. Of one that is over the text is kept where its last
    event tells it."""

    number: int
    id: str
    voice_agent_id: str
    language: str
    format: str
    encoding: AudioEncoding
    stream: bool
    text: str
    complete: bool
    too_long: bool
    flushes: tuple[int, ...]
    optimize_for_speed: bool
    enable_caching: bool
    command_id: str | None
    clauses: tuple[tuple[int, int, float], ...]
    """Sequence, character and ms of where each begins."""
    words: tuple[tuple[int, int, int, int, bool], ...]
    """Start and end in ms, start and end in characters, and whether that is estimated."""
    last_sequence: int
    """Of its last event; 0: there is more to come."""
    over: bool
    ending: Ending | None = None
    sent_ms: float = 0.0
    heard_unix_s: float = 0.0
    """When the end of what was sent is heard, by the clock of who sent it."""
    begun_in: str = ""
    """The language of its first audio."""


def head_of(state: SessionState, key_id: str) -> bytes:
    """The field `head`."""
    writing = 0 if state.writing is None else state.writing.number
    return msgspec.msgpack.encode(Head(key_id, state.config, state.utterances, writing))


def read_head(data: bytes) -> Head:
    """Raises `msgspec.MsgspecError`: another version wrote it."""
    return msgspec.msgpack.decode(data, type=Head)


def utterance_field(utterance: Utterance) -> tuple[str, bytes]:
    """Name and value of the field."""
    over, ending = utterance.over, utterance.ending
    record = UtteranceRecord(
        number=utterance.number,
        id=utterance.id,
        voice_agent_id=utterance.voice_agent_id,
        language=utterance.language,
        format=utterance.format,
        encoding=utterance.encoding,
        stream=utterance.stream,
        text="" if over and (ending is None or ending.code) else utterance.text,
        complete=utterance.complete,
        too_long=utterance.too_long,
        flushes=() if over else tuple(utterance.flushes),
        optimize_for_speed=utterance.optimize_for_speed,
        enable_caching=utterance.enable_caching,
        command_id=None if utterance.command_id is UNSET else utterance.command_id,
        clauses=tuple((m.sequence, m.start_char, m.offset_ms) for m in utterance.clauses),
        words=()
        if over
        else tuple(
            (w.start_ms, w.end_ms, w.char_start, w.char_end, w.estimated) for w in utterance.words
        ),
        last_sequence=utterance.last_sequence,
        over=over,
        ending=ending,
        sent_ms=utterance.sent_ms,
        heard_unix_s=utterance.heard_unix_s,
        begun_in=utterance.begun_in,
    )
    return field_of(utterance.number), msgspec.msgpack.encode(record)


def field_of(number: int) -> str:
    """The name of an utterance's field."""
    return f"u{number}"


def command_fields(first: int, digests: Iterable[int]) -> dict[str, bytes]:
    """The fields of commands, of which the first is the session's `first`th."""
    return {
        f"c{count % KNOWN_COMMANDS}": _COMMAND.pack(count, digest)
        for count, digest in enumerate(digests, first)
    }


def restored(
    session_id: str, tenant: str, fields: Mapping[str, bytes], last_sequence: int
) -> SessionState:
    """The session as it goes on for a client that has received everything up to that event.

    Raises:
        msgspec.MsgspecError: another version wrote the journal.
    """
    head = read_head(fields[HEAD])
    state = SessionState(
        session_id, tenant, head.config, sequence=last_sequence, utterances=head.utterances
    )
    commands = [_COMMAND.unpack(value) for name, value in fields.items() if name[0] == "c"]
    for _, digest in sorted(commands):
        state.commands.add_digest(digest)
    records = [
        msgspec.msgpack.decode(value, type=UtteranceRecord)
        for name, value in fields.items()
        if name[0] == "u"
    ]
    for record in sorted(records, key=lambda record: record.number):
        utterance = _resumed(record, last_sequence)
        writing = record.number == head.writing
        if writing:
            state.writing = utterance
        elif not record.complete:
            utterance.complete = True
        if record.over:
            if not writing:
                state.cut.add(record.id)
            state.told.append(utterance)
        elif record.last_sequence and record.last_sequence <= last_sequence:
            state.ended.add(record.id)
            state.told.append(utterance)
            if record.heard_unix_s > time.time() - GRACE_S:
                state.sent.append(utterance)
        else:
            state.waiting.append(utterance)
    return state


def _resumed(record: UtteranceRecord, last_sequence: int) -> Utterance:
    """It is spoken from the start of the last clause that its client has received all before of;
    one that it has received wholly is as it was."""
    wholly = 0 < record.last_sequence <= last_sequence
    # A mark's number is that of the next event when the clause began, or less than that.
    known = [ClauseMark(*mark) for mark in record.clauses if mark[0] <= last_sequence + 1]
    start_char, start_ms = (
        (known[-1].start_char, known[-1].offset_ms) if known and not wholly else (0, 0.0)
    )
    text = record.text
    sent_ms = record.sent_ms if wholly else start_ms
    # Marks that were written after the clause before was over belong to it.
    start_char = after_marks(text, start_char)
    words = tuple(
        WordTiming(text[begin:end], from_ms, end_ms, begin, end, estimated)
        for from_ms, end_ms, begin, end, estimated in record.words
        if wholly or begin < start_char
    )
    return Utterance(
        id=record.id,
        number=record.number,
        voice_agent_id=record.voice_agent_id,
        language=record.language,
        format=record.format,
        encoding=record.encoding,
        stream=record.stream,
        text=text,
        complete=record.complete,
        too_long=record.too_long,
        flushes=list(record.flushes),
        optimize_for_speed=record.optimize_for_speed,
        enable_caching=record.enable_caching,
        command_id=UNSET if record.command_id is None else record.command_id,
        start_char=start_char,
        start_ms=start_ms,
        words=words,
        sent_ms=sent_ms,
        last_sequence=record.last_sequence if wholly or record.over else 0,
        ending=record.ending,
        heard_unix_s=record.heard_unix_s - (record.sent_ms - sent_ms) / 1000,
        clauses=known,
        begun_in=record.begun_in,
        resumed=bool(record.clauses),
        over=record.over,
    )
