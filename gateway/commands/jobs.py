"""`jobs`: what runs in the background for the caller, and who works on it."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any, Final
from urllib.parse import quote

from gateway.client import GatewayClient, open_client
from gateway.commands.base import OK, Commands, Context, Misuse, table

PAGE: Final = 100
"""Items of a job that are asked for at once, and jobs that are listed."""
STATUSES: Final = ("queued", "running", "done", "failed", "cancelled")


def add(commands: Commands) -> None:
    """Add it."""
    jobs = commands.add(
        "jobs",
        _jobs,
        "List jobs (active, queued and done), show, cancel or remove one; list workers.",
        "seiketsu jobs list",
    )
    jobs.add_argument("action", nargs="?", choices=tuple(_ACTIONS), default="list")
    jobs.add_argument("id", nargs="?", metavar="ID", help="the job; needed unless listing")
    jobs.add_argument("--status", choices=STATUSES, help="list those alone")


def _jobs(context: Context, options: argparse.Namespace, _: list[str]) -> int:
    if options.action in _OF_ONE and not options.id:
        raise Misuse(f"Which job? seiketsu jobs {options.action} ID")
    return asyncio.run(_ACTIONS[options.action](context, options))


async def _list(context: Context, options: argparse.Namespace) -> int:
    async with open_client(context.settings()) as client:
        jobs, total = await _jobs_of(client, options.status)
    heads = ("job", "kind", "agent", "status", "done", "failed", "of", "age")
    shown = jobs[:PAGE]
    context.terminal.show({"jobs": shown, "total": total}, table(heads, [_row(j) for j in shown]))
    if total > len(shown):
        context.terminal.say(f"{len(shown)} of {total} jobs, the newest.")
    return OK


async def _jobs_of(client: GatewayClient, status: str | None) -> tuple[list[dict[str, Any]], int]:
    """The newest jobs, `PAGE` at the least if there are so many, and how many there are in all."""
    jobs: list[dict[str, Any]] = []
    offset = 0
    while True:
        params = {"offset": str(offset), "limit": str(PAGE)}
        found = await client.call("GET", "/jobs", params=params)
        jobs += [job for job in found["jobs"] if status in (None, job["status"])]
        offset += PAGE
        if status is None:
            return jobs, found["total"]
        if offset >= found["total"]:
            return jobs, len(jobs)


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


async def _remove(context: Context, options: argparse.Namespace) -> int:
    async with open_client(context.settings()) as client:
        await client.call("DELETE", job_path(options.id), params={"remove": "true"})
    context.terminal.show({"removed": options.id}, f"{options.id} and its audio are removed.")
    return OK


async def _workers(context: Context, _: argparse.Namespace) -> int:
    async with open_client(context.settings()) as client:
        found = await client.call("GET", "/streaming/health/detailed")
    workers = [one for one in found["processes"] if one["kind"] == "worker"]
    heads = ("host", "process", "since", "texts ended", "at jobs", "yours")
    rows = [
        (
            *(one["host"], one["process_id"], one["started_at"], one["requests"]),
            *(one["jobs_under_way"], " ".join(one["jobs"])),
        )
        for one in workers
    ]
    context.terminal.show({"workers": workers}, table(heads, rows))
    if not workers:
        context.terminal.say("No worker told of itself; `seiketsu worker` starts one.")
    return OK


_ACTIONS: Final = {
    "list": _list,
    "show": _show,
    "cancel": _cancel,
    "remove": _remove,
    "workers": _workers,
}
_OF_ONE: Final = ("show", "cancel", "remove")


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
