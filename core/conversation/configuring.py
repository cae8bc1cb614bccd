"""What a session is to use, checked: by its handshake, and by `configure`."""

from __future__ import annotations

from typing import Protocol

import msgspec

from core.conversation.audio_frames import encoding_of
from core.conversation.commands import Configure
from core.conversation.state import SessionConfig
from core.errors import InvalidRequest, TokenInvalid
from core.speech import SpeechPlan, SpeechRequest
from core.text.languages import AUTO, language_of

_PROBE = "Hello."


class Plans(Protocol):
    """What is needed of the speech service."""

    async def plan(self, request: SpeechRequest) -> SpeechPlan: ...


async def checked(service: Plans, tenant: str, config: SessionConfig) -> SessionConfig:
    """The same with the language as one of ours or `auto`, after a look whether the agent exists
    and speaks it, and whether there is such a format.

    Raises:
        UnknownAgent, UnsupportedLanguage, UnsupportedFormat: there is not.
        InvalidRequest: one of them is too long to be a name, or no audio encoding.
    """
    agent, language = config.voice_agent_id, config.language
    if not 1 <= len(agent) <= 128 or not 2 <= len(language) <= 35:
        raise InvalidRequest("`voice_agent_id` or `language` is of the wrong length.")
    encoding_of(config.audio_encoding)
    named = None if language.lower() == AUTO else language
    await service.plan(
        SpeechRequest(
            tenant=tenant,
            text=_PROBE,
            agent_id=agent,
            language=named,
            output_format=config.format,
        )
    )
    found = AUTO if named is None else (language_of(named) or named)
    return msgspec.structs.replace(config, language=found)


async def changed(
    service: Plans, tenant: str, config: SessionConfig, command: Configure
) -> SessionConfig:
    """What is used after the command.

    Raises:
        TokenInvalid: the session was opened with a token for one agent or language.
        RequestError: see `checked`.
    """
    agent = command.voice_agent_id or config.voice_agent_id
    language = command.language or config.language
    if config.voice_agent_fixed and agent != config.voice_agent_id:
        raise TokenInvalid("The token was given for another voice agent.")
    encoding = config.audio_encoding
    if command.audio_encoding is not None:
        encoding = encoding_of(command.audio_encoding)
    wanted = msgspec.structs.replace(
        config,
        voice_agent_id=agent,
        language=language,
        format=command.format or config.format,
        audio_encoding=encoding,
    )
    found = await checked(service, tenant, wanted)
    if config.language_fixed and found.language != config.language:
        raise TokenInvalid("The token was given for another language.")
    return found
