"""What the events of a session say."""

from __future__ import annotations

import time
from typing import Final

from msgspec import UnsetType

from core.audio.formats import format_names, resolve
from core.conversation.audio_frames import ENCODINGS, MAX_AUDIO_FRAME_BYTES
from core.conversation.events import (
    AlignedWord,
    Alignment,
    AudioMetadata,
    Capabilities,
    ConnectionEstablished,
    KnownText,
    SessionStats,
    SpeechResumed,
    SpeechStarted,
)
from core.conversation.journal import Journal
from core.conversation.journal_store import RESUME_S
from core.conversation.parts import SessionParts
from core.conversation.registry import Connection
from core.conversation.state import Counts, SessionState
from core.conversation.utterance import Utterance
from core.speech import SpeechTrace, WordTiming
from core.text.languages import AUTO, LANGUAGES

_ANY_KBPS: Final = 128
"""What kind of file it is does not depend on it."""


def started(utterance: Utterance, trace: SpeechTrace) -> SpeechStarted | SpeechResumed:
    """The event before its first audio."""
    output_format = trace.output_format or utterance.format
    if utterance.resumed:
        return SpeechResumed(
            utterance_id=utterance.id,
            utterance=utterance.number,
            from_char=utterance.start_char,
            offset_ms=round(utterance.start_ms),
            format=output_format,
            content_type=resolve(output_format, _ANY_KBPS).content_type,
            language=trace.language,
            audio_encoding=utterance.encoding,
            request_id=trace.request_id,
            command_id=utterance.command_id,
        )
    return SpeechStarted(
        utterance_id=utterance.id,
        utterance=utterance.number,
        format=output_format,
        content_type=resolve(output_format, _ANY_KBPS).content_type,
        language=trace.language,
        audio_encoding=utterance.encoding,
        request_id=trace.request_id,
        command_id=utterance.command_id,
    )


def metadata(
    utterance: Utterance, trace: SpeechTrace, language: str, output_format: str
) -> AudioMetadata:
    """How it was spoken."""
    first_ms = trace.first_audio_ms
    spoken_ms = trace.duration_ms
    return AudioMetadata(
        text=utterance.text,
        voice_id=trace.voice,
        provider=trace.provider,
        model=trace.model,
        format=output_format,
        content_type=resolve(output_format, _ANY_KBPS).content_type,
        language=language,
        duration_ms=round(
            utterance.sent_ms if spoken_ms is None else utterance.start_ms + spoken_ms
        ),
        processing_time_ms=round(trace.now_ms(), 3),
        first_audio_ms=None if first_ms is None else round(first_ms, 3),
        cached=trace.cached,
        fallback=trace.fallback,
        quality_score=trace.quality_score,
        characters=len(utterance.text),
        request_id=trace.request_id,
    )


def alignment(utterance: Utterance, words: tuple[WordTiming, ...]) -> Alignment:
    """The event that tells when words sound."""
    aligned = tuple(
        AlignedWord(w.text, w.start_ms, w.end_ms, w.char_start, w.char_end, w.estimated)
        for w in words
    )
    return Alignment(utterance_id=utterance.id, words=aligned)


def shifted(words: tuple[WordTiming, ...], utterance: Utterance) -> tuple[WordTiming, ...]:
    """The words on the clock and in the text of the whole utterance."""
    chars, ms = utterance.start_char, round(utterance.start_ms)
    if not chars and not ms:
        return words
    return tuple(
        WordTiming(
            w.text,
            w.start_ms + ms,
            w.end_ms + ms,
            w.char_start + chars,
            w.char_end + chars,
            w.estimated,
        )
        for w in words
    )


def greeting(state: SessionState, parts: SessionParts, journal: Journal) -> ConnectionEstablished:
    """The first event of a session."""
    config = state.config
    return ConnectionEstablished(
        session_id=state.session_id,
        voice_agent_id=config.voice_agent_id,
        language=config.language,
        format=config.format,
        audio_encoding=config.audio_encoding,
        capabilities=Capabilities(
            formats=format_names(),
            languages=(*LANGUAGES, AUTO),
            max_text_chars=parts.max_text_chars,
            max_frame_bytes=parts.max_frame_bytes,
            max_audio_frame_bytes=MAX_AUDIO_FRAME_BYTES,
            max_waiting_commands=parts.max_waiting,
            audio_encodings=ENCODINGS,
        ),
        server_time_unix_s=round(time.time(), 3),
        resume_token=journal.hold.token,
        resumable=journal.resumable,
        resume_within_s=RESUME_S,
        resumed=journal.known,
        texts=tuple(KnownText(u.id, len(u.text), u.complete) for u in state.waiting),
    )


def stats(
    state: SessionState, connection: Connection, counts: Counts, command_id: str | UnsetType
) -> SessionStats:
    """What the session has done so far."""
    served = counts.served
    done = served + counts.failed + counts.interrupted
    return SessionStats(
        session_id=state.session_id,
        connected_s=round(time.time() - connection.connected_unix_s, 3),
        requests=connection.requests,
        served=served,
        failed=counts.failed,
        interrupted=counts.interrupted,
        waiting=max(0, connection.requests - done),
        cached=counts.cached,
        characters=counts.characters,
        audio_bytes=counts.audio_bytes,
        average_processing_time_ms=(round(counts.processing_ms / served, 3) if served else None),
        command_id=command_id,
    )
