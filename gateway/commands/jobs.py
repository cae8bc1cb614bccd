"""`jobs`: what runs in the background for the caller: list, show, cancel."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any, Final
from urllib.parse import quote

from gateway.client import GatewayClient, open_client
from gateway.commands.base import OK, Commands, Context, Misuse, table

PAGE: Final = 100
"""Items of a job that are asked for at once."""


def add(commands: Commands) -> None:
    """Add it."""
    jobs = commands.add(
        "jobs",
        _jobs,
        "List jobs (active, queued and done), show one, or cancel one.",
        "seiketsu jobs list",
    )
    jobs.add_argument("action", nargs="?", choices=("list", "show", "cancel"), default="list")
    jobs.add_argument("id", nargs="?", metavar="ID", help="the job; needed unless listing")


def _jobs(context: Context, options: argparse.Namespace, _: list[str]) -> int:
    if options.action != "list" and not options.id:
        raise Misuse(f"Which job? seiketsu jobs {options.action} ID")
    return asyncio.run(_ACTIONS[options.action](context, options))


async def _list(context: Context, _: argparse.Namespace) -> int:
    async with open_client(context.settings()) as client:
        found = await client.call("GET", "/jobs", params={"limit": str(PAGE)})
    heads = ("job", "kind", "agent", "status", "done", "failed", "of", "age")
    rows = [_row(job) for job in found["jobs"]]
    context.terminal.show(found, table(heads, rows))
    return OK


async def _show(context: Context, options: argparse.Namespace) -> int:
    async with open_client(context.settings()) as client:
        job, items = await whole_job(client, options.id)
    heads = ("text", "status", "audio", "duration", "cached", "spoken by", "error")
    context.terminal.show({**job, "items": items}, table(heads, [item_row(i) for i in items]))
    context.terminal.say(f"{job['status']}: {job['succeeded']} of {job['total']} spoken.")
    return OK


async def _cancel(context: Context, options: argparse.Namespace) -> int:
    async with open_client(context.settings()) as client:
        await client.call("DELETE", job_path(options.id))
    context.terminal.show({"cancelled": options.id}, f"{options.id} is cancelled.")
    return OK


_ACTIONS: Final = {"list": _list, "show": _show, "cancel": _cancel}


def job_path(job_id: str) -> str:
    """The path of a job below `/api/v1/voice`."""
    return f"/jobs/{quote(job_id, safe='')}"


async def whole_job(
    client: GatewayClient, job_id: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A job and all of its items.

    Raises:
        CommandFailed: the gateway refuses.
    """
    items: list[dict[str, Any]] = []
    while True:
        params = {"offset": str(len(items)), "limit": str(PAGE)}
        job = await client.call("GET", job_path(job_id), params=params)
        page = job.pop("items")
        items += page
        if not page or len(items) >= job["total"]:
            return job, items


def item_row(item: dict[str, Any]) -> tuple[object, ...]:
    """One text of a job or of a bulk reply, as a row of a table."""
    duration_ms, error = item.get("duration_ms"), item.get("error") or {}
    cached = {True: "yes", False: "no"}.get(item.get("cached"))  # type: ignore[arg-type]
    return (
        *(item["index"], item["status"], item.get("file") or item.get("audio_url")),
        None if duration_ms is None else f"{duration_ms / 1000:.1f} s",
        *(cached, item.get("provider"), error.get("code")),
    )


def _row(job: dict[str, Any]) -> tuple[object, ...]:
    age_s = max(0.0, time.time() - job["created_unix_s"])
    age = f"{age_s:.0f} s" if age_s < 120 else f"{age_s / 60:.0f} min"
    return (
        *(job["job_id"], job["kind"], job["voice_agent_id"], job["status"]),
        *(job["succeeded"], job["failed"], job["total"], age),
    )
