"""`agents`: list, show, set and delete voice agents of the running gateway."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any, Final
from urllib.parse import quote

from core.agents import PROFILES
from gateway.client import open_client
from gateway.commands.base import OK, CommandFailed, Commands, Context, Misuse, table

_NUMBERS: Final = ("stability", "similarity_boost", "style", "speed")
_SETTINGS: Final = ("profile", "voice_id", *_NUMBERS, "language_preferences")


def add(commands: Commands) -> None:
    """Add it."""
    agents = commands.add(
        "agents",
        _agents,
        "List, show, set or delete voice agents.",
        "seiketsu agents set agent_7 --name Mira --profile friendly_female --languages es,en",
    )
    actions = ("list", "show", "set", "delete")
    agents.add_argument("action", nargs="?", choices=actions, default="list")
    agents.add_argument("id", nargs="?", metavar="ID", help="the agent; needed unless listing")
    new = agents.add_argument_group("set", "what is left out stays as it is")
    new.add_argument("--name", help="for people")
    new.add_argument("--profile", choices=list(PROFILES))
    new.add_argument("--voice-id", help="the provider's voice, instead of the profile's")
    for name in _NUMBERS:
        new.add_argument(f"--{name.replace('_', '-')}", type=float)
    new.add_argument("--languages", help="what it may speak, the preferred one first: es,en")


def _agents(context: Context, options: argparse.Namespace, _: list[str]) -> int:
    if options.action != "list" and not options.id:
        raise Misuse(f"Which agent? seiketsu agents {options.action} ID")
    return asyncio.run(_ACTIONS[options.action](context, options))


async def _list(context: Context, _: argparse.Namespace) -> int:
    async with open_client(context.settings()) as client:
        found = await client.call("GET", "/agents")
    rows = [_row(agent) for agent in found["agents"]]
    context.terminal.show(found, table(("id", "name", "profile", "languages", "revision"), rows))
    return OK


async def _show(context: Context, options: argparse.Namespace) -> int:
    async with open_client(context.settings()) as client:
        agent = await client.call("GET", _path(options.id))
    _show_one(context, agent)
    return OK


async def _set(context: Context, options: argparse.Namespace) -> int:
    given = {name: getattr(options, name, None) for name in _SETTINGS}
    if options.languages:
        given["language_preferences"] = [one.strip() for one in options.languages.split(",")]
    body: dict[str, Any] = {
        "voice_settings": {name: value for name, value in given.items() if value is not None}
    }
    if options.name:
        body["name"] = options.name
    async with open_client(context.settings()) as client:
        try:
            agent = await client.call("PATCH", _path(options.id), body)
        except CommandFailed as failure:
            if failure.code != "agent_not_found":
                raise
            new = {"name": options.id, **body, "id": options.id}
            agent = await client.call("POST", "/agents", new)
    _show_one(context, agent)
    return OK


async def _delete(context: Context, options: argparse.Namespace) -> int:
    async with open_client(context.settings()) as client:
        await client.call("DELETE", _path(options.id))
    context.terminal.show({"deleted": options.id}, f"{options.id} is deleted.")
    return OK


_ACTIONS: Final = {"list": _list, "show": _show, "set": _set, "delete": _delete}


def _path(agent_id: str) -> str:
    return f"/agents/{quote(agent_id, safe='')}"


def _row(agent: dict[str, Any]) -> tuple[object, ...]:
    voice = agent["voice_settings"]
    languages = ", ".join(voice["language_preferences"])
    return (agent["id"], agent["name"], voice["profile"], languages, agent["revision"])


def _show_one(context: Context, agent: dict[str, Any]) -> None:
    voice = agent["voice_settings"]
    rows = [("id", agent["id"]), ("name", agent["name"]), ("revision", agent["revision"])]
    rows += [(name, voice.get(name)) for name in _SETTINGS[:-1]]
    rows.append(("languages", ", ".join(voice["language_preferences"])))
    seen = table(("", ""), rows)
    seen.show_header = False
    context.terminal.show(agent, seen)
