"""What agents say often: the shipped sets and own ones."""

from __future__ import annotations

from pathlib import Path

import pytest

import core.phrases
from core.agent_store import AgentStore, Expected
from core.agents import VoiceAgent
from core.embedded import EmbeddedRedis
from core.errors import AgentChanged, InvalidRequest, StoreError, UnknownAgent
from core.phrases import MAX_PHRASE_CHARS, MAX_PHRASES, PhraseStore, phrases_of, shipped, topics
from core.text.detect import detect
from core.text.languages import LANGUAGES, Language
from tests.agents.conftest import away

OWN = ("The flat is on the third floor.", "¡Hola!", "您好")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_each_language_has_about_twenty_of_its_own(language: Language) -> None:
    found = await topics(language)
    assert list(found) == ["greeting", "hold", "viewing", "price", "callback", "goodbye"]
    phrases = await shipped(language)
    assert 18 <= len(phrases) == len(set(phrases)) <= 25
    for phrase in phrases:
        assert phrase == phrase.strip()
        assert phrase[-1] in ".?!。？！"
        assert detect(phrase, LANGUAGES) == language, phrase


def test_there_is_no_file_without_a_language() -> None:
    folder = Path(core.phrases.__file__).with_name("phrase_sets")
    assert {path.stem for path in folder.iterdir()} == set(LANGUAGES)


async def test_own_phrases_stand_in_place_of_the_shipped_ones_of_one_language(
    phrases: PhraseStore,
) -> None:
    assert await phrases_of(phrases, "t", "agent_123", "en") == await shipped("en")
    put = await phrases.put("t", "agent_123", "en", OWN)
    assert await phrases.get("t", "agent_123", "en") == put
    assert (put.own, put.phrases, put.revision > 0) == (True, OWN, True)
    assert await phrases_of(phrases, "t", "agent_123", "es") == await shipped("es")
    assert await phrases_of(phrases, "u", "agent_123", "en") == await shipped("en")
    await phrases.put("t", "agent_123", "en", ())
    back = await phrases.get("t", "agent_123", "en")
    assert (back.own, back.phrases, back.revision) == (False, await shipped("en"), 0)


async def test_a_write_holds_to_what_it_expects(phrases: PhraseStore) -> None:
    first = await phrases.put("t", "agent_123", "en", OWN, frozenset({0}))
    wrong: tuple[Expected, ...] = (frozenset({0}), frozenset({first.revision + 1}), "absent")
    for expected in wrong:
        with pytest.raises(AgentChanged):
            await phrases.put("t", "agent_123", "en", OWN[:1], expected)
    second = await phrases.put("t", "agent_123", "en", OWN[:1], frozenset({first.revision}))
    assert second.revision > first.revision
    assert await phrases.put("t", "agent_123", "en", OWN[:1], "absent") == second, "sent twice"


async def test_they_go_with_their_agent(phrases: PhraseStore, store: AgentStore) -> None:
    with pytest.raises(UnknownAgent):
        await phrases.put("t", "ana", "en", OWN)
    await store.put("t", VoiceAgent("ana", "Ana", "casual_male"))
    await phrases.put("t", "ana", "en", OWN)
    await store.delete("t", "ana")
    with pytest.raises(UnknownAgent):
        await phrases.get("t", "ana", "en")
    await store.put("t", VoiceAgent("ana", "Ana", "casual_male"))
    assert await phrases_of(phrases, "t", "ana", "en") == await shipped("en")
    await store.delete("t", "agent_123")
    with pytest.raises(UnknownAgent):
        await phrases.put("t", "agent_123", "en", OWN)


async def test_an_agent_that_another_process_deleted_gets_none(
    phrases: PhraseStore, other: AgentStore
) -> None:
    await other.delete("t", "agent_123")
    with pytest.raises(UnknownAgent):
        await phrases.put("t", "agent_123", "en", OWN)


@pytest.mark.parametrize(
    "refused",
    [("x",) * (MAX_PHRASES + 1), ("x" * (MAX_PHRASE_CHARS + 1),), ("Hello.", ""), ("...",)],
)
async def test_what_could_not_be_spoken_is_refused(
    phrases: PhraseStore, refused: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidRequest):
        await phrases.put("t", "agent_123", "en", refused)


async def test_without_the_database_they_are_not_known(
    phrases: PhraseStore, redis_state: EmbeddedRedis
) -> None:
    async with away(redis_state):
        with pytest.raises(StoreError):
            await phrases.get("t", "agent_123", "en")
        with pytest.raises(StoreError):
            await phrases.put("t", "agent_123", "en", OWN)
