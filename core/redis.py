"""Redis: every key name of the product, and how a connection is opened.

Two databases: *state* (append-only, never evicts) and *audio* (bounded memory, least frequently
used goes first). Commands stay within Redis 6.2; on the audio database every command names one key,
so that it may be a cluster.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from core.redis_connections import cancellable

_PREFIX: Final = "sk1"
"""Version of the key names; another one makes everything stored before invisible."""

_INSTALLATION: Final = "-"
"""Owner of what belongs to no tenant."""

_RETRIES: Final = 1
_BACKOFF_S: Final = 0.002


class Keys:
    """The name of every Redis key: `sk1:OWNER:KIND:ID`, the owner being a tenant or `-`.

    | kind | database | value | lives |
    |---|---|---|---|
    | `seg` | audio | one segment's canonical audio (`SegmentEntry`) | SEIKETSU_CACHE_TTL |
    | `ren` | audio | one utterance's encoded bytes (`RenditionEntry`) | SEIKETSU_CACHE_TTL |
    | `res` | state | what an `audio_url` points to | twice SEIKETSU_RESULT_TTL; a job's as long as
      the job |
    | `job`, `job-*` | state | a job and its parts (`core.job_scripts`) | SEIKETSU_JOB_TTL |
    | `jobs` | state | a tenant's jobs by their time of creation | for good, trimmed |
    | `jobs-open` | state | unfinished jobs: a tenant's by their end, everybody's by when a sweep
      must look at them | for good, trimmed |
    | `jobs-warm` | state | a tenant's last warm-up by agent and language | as long as the last |
    | `audio-room` | state | bytes that the audio of jobs takes, a tenant's and everybody's, and how
      long each job lives | as long as the last job with audio |
    | `queue` | state | arq's queue; beside it arq's own `arq:*`, named by job | until it has run |
    | `agents` | state | an owner's voice agents: `REVISION:JSON` by id (nothing after the colon: a
      default that was deleted), and the last revision under no id | for good |
    | `agents-changed` | state | by owner a mark that changes with its agents | for good |
    | `agents-mark` | state | a mark that changes with any owner's agents | for good |
    | `phrases` | state | an agent's own phrases: `REVISION:JSON` by language | for good |
    | `session-token` | state | what a session token allows (`TokenGrant`) | 60 s |
    | `session` | state | what a session that streams needs to go on elsewhere, its texts included
      (`core.conversation.journal_scripts`) | 40 s after its last sign of life; not beyond its end |
    | `process` | state | what a gateway or a worker is and has (`ProcessReport`) | 5 s |
    | `processes` | state | names of the processes seen lately | an hour |
    | `sessions` | state | a tenant's open sessions in one process: `OpenSession` by number, and
      under no number how often it was written | 5 s |
    | `signing-key` | state | the key that signs `audio_url`s | for good |
    """

    @staticmethod
    def segment(tenant: str, voice_key: str) -> str:
        """Canonical audio under its voice key."""
        return _key(tenant, "seg", voice_key)

    @staticmethod
    def rendition(tenant: str, rendition_key: str) -> str:
        """Encoded audio under its rendition key."""
        return _key(tenant, "ren", rendition_key)

    @staticmethod
    def result(tenant: str, result_id: str) -> str:
        """A result that an `audio_url` points to."""
        return _key(tenant, "res", result_id)

    @staticmethod
    def job(tenant: str, job_id: str, part: str = "") -> str:
        """A job itself, or one of its parts (see `core.job_store`)."""
        return _key(tenant, f"job-{part}" if part else "job", job_id)

    @staticmethod
    def jobs(tenant: str) -> str:
        """The jobs of a tenant."""
        return _key(tenant, "jobs", "all")

    @staticmethod
    def open_jobs(tenant: str | None) -> str:
        """The unfinished jobs of a tenant; of everybody when there is no tenant."""
        if tenant is None:
            return f"{_PREFIX}:{_INSTALLATION}:jobs-open"
        return _key(tenant, "jobs-open", "all")

    @staticmethod
    def warm_ups(tenant: str) -> str:
        """The last job of the clock for each agent and language of a tenant."""
        return _key(tenant, "jobs-warm", "all")

    @staticmethod
    def audio_room(tenant: str | None, part: str) -> str:
        """What the audio of a tenant's jobs takes: `bytes` and `ends`, each by job; of everybody's
        when there is no tenant."""
        if tenant is None:
            return f"{_PREFIX}:{_INSTALLATION}:audio-room:{part}"
        return _key(tenant, "audio-room", part)

    @staticmethod
    def queue() -> str:
        """What the workers are to do."""
        return f"{_PREFIX}:{_INSTALLATION}:queue"

    @staticmethod
    def agents(tenant: str) -> str:
        """All voice agents of an owner."""
        return _key(tenant, "agents", "all")

    @staticmethod
    def phrases(tenant: str, agent_id: str) -> str:
        """A voice agent's own phrases."""
        return _key(tenant, "phrases", agent_id)

    @staticmethod
    def agents_mark() -> str:
        """What tells that some owner's agents changed."""
        return f"{_PREFIX}:{_INSTALLATION}:agents-mark"

    @staticmethod
    def agents_changed() -> str:
        """What tells whose agents changed."""
        return f"{_PREFIX}:{_INSTALLATION}:agents-changed"

    @staticmethod
    def session_token(digest: str) -> str:
        """A session token, by its SHA-256 in hex; whose it is stands in its value."""
        return f"{_PREFIX}:{_INSTALLATION}:session-token:{digest}"

    @staticmethod
    def session(tenant: str, session_id: str) -> str:
        """The journal of a session."""
        return _key(tenant, "session", session_id)

    @staticmethod
    def process(name: str) -> str:
        """What one gateway process tells the others."""
        return f"{_PREFIX}:{_INSTALLATION}:process:{name}"

    @staticmethod
    def processes() -> str:
        """The names of the gateway processes, each with when it was seen."""
        return f"{_PREFIX}:{_INSTALLATION}:processes"

    @staticmethod
    def sessions(tenant: str, process: str) -> str:
        """A tenant's open sessions in one gateway process."""
        return _key(tenant, "sessions", process)

    @staticmethod
    def signing_key() -> str:
        """The key that signs `audio_url`s, shared by the gateways of an installation."""
        return f"{_PREFIX}:{_INSTALLATION}:signing-key"


def _key(tenant: str, kind: str, name: str) -> str:
    # A colon would let one owner's key read as another's, a brace would choose the cluster's slot.
    if not tenant or tenant == _INSTALLATION or any(c in tenant for c in ":{}"):
        raise ValueError("A tenant's name is not empty, not `-`, and holds none of `:{}`.")
    return f"{_PREFIX}:{tenant}:{kind}:{name}"


def can_be_opened(url: str) -> bool:
    """Whether `open_redis` can make something of a URL; nothing is asked."""
    try:
        read, parts = parse_url(url), urlsplit(url)
    except ValueError:
        return False
    if parts.scheme == "unix":
        return bool(read.get("path"))
    # What is not a number after the host is passed over, and would be database 0.
    return not parts.path.strip("/").strip("0123456789")


def open_redis(url: str, *, timeout_s: float, max_connections: int) -> Redis:
    """A client of `redis://`, `rediss://` or `unix://`; it connects when first used.

    Connecting and every answer are bounded by `timeout_s` each. A connection that turns out to be
    broken is replaced and the command sent once more; an answer that is late is not waited for
    twice. Above `max_connections` commands at once, redis-py refuses with its `ConnectionError`.
    Keys and values are bytes. Close it with `aclose()`.
    """
    pool = ConnectionPool.from_url(
        url,
        max_connections=max_connections,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(ConstantBackoff(_BACKOFF_S), _RETRIES, (RedisConnectionError,)),
        retry_on_error=[RedisConnectionError],
        health_check_interval=0,
        decode_responses=False,
        # Naming the library would cost a round trip on every new connection.
        lib_name=None,
        lib_version=None,
    )
    return Redis.from_pool(cancellable(pool))
