"""The plan: what a request is decided to be."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from core.agents import AgentSnapshot, VoiceAgent
from core.errors import (
    RequestError,
    TextEmpty,
    TextTooLong,
    UnknownAgent,
    UnsupportedFormat,
    UnsupportedLanguage,
)
from core.settings import SpeechSettings
from core.speech import SpeechPlan, SpeechRequest
from core.synthesis.plan import ChainLink, Planner
from core.text.languages import Language

CHAIN = (ChainLink("elevenlabs", "acct", "http-1"), ChainLink("local", ""))


def plan(chain: tuple[ChainLink, ...] = CHAIN, **fields: Any) -> SpeechPlan:
    request = SpeechRequest(
        **({"tenant": "default", "text": "Hello there.", "agent_id": "agent_123"} | fields)
    )
    return Planner(AgentSnapshot(), chain, SpeechSettings()).plan(request)


def test_each_segment_has_an_attempt_with_every_provider_of_the_chain() -> None:
    made = plan(text="The flat has two rooms. The rent is low.")
    assert [s.text for s in made.segments] == ["The flat has two rooms.", "The rent is low."]
    for segment in made.segments:
        assert [a.provider for a in segment.attempts] == ["elevenlabs", "local"]
        assert len({a.voice_key for a in segment.attempts}) == 2
    assert made.segments[0].attempts[0].voice == "21m00Tcm4TlvDq8ikWAM"
    assert made.segments[0].attempts[1].voice.startswith("hibari/heart")


def test_without_a_key_the_local_voice_is_asked_for() -> None:
    assert [a.provider for a in plan(CHAIN[1:]).segments[0].attempts] == ["local"]


def test_speed_changes_the_model_and_never_the_voice() -> None:
    fast, fine = plan(optimize_for_speed=True), plan(optimize_for_speed=False)
    a, b = fast.segments[0].attempts[0], fine.segments[0].attempts[0]
    assert (a.model, b.model) == ("eleven_flash_v2_5", "eleven_multilingual_v2")
    assert a.voice == b.voice
    assert a.voice_key != b.voice_key


def test_formats_share_voice_keys_and_not_renditions() -> None:
    mp3, wav = plan(output_format="mp3"), plan(output_format="wav")
    assert mp3.segments[0].attempts == wav.segments[0].attempts
    assert mp3.rendition_key != wav.rendition_key
    assert mp3.output_format == "mp3_24000_128"


def test_owners_share_nothing() -> None:
    one, two = plan(tenant="one"), plan(tenant="two")
    assert one.segments[0].attempts[0].voice_key != two.segments[0].attempts[0].voice_key
    assert one.rendition_key != two.rendition_key


def test_segments_lead_back_to_the_callers_characters() -> None:
    text = "  The flat\n has   two rooms.  The rent is low. "
    made = plan(text=text)
    assert [s.text for s in made.segments] == ["The flat has two rooms.", "The rent is low."]
    assert text[made.segments[1].source_start : made.segments[1].source_end] == "The rent is low."


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"agent_id": "nobody"}, UnknownAgent),
        ({"language": "tlh"}, UnsupportedLanguage),
        ({"output_format": "midi"}, UnsupportedFormat),
        ({"text": ""}, TextEmpty),
        ({"text": " ... !"}, TextEmpty),
        ({"text": "a" * 5001}, TextTooLong),
    ],
)
def test_what_cannot_be_done_is_refused(fields: dict[str, Any], error: type[RequestError]) -> None:
    with pytest.raises(error):
        plan(**fields)


def test_equal_requests_are_decided_once() -> None:
    planner = Planner(AgentSnapshot(), CHAIN, SpeechSettings())
    request = SpeechRequest(tenant="default", text="Hello there.", agent_id="agent_123")
    again = msgspec.structs.replace(request)
    assert planner.plan(request) is planner.plan(again)


async def test_a_long_text_is_planned_in_turns_with_the_event_loop() -> None:
    planner = Planner(AgentSnapshot(), CHAIN, SpeechSettings())
    text = "The flat at 1,234 Oak St. costs $987,654 and 1/2 of it is due on 3/15/2026. " * 60
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    request = SpeechRequest(tenant="t", text=text, agent_id="agent_123")
    made = await planner.plan_in_turns(request)
    other.cancel()
    assert turns >= 3
    assert await planner.plan_in_turns(request) is made, "it is kept, however long it is"
    assert Planner(AgentSnapshot(), CHAIN, SpeechSettings()).plan(request) == made


def test_kept_plans_are_bounded_by_their_size() -> None:
    planner = Planner(AgentSnapshot(), CHAIN, SpeechSettings())
    figures = "987,654,321 " * 400
    requests = [
        SpeechRequest(tenant=f"t{number}", text=figures, agent_id="agent_123")
        for number in range(60)
    ]
    made = [planner.plan(request) for request in requests]
    spoken = sum(len(segment.text) for segment in made[0].segments)
    assert spoken * len(made) > 1_000_000
    assert planner.plan(requests[-1]) is made[-1]
    assert planner.plan(requests[0]) is not made[0]


def test_an_agents_own_settings_stand_over_its_profile() -> None:
    agent = VoiceAgent("a", "A", "professional_male", voice_id="mine", style=0.3, speed=1.1)
    planner = Planner(AgentSnapshot((agent,)), CHAIN, SpeechSettings())
    made = planner.plan(SpeechRequest(tenant="t", text="Hello.", agent_id="a"))
    first, second = made.segments[0].attempts
    assert first.voice == "mine"
    assert first.settings is not None
    assert (first.settings.stability, first.settings.style, first.settings.speed) == (0.8, 0.3, 1.1)
    assert second.settings is not None
    assert second.settings.speed == 1.1


@pytest.mark.parametrize(
    ("text", "language", "engine"),
    [
        ("The house has three bedrooms and a garden.", "en", "hibari"),
        ("La casa tiene tres habitaciones y un jardín.", "es", "pico"),
        ("这套房子有三间卧室和一个花园。", "zh", "kokoro"),
    ],
)
def test_the_text_decides_the_language_and_the_voice(text: str, language: str, engine: str) -> None:
    for asked in (None, "auto", "AUTO", language, f"{language.upper()}-XX"):
        made = plan(text=text, language=asked)
        assert made.language == language
        upstream, local = made.segments[0].attempts
        assert (upstream.language, local.language) == (language, language)
        assert upstream.voice == "21m00Tcm4TlvDq8ikWAM"
        assert local.voice.partition("/")[0] == engine
    assert plan(text=text, language=language).rendition_key == made.rendition_key


def preferring(*languages: Language) -> Planner:
    agent = VoiceAgent("a", "A", "friendly_female", language_preferences=languages)
    return Planner(AgentSnapshot((agent,)), CHAIN, SpeechSettings())


def asked(text: str, language: str | None = None) -> SpeechRequest:
    return SpeechRequest(tenant="t", text=text, agent_id="a", language=language)


def test_an_agents_preferences_order_and_restrict() -> None:
    spanish = "Los apartamentos tienen calefacción central."
    assert preferring("en", "es").plan(asked(spanish)).language == "es"
    assert preferring("en", "zh").plan(asked(spanish)).language == "en"
    assert preferring("zh", "es").plan(asked("4 - 5")).language == "zh", "numbers tell nothing"
    assert preferring("es", "zh").plan(asked("4 - 5")).language == "es"
    with pytest.raises(UnsupportedLanguage, match="en, es"):
        preferring("en", "es").plan(asked("你好", "zh"))


def test_what_was_begun_in_a_language_keeps_it_as_long_as_its_voice_can_read_it() -> None:
    def rest(text: str, begun_in: str, language: str | None = None) -> str:
        request = SpeechRequest("t", text, "agent_123", language, begun_in=begun_in)
        return Planner(AgentSnapshot(), CHAIN, SpeechSettings()).plan(request).language

    assert plan(text="350.000 €.").language == "en"
    assert rest("350.000 €.", "es") == "es"
    assert rest("Calle Mayor, cinco.", "en") == "en"
    assert rest("这套房子有两个房间。", "es") == "zh"
    assert rest("350.000 €.", "es", "en") == "en", "what is asked for stands"
    assert (
        preferring("en", "zh").plan(SpeechRequest("t", "350", "a", begun_in="es")).language == "en"
    ), "the agent does not speak it any more"


def test_what_is_spoken_are_words_and_leads_back_to_what_was_written() -> None:
    text = "It costs $1,000,000 today. Call 555-123-4567 now."
    made = plan(text=text)
    spoken = " ".join(segment.text for segment in made.segments)
    assert "one million dollars" in spoken
    assert not any(character.isdigit() for character in spoken)
    first = made.segments[0]
    at = first.text.index("one million")
    assert text[first.source_offsets[at]] == "$"


@pytest.mark.parametrize(
    "text", ["Привет", "Welcome to the office on Sunday. Please ask for 王伟.", "مرحبا", "한국어"]
)
def test_what_the_local_voice_cannot_read_is_never_given_to_it(text: str) -> None:
    with pytest.raises(UnsupportedLanguage):
        plan(CHAIN[1:], text=text)
    asked = plan(text=text).segments[-1]
    assert [a.provider for a in asked.attempts] == ["elevenlabs"]


@pytest.mark.parametrize(
    "text", ["Señora Núñez, café at 5 €?", "Straße 🙂 № 5", "李先生的VIP客户住在Main Street。"]
)
def test_what_a_local_voice_can_read_is_given_to_it(text: str) -> None:
    assert [a.provider for a in plan(text=text).segments[0].attempts] == ["elevenlabs", "local"]
