"""Results: the finished audio that an `audio_url` points to, kept apart from the cache.

A result is named by its content, so that equal replies share one value, and its link carries a
signature: the link alone is the right to read, and nobody can make one up or prolong it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.cache.envelope import RenditionEntry
from core.errors import AudioNotFound, AudioTooLarge, StoreError
from core.longest import largest_audio_bytes
from core.redis import Keys
from core.signing import SigningKey

_SIGNATURE_BYTES: Final = 16
_RESULT_ID_BYTES: Final = 16
_MAX_LINK_CHARS: Final = 1024
_REMEMBERED: Final = 4096
_REST_S: Final = 1.0

Write = Callable[[bytes], Awaitable[object]]
"""Puts a value under the key that belongs to it; raises `RedisError`, `OSError` or one of ours."""


class AudioLink(msgspec.Struct, frozen=True, array_like=True):
    """What a signed audio id says."""

    tenant: str
    agent_id: str
    result_id: bytes
    """16 bytes: a digest of the audio, random where nothing may be shared, or `jobs.audio_name`."""
    expires_unix_s: int

    @property
    def etag(self) -> str:
        """A strong HTTP entity tag: one result id never names two audios."""
        return f'"{self.result_id.hex()}"'


class StoredResult(msgspec.Struct, frozen=True, array_like=True, tag="result1"):
    """Finished audio as the state database keeps it; the tag is the version of this form."""

    output_format: str
    audio: bytes
    duration_ms: int


class _Remembered(msgspec.Struct, frozen=True, gc=False):
    """A link given before and what tells its audio from a later one under the same key."""

    created_unix_s: float
    audio_bytes: int
    audio_id: str
    expires_unix_s: int


class ResultStore:
    """Puts results into the state database and reads them back by their signed id.

    `ttl_s` is how long a link lives at the least; a value lives twice as long, so that the link of
    a reply that is repeated meanwhile can be given again without asking the database.
    """

    def __init__(
        self,
        redis: Redis,
        signing_key: SigningKey | bytes,
        ttl_s: int,
        *,
        max_text_chars: int = 5000,
        max_concurrent: int = 12,
    ) -> None:
        """`max_concurrent` commands are under way at most; the client has more connections. A value
        is never larger than uncompressed audio at 48 kHz of a text of `max_text_chars` characters,
        each of them a slowly spoken Han character (`core.longest`).
        """
        self._redis = redis
        self._max_bytes = largest_audio_bytes(max_text_chars)
        if isinstance(signing_key, bytes):
            signing_key = SigningKey(signing_key, shared=True)
        self._key = signing_key
        self._ttl_s = ttl_s
        self._links: OrderedDict[tuple[str, str, str], _Remembered] = OrderedDict()
        self._rest_until_s = 0.0
        self._places = asyncio.Semaphore(max_concurrent)

    def remembered(
        self, tenant: str, agent_id: str, rendition_key: str, entry: RenditionEntry
    ) -> str | None:
        """The link of this very audio if one was given before and still lives long enough."""
        known = self._links.get((tenant, agent_id, rendition_key))
        if (
            known is None
            or known.created_unix_s != entry.provenance.created_unix_s
            or known.audio_bytes != len(entry.audio)
            or known.expires_unix_s - time.time() < self._ttl_s
        ):
            return None
        return known.audio_id

    async def put(
        self,
        tenant: str,
        agent_id: str,
        rendition_key: str | None,
        entry: RenditionEntry,
    ) -> str:
        """Keep the audio and return its signed id, which lives at least `ttl_s` seconds.

        `rendition_key` is None for audio that must not be shared (caching was declined).

        Raises:
            AudioTooLarge: no text may take so much.
            StoreError: the state database did not take it.
        """
        if rendition_key is not None:
            audio_id = self.remembered(tenant, agent_id, rendition_key, entry)
            if audio_id is not None:
                return audio_id
            result_id = _digest(entry.audio, rendition_key)
        else:
            result_id = secrets.token_bytes(_RESULT_ID_BYTES)
        lives_s = 2 * self._ttl_s
        name = Keys.result(tenant, result_id.hex())
        await self._store(entry, lambda value: self._redis.set(name, value, ex=lives_s))
        # One second less than the value lives: a link is never older than what it points to.
        expires_unix_s = int(time.time()) + lives_s - 1
        audio_id = self._sign(AudioLink(tenant, agent_id, result_id, expires_unix_s))
        if rendition_key is not None:
            self._links[(tenant, agent_id, rendition_key)] = _Remembered(
                created_unix_s=entry.provenance.created_unix_s,
                audio_bytes=len(entry.audio),
                audio_id=audio_id,
                expires_unix_s=expires_unix_s,
            )
            if len(self._links) > _REMEMBERED:
                self._links.popitem(last=False)
        return audio_id

    async def put_as(self, link: AudioLink, entry: RenditionEntry, write: Write) -> str:
        """Keep the audio as `write` does it, and return the signed id of `link`.

        Raises:
            AudioTooLarge: no text may take so much.
            StoreError: the state database did not take it.
            SeiketsuError: as `write` raises it.
        """
        await self._store(entry, write)
        return self._sign(link)

    async def open(self, audio_id: str) -> AudioLink:
        """Check a signed id; the database is asked at most for the installation's signing key.

        Raises:
            AudioNotFound: it is forged, damaged or past its time.
        """
        payload, signature = _split(audio_id)
        if not self._key.verify(payload, signature):
            await self._refresh_key()
            if not self._key.verify(payload, signature):
                raise AudioNotFound()
        try:
            link = msgspec.msgpack.decode(payload, type=AudioLink)
        except msgspec.DecodeError as error:
            raise AudioNotFound() from error
        if link.expires_unix_s <= time.time():
            raise AudioNotFound()
        return link

    async def fetch(self, link: AudioLink) -> StoredResult:
        """Read what a checked link points to.

        Raises:
            AudioNotFound: the value is gone.
            StoreError: the state database did not answer.
        """
        try:
            async with self._places:
                blob = await self._redis.get(Keys.result(link.tenant, link.result_id.hex()))
        except (RedisError, OSError) as error:
            raise StoreError("The result store does not answer.", retry_after_s=1) from error
        if blob is None:
            raise AudioNotFound()
        try:
            return msgspec.msgpack.decode(blob, type=StoredResult)
        except msgspec.DecodeError as error:
            raise AudioNotFound() from error

    async def get(self, audio_id: str) -> StoredResult:
        """`open` and `fetch` in one.

        Raises:
            AudioNotFound: the id is forged or past its time, or the value is gone.
            StoreError: the state database did not answer.
        """
        return await self.fetch(await self.open(audio_id))

    async def _store(self, entry: RenditionEntry, write: Write) -> None:
        if len(entry.audio) > self._max_bytes:
            raise AudioTooLarge(f"A link holds {self._max_bytes:,} bytes of audio at the most.")
        blob = msgspec.msgpack.encode(
            StoredResult(entry.output_format, entry.audio, entry.duration_ms)
        )
        try:
            async with self._places:
                # After a failure the database is left alone for a moment: each reply would wait.
                if time.monotonic() < self._rest_until_s:
                    raise StoreError("The result store does not answer.", retry_after_s=_REST_S)
                await self._key.refresh(self._redis)
                await write(blob)
        except (RedisError, OSError) as error:
            self._rest_until_s = time.monotonic() + _REST_S
            raise StoreError("The result store does not answer.", retry_after_s=_REST_S) from error

    async def _refresh_key(self) -> None:
        if self._key.shared or time.monotonic() < self._rest_until_s:
            return
        try:
            await self._key.refresh(self._redis)
        except (RedisError, OSError):
            self._rest_until_s = time.monotonic() + _REST_S

    def _sign(self, link: AudioLink) -> str:
        payload = msgspec.msgpack.encode(link)
        signature = self._key.sign(payload, _SIGNATURE_BYTES)
        return base64.urlsafe_b64encode(payload + signature).rstrip(b"=").decode()


def _digest(audio: bytes, name: str) -> bytes:
    key = hashlib.blake2b(name.encode(), digest_size=32).digest()
    return hashlib.blake2b(audio, digest_size=_RESULT_ID_BYTES, key=key).digest()


def _split(audio_id: str) -> tuple[bytes, bytes]:
    if len(audio_id) > _MAX_LINK_CHARS:
        raise AudioNotFound()
    try:
        raw = base64.b64decode(
            audio_id.encode("ascii") + b"=" * (-len(audio_id) % 4), altchars=b"-_", validate=True
        )
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise AudioNotFound() from error
    # One id, one spelling: base64 would accept others that differ in the unused last bits.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != audio_id:
        raise AudioNotFound()
    if len(raw) <= _SIGNATURE_BYTES:
        raise AudioNotFound()
    return raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
