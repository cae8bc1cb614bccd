"""The worker: `python -m workers.main [--burst]`, or arq's own `arq workers.main.WorkerSettings`.

The first also starts arq's loop anew when an outage of the database ended it. Any number of workers
may run; what one that was killed had begun, the others bring to an end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import orjson
import structlog
from arq.worker import Worker, func

from core.embedded import with_default_places
from core.errors import ConfigurationError
from core.jobs import BULK_VOICE_SYNTHESIS, PREGENERATE_AGENT_VOICES, decode, encode
from core.log import configure_logging
from core.redis import Keys
from core.settings import Settings, load_settings
from core.settings_check import time_zone_of
from workers.bulk import longest_run_s
from workers.queue import open_queue
from workers.schedule import cron_jobs
from workers.works import (
    MOST_TRIES,
    WORKS,
    Context,
    Works,
    bulk_voice_synthesis,
    open_works,
    pregenerate_agent_voices,
    voice_cache_maintenance,
    warm_up_voices,
)

_RUNS: Final = 8
"""Runs of different jobs at once; together they speak no more texts than the setting allows."""
_RUN_MARGIN_S: Final = 60
"""What arq gives a run beyond its own bound, so that whoever cancels one is a worker that ends."""
_POLL_S: Final = 0.25
_END_S: Final = 10.0
_PAUSE_S: Final = 1.0
_HEALTH_S: Final = 30

_log = structlog.get_logger("seiketsu.workers")


def run(*, burst: bool = False) -> int:
    """Work until SIGTERM or Ctrl-C, or with `burst` until the queue is empty; the exit code."""
    try:
        settings = with_default_places(load_settings(os.environ))
    except ConfigurationError as error:
        sys.stderr.write(f"worker: {error.message}\n")
        return 1
    configure_logging(settings.log_level, orjson.dumps)
    asyncio.run(serve(settings, burst=burst))
    return 0


async def serve(settings: Settings, *, burst: bool = False) -> None:
    """The same in a running event loop; takes SIGTERM and SIGINT over."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    try:
        async with open_works(settings) as works:
            _log.info("worker_ready", concurrency=settings.jobs.concurrency)
            waiting = asyncio.create_task(ending.wait(), name="worker-end")
            try:
                while not ending.is_set() and not await _once(settings, works, waiting, burst):
                    await asyncio.wait([waiting], timeout=_PAUSE_S)
            finally:
                waiting.cancel()
                await asyncio.wait([waiting])
            _log.info("worker_ended")
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _once(settings: Settings, works: Works, ending: asyncio.Task[Any], burst: bool) -> bool:
    """Run arq's loop until it ends. Whether that was meant: a signal, or a burst that is over."""
    pool = open_queue(settings.redis.state_url)
    worker = Worker(
        **_options(settings),
        redis_pool=pool,
        handle_signals=False,
        burst=burst,
        ctx={WORKS: works},
    )
    main = asyncio.create_task(worker.async_run(), name="arq")
    try:
        await asyncio.wait([main, ending], return_when=asyncio.FIRST_COMPLETED)
        if not main.done() or main.cancelled():
            return True
        error = main.exception()
        if error is None:
            return True
        # arq's loop ends with whatever a command or a task of its own raised.
        _log.warning("worker_starts_anew", error_type=type(error).__name__)
        return False
    finally:
        await _end(worker, main)
        await pool.aclose()


async def _end(worker: Worker, main: asyncio.Task[Any]) -> None:
    """Cancel the runs, which give their texts back, and wait for them a little."""
    tasks: list[asyncio.Task[Any]] = [main, *worker.tasks.values()]
    if worker.main_task is not None:
        tasks.append(worker.main_task)
    for task in tasks:
        task.cancel()
    _, late = await asyncio.wait(tasks, timeout=_END_S)
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            _log.debug("arq_task_ended", error_type=type(error).__name__)
    if late:
        _log.warning("runs_do_not_end", tasks=len(late))


def _options(settings: Settings) -> dict[str, Any]:
    timeout_s = longest_run_s(settings) + _RUN_MARGIN_S
    tries: dict[str, Any] = {"timeout": timeout_s, "keep_result": 0, "max_tries": MOST_TRIES}
    return {
        "functions": [
            func(bulk_voice_synthesis, name=BULK_VOICE_SYNTHESIS, **tries),
            func(pregenerate_agent_voices, name=PREGENERATE_AGENT_VOICES, **tries),
        ],
        "cron_jobs": cron_jobs(voice_cache_maintenance, warm_up_voices),
        "timezone": time_zone_of(settings.jobs.time_zone),
        "queue_name": Keys.queue(),
        "job_serializer": encode,
        "job_deserializer": decode,
        "max_jobs": _RUNS,
        "job_timeout": timeout_s,
        "keep_result": 0,
        "poll_delay": _POLL_S,
        "health_check_interval": _HEALTH_S,
        "log_results": False,
    }


def worker_settings(settings: Settings) -> type:
    """What arq's own command line takes; it has one try at its loop."""
    settings = with_default_places(settings)

    async def start(ctx: Context) -> None:
        configure_logging(settings.log_level, orjson.dumps)
        stack = ctx["stack"] = AsyncExitStack()
        ctx[WORKS] = await stack.enter_async_context(open_works(settings))
        _log.info("worker_ready", concurrency=settings.jobs.concurrency)

    async def stop(ctx: Context) -> None:
        await ctx["stack"].aclose()

    options = {
        **_options(settings),
        "redis_pool": open_queue(settings.redis.state_url),
        "on_startup": start,
        "on_shutdown": stop,
    }
    return type("WorkerSettings", (), options)


def __getattr__(name: str) -> Any:
    # Made when arq asks for it, for importing this module reads no environment.
    if name == "WorkerSettings":
        return worker_settings(load_settings(os.environ))
    raise AttributeError(name)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workers.main", description="Speak jobs.")
    parser.add_argument("--burst", action="store_true", help="end when the queue is empty")
    return run(burst=parser.parse_args(arguments).burst)


if __name__ == "__main__":
    sys.exit(main())
