"""What an agent says often: the sets that are shipped, and an agent's own in their place.

The shipped ones are files a person can read, `phrase_sets/LANGUAGE.json`, by topic. Own ones
live in the state database and are read when they are needed: no request for speech waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import lru_cache
from pathlib import Path
from typing import Final, cast

import msgspec
from redis.asyncio import Redis

from core.agent_scripts import WRITE_PHRASES
from core.agent_store import Expected, encode_expected, refusal, store_errors
from core.agents import AgentSnapshot
from core.errors import InvalidRequest
from core.redis import Keys
from core.text.clean import speakable
from core.text.languages import LANGUAGES, Language

MAX_PHRASES: Final = 200
MAX_PHRASE_CHARS: Final = 500

_SETS: Final = Path(__file__).with_name("phrase_sets")
_TIMEOUT_S: Final = 2.0


class PhraseSet(msgspec.Struct, frozen=True):
    """What an agent says often in one language."""

    language: Language
    phrases: tuple[str, ...]
    own: bool = False
    """Whether they are the agent's own; else they are the shipped ones."""
    revision: int = 0
    """Changes with every change of own phrases; 0 for the shipped ones."""


class PhraseStore:
    """Reads and writes the agents' own phrases."""

    def __init__(self, redis: Redis, agents: AgentSnapshot) -> None:
        self._redis = redis
        self._agents = agents
        self._write = redis.register_script(WRITE_PHRASES)

    async def get(self, tenant: str, agent_id: str, language: Language) -> PhraseSet:
        """An agent's phrases in a language.

        Raises:
            UnknownAgent: there is no such agent.
            StoreError: the state database did not answer.
        """
        self._agents.record(tenant, agent_id)
        async with store_errors(), asyncio.timeout(_TIMEOUT_S):
            key = Keys.phrases(tenant, agent_id)
            stored = await cast(Awaitable[bytes | None], self._redis.hget(key, language))
        if stored is None:
            return PhraseSet(language, await shipped(language))
        revision, _, body = stored.partition(b":")
        phrases = msgspec.json.decode(body, type=tuple[str, ...])
        return PhraseSet(language, phrases, own=True, revision=int(revision))

    async def put(
        self,
        tenant: str,
        agent_id: str,
        language: Language,
        phrases: tuple[str, ...],
        expected: Expected = None,
    ) -> PhraseSet:
        """Replace an agent's own phrases in a language; none at all go back to the shipped ones.

        Raises:
            InvalidRequest: too many, too long, or one that cannot be spoken.
            UnknownAgent: there is no such agent.
            AgentChanged: the phrases are not what was expected.
            StoreError: the state database did not answer.
        """
        check_phrases(phrases)
        self._agents.record(tenant, agent_id)
        body = msgspec.json.encode(phrases) if phrases else b""
        async with store_errors(), asyncio.timeout(_TIMEOUT_S):
            reply = await self._write(
                keys=[Keys.phrases(tenant, agent_id), Keys.agents(tenant)],
                args=[
                    language,
                    encode_expected(expected),
                    body,
                    agent_id,
                    *self._agents.defaults,
                ],
            )
        outcome = reply[0].decode()
        if outcome != "done":
            raise refusal(outcome, agent_id)
        if not phrases:
            return PhraseSet(language, await shipped(language))
        return PhraseSet(language, phrases, own=True, revision=int(reply[1]))


async def phrases_of(
    store: PhraseStore, tenant: str, agent_id: str, language: Language
) -> tuple[str, ...]:
    """What is worth speaking before anyone asks for it.

    Raises:
        UnknownAgent: there is no such agent.
        StoreError: the state database did not answer.
    """
    return (await store.get(tenant, agent_id, language)).phrases


async def shipped(language: Language) -> tuple[str, ...]:
    """The shipped phrases of a language, in the order of their file."""
    return tuple(p for topic in (await topics(language)).values() for p in topic)


async def topics(language: Language) -> dict[str, tuple[str, ...]]:
    """The shipped phrases of a language by topic."""
    return await asyncio.to_thread(_read, language)


def check_phrases(phrases: tuple[str, ...]) -> None:
    """Refuse phrases that could not be spoken one by one.

    Raises:
        InvalidRequest: too many, too long, or nothing in one that can be spoken. The message says
            which, and nothing of the text.
    """
    if len(phrases) > MAX_PHRASES:
        raise InvalidRequest(f"There are {len(phrases)} phrases; {MAX_PHRASES} are allowed.")
    for number, phrase in enumerate(phrases, 1):
        if len(phrase) > MAX_PHRASE_CHARS:
            raise InvalidRequest(
                f"Phrase {number} has {len(phrase)} characters; {MAX_PHRASE_CHARS} are allowed."
            )
        if not speakable(phrase):
            raise InvalidRequest(f"Phrase {number} holds nothing that can be spoken.")


@lru_cache(maxsize=len(LANGUAGES))
def _read(language: Language) -> dict[str, tuple[str, ...]]:
    body = (_SETS / f"{language}.json").read_bytes()
    return msgspec.json.decode(body, type=dict[str, tuple[str, ...]])
