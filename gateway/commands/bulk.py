"""`bulk` and `pregenerate`: many texts, at once or as a job in the background."""

from __future__ import annotations

import argparse
import asyncio
import base64
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from core.audio.formats import resolve
from gateway.client import GatewayClient, open_client
from gateway.commands.base import OK, WRONG, CommandFailed, Commands, Context, table
from gateway.commands.jobs import item_row, job_path, whole_job

_FOREGROUND: Final = 20
"""Up to this many texts are spoken while the caller waits for the reply."""
_ENDED: Final = ("done", "failed", "cancelled")
_POLL_S: Final = 0.5
_LONGEST_JOB_S: Final = 6 * 3600.0
_SPEECH_S: Final = 700.0
_DOWNLOADS: Final = 8
"""Files that are fetched at once."""


def add(commands: Commands) -> None:
    """Add them."""
    bulk = commands.add(
        "bulk",
        _bulk,
        'Have many texts spoken: a .txt file with one a line, or a .jsonl file with {"text": ...} '
        f"a line. Up to {_FOREGROUND} at once; more become a job in the background.",
        "seiketsu bulk greetings.txt --out audio",
    )
    bulk.add_argument("file", type=Path, metavar="FILE")
    bulk.add_argument("--agent", default="agent_123", help="the voice agent (agent_123)")
    bulk.add_argument("--language", help="en, es, zh or auto (auto)")
    bulk.add_argument("--format", default="mp3", help="such as wav or mp3_44100_128 (mp3)")
    bulk.add_argument("--out", type=Path, metavar="DIR", help="save the audio there")
    bulk.add_argument("--background", action="store_true", help="a job, however few texts")
    bulk.add_argument("--no-wait", action="store_true", help="start the job and print its id")
    pregenerate = commands.add(
        "pregenerate",
        _pregenerate,
        "Speak an agent's phrases ahead, in the background, so that they are answered at once.",
        "seiketsu pregenerate agent_123 --language en",
    )
    pregenerate.add_argument("agent", metavar="AGENT")
    pregenerate.add_argument("--language", help="en, es or zh; else every language of the agent")
    pregenerate.add_argument("--no-wait", action="store_true", help="start it and print its id")


def _bulk(context: Context, options: argparse.Namespace, _: list[str]) -> int:
    texts = texts_of(options.file)
    return asyncio.run(_speak_all(context, options, texts))


def texts_of(path: Path) -> list[str]:
    """The texts of a file; empty lines are none.

    Raises:
        CommandFailed: it cannot be read, or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CommandFailed(f"{path} cannot be read: {reason}.") from error
    texts = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if path.suffix == ".jsonl":
            try:
                tree = msgspec.json.decode(line)
                line = tree if isinstance(tree, str) else tree["text"]
            except (msgspec.DecodeError, KeyError, TypeError) as error:
                raise CommandFailed(f"{path}, line {number}: no JSON with a `text`.") from error
        texts.append(line.strip())
    if not texts:
        raise CommandFailed(f"{path} holds no text.")
    return texts


async def _speak_all(context: Context, options: argparse.Namespace, texts: list[str]) -> int:
    background = options.background or options.no_wait or len(texts) > _FOREGROUND
    body: dict[str, Any] = {
        "texts": texts,
        "voice_agent_id": options.agent,
        "format": options.format,
        "background_processing": background,
    }
    if options.language:
        body["language"] = options.language
    path = "/streaming/synthesize/bulk"
    async with open_client(context.settings()) as client:
        reply = await client.call("POST", path, body, timeout_s=_SPEECH_S)
        if background:
            if options.no_wait:
                context.terminal.show(reply, reply["job_id"])
                return OK
            await _follow(context, client, reply["job_id"], reply["total"])
            job, items = await whole_job(client, reply["job_id"])
            reply = {**job, "results": items}
        items = reply["results"]
        if options.out is not None:
            await _save(client, items, options.out, resolve(options.format, 128).extension)
    heads = ("text", "status", "audio", "duration", "cached", "spoken by", "error")
    context.terminal.show(reply, table(heads, [item_row(item) for item in items]))
    context.terminal.say(f"{reply['succeeded']} of {reply['total']} texts are spoken.")
    return OK if reply["succeeded"] == reply["total"] else WRONG


async def _follow(context: Context, client: GatewayClient, job_id: str, total: int) -> None:
    """Wait until a job has ended, and show how far it is.

    Raises:
        CommandFailed: it takes too long, or the gateway refuses.
    """
    terminal = context.terminal
    terminal.say(f"Job {job_id}: {total} texts. Ctrl-C leaves it running.")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = terminal.err.is_terminal and not terminal.as_json
    until_s = time.monotonic() + _LONGEST_JOB_S
    with Progress(*columns, console=terminal.err, transient=True, disable=not shown) as bar:
        task = bar.add_task("queued", total=total)
        while time.monotonic() < until_s:
            job = await client.call("GET", job_path(job_id), params={"limit": "1"})
            ended = job["succeeded"] + job["failed"] + job["cancelled"]
            bar.update(task, completed=ended, description=job["status"])
            if job["status"] in _ENDED:
                return
            await asyncio.sleep(_POLL_S)
    raise CommandFailed(f"Job {job_id} has not ended.", f"See `seiketsu jobs show {job_id}`.")


async def _save(
    client: GatewayClient, items: list[dict[str, Any]], folder: Path, ending: str
) -> None:
    """Write each audio as `0001.mp3` and so on; the items learn their files.

    Raises:
        CommandFailed: an audio cannot be fetched or written.
    """
    places = asyncio.Semaphore(_DOWNLOADS)

    async def fetch(item: dict[str, Any]) -> None:
        inline = item.pop("audio_base64", None)
        if inline is not None:
            audio = base64.b64decode(inline)
        else:
            async with places:
                audio = await client.bytes_of(item["audio_url"])
        path = folder / f"{item['index'] + 1:04}.{ending}"
        await asyncio.to_thread(path.write_bytes, audio)
        item["file"] = str(path)

    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as group:
            for item in items:
                if item.get("audio_url") or item.get("audio_base64"):
                    group.create_task(fetch(item))
    except OSError as error:
        raise CommandFailed(f"{folder} cannot be written: {error.strerror}.") from error
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        if isinstance(first, CommandFailed):
            raise first from failures
        if isinstance(first, OSError):
            raise CommandFailed(f"{folder} cannot be written: {first.strerror}.") from first
        raise


def _pregenerate(context: Context, options: argparse.Namespace, _: list[str]) -> int:
    return asyncio.run(_speak_ahead(context, options))


async def _speak_ahead(context: Context, options: argparse.Namespace) -> int:
    body = {"voice_agent_id": options.agent}
    if options.language:
        body["language"] = options.language
    async with open_client(context.settings()) as client:
        reply = await client.call("POST", "/streaming/pregenerate", body)
        started = reply["jobs"]
        if options.no_wait:
            context.terminal.show(reply, "\n".join(job["job_id"] for job in started))
            return OK
        ended = []
        for job in started:
            await _follow(context, client, job["job_id"], job["total"])
            ended.append(await client.call("GET", job_path(job["job_id"]), params={"limit": "1"}))
    for job in ended:
        job.pop("items", None)
    heads = ("job", "language", "status", "spoken", "failed", "of")
    names = ("job_id", "language", "status", "succeeded", "failed", "total")
    rows = [tuple(job[name] for name in names) for job in ended]
    context.terminal.show({"jobs": ended}, table(heads, rows))
    return OK if all(job["succeeded"] == job["total"] for job in ended) else WRONG
