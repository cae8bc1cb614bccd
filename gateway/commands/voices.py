"""`voices`: the profiles an agent can take and the voices of this computer."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any, Final

from rich.console import Group
from rich.text import Text

from core.agents import PROFILES
from core.embedded import with_default_places
from core.errors import ProviderUnavailable
from core.providers.local import LocalProvider
from core.voices.protocol import StatusReply
from core.voices.registry import LOCAL_VOICES, engine_version, lane_of
from gateway.commands.base import OK, Commands, Context, table

_CENTS_PER_SEMITONE: Final = 100


def add(commands: Commands) -> None:
    """Add it."""
    commands.add(
        "voices",
        _voices,
        "List the voice profiles and the voices of this computer.",
        "seiketsu voices --json",
    )


def _voices(context: Context, _: argparse.Namespace, __: list[str]) -> int:
    settings = with_default_places(context.settings())
    status = asyncio.run(_status(settings.voice_socket))
    profiles = [_profile(name) for name in PROFILES]
    local = [_local(language, voice, status) for language, voice in LOCAL_VOICES.items()]
    heads = ("profile", "for", "provider's voice", "offline: pitch, pace")
    rows = [
        (
            *(p["id"], p["use"], p["elevenlabs_voice"]),
            f"{p['offline_semitones']:+g} semitones, {p['offline_speed']:g}",
        )
        for p in profiles
    ]
    voices = [(v["language"], v["voice"], v["engine"], v["state"]) for v in local]
    seen = Group(
        table(heads, rows), Text(), table(("language", "local voice", "engine", "state"), voices)
    )
    context.terminal.show({"profiles": profiles, "local_voices": local}, seen)
    return OK


async def _status(socket: Path) -> StatusReply | None:
    """The voice server's state; None where it does not answer."""
    local = LocalProvider(socket)
    try:
        return await local.status()
    except ProviderUnavailable:
        return None
    finally:
        await local.aclose()


def _profile(name: str) -> dict[str, Any]:
    profile = PROFILES[name]
    voice = profile.voices["en"]
    cents = int(voice.local_voice.partition(":")[2] or 0)
    return {
        "id": profile.id,
        "title": profile.title,
        "use": profile.use,
        "elevenlabs_voice": voice.elevenlabs_voice,
        "elevenlabs_model": voice.elevenlabs_model,
        "offline_semitones": cents / _CENTS_PER_SEMITONE,
        "offline_speed": voice.local_speed,
        "languages": list(profile.voices),
    }


def _local(language: str, voice: str, status: StatusReply | None) -> dict[str, Any]:
    if status is None:
        state = "the voice server does not run"
    else:
        lane = status.quick if lane_of(voice) == "quick" else status.slow
        if lane.processes == 0:
            state = "switched off"
        else:
            state = f"ready ({lane.ready} of {lane.processes})" if lane.ready else "loading"
    return {
        "language": language,
        "voice": voice,
        "engine": engine_version(voice),
        "lane": lane_of(voice),
        "state": state,
    }
