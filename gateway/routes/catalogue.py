"""What there is to choose from: profiles, languages, and the phrases of an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter

from core.agents import FAST_MODEL, PROFILES, ProfileVoice, VoiceProfile, languages_of
from core.phrases import PhraseSet
from core.text.languages import AUTO, LANGUAGES, Language
from core.voices.registry import LOCAL_VOICES
from gateway.bodies import AnyRequest, caller, etag_of, expected_of, json_body, not_modified
from gateway.edge import Edge
from gateway.errors import ErrorBody
from gateway.messages_agents import (
    LanguageList,
    LanguageReply,
    PhrasesBody,
    PhrasesReply,
    ProfileList,
    ProfileReply,
    ProfileVoiceReply,
    phrases_reply,
)
from gateway.routes.agents import CHANGED, REFUSED, SECURITY, UNKNOWN, WRITING, AgentId

MAX_PHRASES_BYTES: Final = 512 * 1024
"""Of a body: as many phrases as there may be, each as long as it may be."""

_NAMES: Final[Mapping[Language, str]] = {"en": "English", "es": "Spanish", "zh": "Mandarin Chinese"}
_AUDIBLE_CENTS: Final = 50
_AUDIBLE_PACE: Final = 0.05
"""Smaller differences of pitch and pace are hardly told apart from one sentence to the next."""

_phrases_body = msgspec.json.Decoder(PhrasesBody)

AskedLanguage = Annotated[
    str | None,
    QueryParameter(
        description="`en`, `es` or `zh`; left out: the agent's preferred one.", max_length=35
    ),
]
_UNSPOKEN: Final = {
    422: ResponseSpec(ErrorBody, description="The agent does not speak that language")
}


def catalogue_routes(edge: Edge) -> list[HTTPRouteHandler]:
    """`/profiles` and `/languages`."""
    common: dict[str, Any] = {
        "guards": [edge.gate.guard],
        "tags": ["Agents"],
        "security": SECURITY,
        "responses": REFUSED,
    }

    @get("/profiles", operation_id="listProfiles", summary="The personas to choose from", **common)
    async def profiles() -> ProfileList:
        return ProfileList([_profile(profile) for profile in PROFILES.values()])

    @get(
        "/languages",
        operation_id="listLanguages",
        summary="The languages, and which are spoken offline now",
        **common,
    )
    async def languages() -> LanguageList:
        ready = await edge.runtime.spoken_offline()
        own = [
            LanguageReply(code, _NAMES[code], LOCAL_VOICES[code], ready[code]) for code in LANGUAGES
        ]
        known = [spoken for spoken in ready.values() if spoken is not None]
        told = LanguageReply(AUTO, "Told by the text", None, any(known) if known else None)
        return LanguageList([*own, told])

    return [profiles, languages]


def phrase_routes(edge: Edge) -> list[HTTPRouteHandler]:
    """`/agents/{id}/phrases`."""
    common: dict[str, Any] = {
        "guards": [edge.gate.guard],
        "tags": ["Agents"],
        "security": SECURITY,
    }
    path = "/agents/{agent_id:str}/phrases"

    def language_of_agent(tenant: str, agent_id: str, asked: str | None) -> Language:
        agent = edge.runtime.agent_store.snapshot.get(tenant, agent_id)
        return languages_of(agent, asked)[0]

    @get(
        path,
        operation_id="getPhrases",
        summary="What an agent says often",
        description="Its own phrases, or the shipped ones. `If-None-Match` is understood.",
        responses={**REFUSED, **UNKNOWN, **_UNSPOKEN, 503: WRITING[503]},
        **common,
    )
    async def get_phrases(
        request: AnyRequest, agent_id: AgentId, language: AskedLanguage = None
    ) -> Response[PhrasesReply]:
        tenant = caller(edge, request).tenant
        spoken = language_of_agent(tenant, agent_id, language)
        found = await edge.runtime.phrases.get(tenant, agent_id, spoken)
        if not_modified(request, found.revision):
            return _reply(agent_id, found, 304)
        return _reply(agent_id, found)

    @put(
        path,
        operation_id="putPhrases",
        summary="Replace what an agent says often",
        description="An empty list goes back to the shipped phrases. `If-Match` is understood.",
        responses={**WRITING, **UNKNOWN, **CHANGED, **_UNSPOKEN},
        **common,
    )
    async def put_phrases(
        request: AnyRequest, agent_id: AgentId, language: AskedLanguage = None
    ) -> Response[PhrasesReply]:
        tenant = caller(edge, request).tenant
        expected = expected_of(request)
        limit = max(MAX_PHRASES_BYTES, edge.settings.gateway.max_body_bytes)
        body = await json_body(request, _phrases_body, limit)
        spoken = language_of_agent(tenant, agent_id, language)
        found = await edge.runtime.phrases.put(tenant, agent_id, spoken, body.phrases, expected)
        return _reply(agent_id, found)

    @delete(
        path,
        operation_id="deletePhrases",
        summary="Go back to the shipped phrases",
        description="`If-Match` is understood.",
        status_code=204,
        responses={**REFUSED, **UNKNOWN, **CHANGED, **_UNSPOKEN, 503: WRITING[503]},
        **common,
    )
    async def delete_phrases(
        request: AnyRequest, agent_id: AgentId, language: AskedLanguage = None
    ) -> None:
        tenant = caller(edge, request).tenant
        expected = expected_of(request)
        spoken = language_of_agent(tenant, agent_id, language)
        await edge.runtime.phrases.put(tenant, agent_id, spoken, (), expected)

    return [get_phrases, put_phrases, delete_phrases]


def _reply(agent_id: str, found: PhraseSet, status: int = 200) -> Response[Any]:
    headers = {"etag": etag_of(found.revision), "cache-control": "no-store"}
    if status == 304:
        return Response(b"", status_code=status, headers=headers)
    return Response(phrases_reply(agent_id, found), status_code=status, headers=headers)


def _profile(profile: VoiceProfile) -> ProfileReply:
    return ProfileReply(
        id=profile.id,
        title=profile.title,
        use=profile.use,
        settings={
            name: value
            for name, value in msgspec.structs.asdict(profile.settings).items()
            if value is not None
        },
        voices={
            language: ProfileVoiceReply(
                voice_id=voice.elevenlabs_voice,
                model=voice.elevenlabs_model,
                fast_model=FAST_MODEL,
                local_voice=voice.local_voice,
                local_pitch_cents=_cents(voice),
                local_speed=voice.local_speed,
                differs_offline=_differs(profile, language),
            )
            for language, voice in profile.voices.items()
        },
    )


def _differs(profile: VoiceProfile, language: Language) -> bool:
    own = profile.voices[language]
    others = [other.voices[language] for other in PROFILES.values() if other.id != profile.id]
    return all(_audibly(own, other) for other in others)


def _audibly(one: ProfileVoice, other: ProfileVoice) -> bool:
    if one.local_voice.partition(":")[0] != other.local_voice.partition(":")[0]:
        return True
    return (
        abs(_cents(one) - _cents(other)) >= _AUDIBLE_CENTS
        or abs(one.local_speed / other.local_speed - 1) >= _AUDIBLE_PACE
    )


def _cents(voice: ProfileVoice) -> int:
    return int(voice.local_voice.partition(":")[2] or 0)
