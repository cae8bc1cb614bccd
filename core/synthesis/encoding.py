"""The encoder of one utterance, which need not encode again what was encoded before.

A whole text that is said again has its rendition. Of a text that is still being written only its
clauses are known, one by one, and what an encoder makes of a clause depends on those before it. So
what it made is kept in memory under the *path*: the format and every clause from the first one on.
While each clause of an utterance stands on a known path nothing is decoded or encoded; the first
that does not makes the encoder take in what it has missed.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec
import structlog

from core.audio.codecs import CodecPool, Encoder, decompress, open_encoder
from core.audio.formats import OutputFormat
from core.audio.pcm import SAMPLE_BYTES
from core.cache.envelope import EncodedClause, SegmentEntry
from core.cache.tiered import SpeechCache
from core.errors import StoreError

log = structlog.get_logger(__name__)

MAX_CLAUSES: Final = 8
"""Longer paths are hardly ever taken twice."""


class Paths(msgspec.Struct, frozen=True):
    """Where what was encoded is kept, and for whom."""

    cache: SpeechCache
    tenant: str


class UtteranceEncoder:
    """Clauses are encoded in order, each either `known` or fed; then `finish()`. One caller."""

    def __init__(self, fmt: OutputFormat, codecs: CodecPool, paths: Paths | None = None) -> None:
        """Without `paths` everything is encoded."""
        self._format = fmt
        self._codecs = codecs
        self._opened: Encoder | None = None
        self._paths = paths
        self._path = b"" if paths is None else fmt.name.encode()
        """Empty: it is on no path any more."""
        self._clauses = 0
        self._entry: SegmentEntry | None = None
        """The last clause that was kept, in its own words."""
        self._missed: list[SegmentEntry] = []
        self._missed_bytes = 0
        """What was made of the clauses that the encoder itself has not seen."""
        self._left = b""
        self._drop = 0
        self._made: list[tuple[int, bytes]] = []
        self._begins_at = 0
        self._at = 0
        """Bytes of the utterance so far."""

    def known(self, entry: SegmentEntry | None, voice_key: str) -> EncodedClause | None:
        """What is kept of the next clause on this path, which then counts as encoded; None: it is
        to be fed, and `made` called after it."""
        self._begin()
        if not self._path or entry is None or self._clauses == MAX_CLAUSES:
            self._path = b""
            return None
        self._path = _step(self._path, voice_key, entry)
        self._clauses += 1
        self._entry = entry
        found = self._peek()
        if found is not None:
            self._missed.append(entry)
            self._missed_bytes += self._pass(found)
        return found

    async def feed(self, pcm: bytes) -> bytes:
        """See `Encoder.feed`."""
        if self._missed:
            await self._catch_up()
        return self._note(len(pcm), await self._encoder.feed(pcm))

    def made(self, *, of_entry: bool) -> None:
        """The clause that was fed is complete; `of_entry`: it was the audio that `known` was asked
        about."""
        if not of_entry:
            self._path = b""
        elif self._path and self._made:
            self._keep()

    async def finish(self) -> bytes:
        """See `Encoder.finish`."""
        self._begin()
        if self._path:
            self._path = _digest(self._path + b"end")
            found = self._peek()
            if found is not None:
                return found.pieces[0][1]
        if self._missed:
            await self._catch_up()
        data = self._note(0, await self._encoder.finish())
        if self._path:
            self._keep()
        return data

    def seal(self, body: bytes) -> bytes:
        """See `Encoder.seal`. Only of an encoder without paths."""
        return self._encoder.seal(body)

    @property
    def _encoder(self) -> Encoder:
        if self._opened is None:
            self._opened = open_encoder(self._format, self._codecs)
        return self._opened

    async def _catch_up(self) -> None:
        """Let the encoder take in what it has missed; what it makes of it was heard already."""
        missed, self._missed = self._missed, []
        made = b""
        for entry in missed:
            try:
                pcm = await decompress(entry, self._codecs)
            except StoreError as error:
                log.warning("kept_segment_unreadable", code=error.code)
                pcm = bytes(entry.samples * SAMPLE_BYTES)  # it is heard by now
                self._path = b""
            made += await self._encoder.feed(pcm)
        # In one piece a resampler may let go of a little more or less than in many.
        heard = self._drop + self._missed_bytes
        self._left = made[heard:]
        self._drop = max(0, heard - len(made))
        self._missed_bytes = 0

    def _begin(self) -> None:
        self._begins_at, self._made = self._at, []

    def _pass(self, clause: EncodedClause) -> int:
        size = sum(len(data) for _, data in clause.pieces)
        self._at += size
        return size

    def _note(self, fed_bytes: int, data: bytes) -> bytes:
        """What the encoder has just made, without what was heard already."""
        if self._left or self._drop:
            data, self._left = self._left + data, b""
            dropped = min(self._drop, len(data))
            self._drop -= dropped
            data = data[dropped:]
        self._at += len(data)
        if self._path:
            self._made.append((fed_bytes, data))
        return data

    def _peek(self) -> EncodedClause | None:
        assert self._paths is not None  # noqa: S101
        found = self._paths.cache.peek_encoded(self._paths.tenant, self._path.hex())
        # Elsewhere on the way an encoder may have held back more or less.
        return found if found is not None and found.begins_at == self._at else None

    def _keep(self) -> None:
        assert self._paths is not None and self._entry is not None  # noqa: S101, PT018
        clause = EncodedClause(self._begins_at, tuple(self._made))
        self._paths.cache.keep_encoded(self._paths.tenant, self._path.hex(), clause, self._entry)


def _step(path: bytes, voice_key: str, entry: SegmentEntry) -> bytes:
    # The same words may have been spoken anew: other samples under the same voice key.
    spoken = f"{entry.samples}:{entry.provenance.created_unix_s}:{entry.provenance.request_id}"
    return _digest(b"\0".join((path, voice_key.encode(), spoken.encode())))


def _digest(path: bytes) -> bytes:
    return blake2b(path, digest_size=16).digest()
