"""Holds many sessions against one gateway process: `python -m benchmarks.sessions`.

Prints a table; exits 1 when a budget of the `sessions` block is broken. The gateway has one core to
itself; the load, the emulator, Redis and the voice server share the others. `--ci` is small;
`--write` puts the table into `benchmarks/RESULTS.md`, beside what `benchmarks.run` has written.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import uvloop

from benchmarks import budgets
from benchmarks.budgets import SessionLoad
from benchmarks.report import Row, at_most, section, with_section
from benchmarks.sessions_client import Turn
from benchmarks.sessions_load import ENVIRONMENT, MEMORY_BYTES, Found, Load, run
from benchmarks.stats import summary, tail
from benchmarks.wordcode import decode, matches_segments
from core.settings import VARIABLES, load_settings

FULL: Final = Load(1000, 120.0)
CI: Final = Load(80, 6.0, memory=False)
RESULTS: Final = Path(__file__).with_name("RESULTS.md")
SECTION: Final = "Many sessions on one process"
NEVER_MS: Final = 9e9
"""First audio of a turn that was not heard at all."""

_KINDS: Final[tuple[tuple[str, Callable[[Turn], bool]], ...]] = (
    ("common texts", lambda turn: not turn.ask.fresh and not turn.ask.written),
    ("new texts", lambda turn: turn.ask.fresh and not turn.ask.written),
    ("common texts as they are written", lambda turn: not turn.ask.fresh and turn.ask.written),
    ("new texts as they are written", lambda turn: turn.ask.fresh and turn.ask.written),
    ("en", lambda turn: turn.language == "en"),
    ("es", lambda turn: turn.language == "es"),
    ("zh", lambda turn: turn.language == "zh"),
)


def rows_of(load: Load, found: Found, limits: SessionLoad) -> list[Row]:
    """All rows; the first ones are held against budgets."""
    turns = found.turns
    judged = [(_judge(turn, coded=load.coded), turn) for turn in turns]
    firsts = [first for first, _ in judged if first is not None]
    failed = [turn.error for turn in turns if turn.error] + found.faults
    underruns = [gap for turn in turns for gap in turn.underruns_ms]
    interrupted = [turn for turn in turns if turn.interrupted_s is not None]
    answers = [turn.answered_ms or NEVER_MS for turn in interrupted]
    stray = sum(turn.stray for turn in turns)
    kept = [turn for turn in turns if turn.kept and turn.interrupted_s is None]
    what = f"{load.sessions} sessions, a turn every 5 s"
    rows = [
        at_most(
            f"{what}: first audio, ms",
            tail(firsts) if firsts else NEVER_MS,
            limits.first_audio_ms_p99,
            _shown(firsts),
        ),
        at_most(f"{what}: failed turns", len(failed), limits.errors, _causes(failed)),
        at_most(
            f"{what}: underruns over 300 ms",
            len(underruns),
            limits.underruns,
            f"{len(underruns)}" + (f", longest {max(underruns):.0f} ms" if underruns else ""),
        ),
        at_most(
            f"{what}: audio frames after an interruption was answered",
            stray,
            limits.frames_after_interruption,
            f"{stray} (n={len(interrupted)} interruptions)",
        ),
    ]
    for name, chosen in _KINDS:
        some = [first for first, turn in judged if first is not None and chosen(turn)]
        if some:
            rows.append(_told(f"first audio, {name}, ms", _shown(some)))
    if answers:
        rows.append(_told("interruption answered, ms", _shown(answers)))
    proven = "turns decoded whole" + (", every word once and in order" if load.coded else "")
    rows.append(_told(proven, f"{len(kept)}"))
    return rows + _costs(load, found, limits)


def circumstances() -> str:
    """Under which settings the sessions are held, where they are not the defaults."""
    defaults = load_settings({})
    told = []
    for name, value in ENVIRONMENT.items():
        branch, field = VARIABLES[name]
        of = getattr(defaults, branch) if branch else defaults
        told.append(f"{name}={value} (default {getattr(of, field)})")
    return (
        f"Settings other than the defaults: {', '.join(told)}. "
        "A context at the provider holds one clause of an utterance."
    )


def _costs(load: Load, found: Found, limits: SessionLoad) -> list[Row]:
    turns, seconds = max(1, len(found.turns)), max(0.001, found.seconds)
    core = "a core of its own" if found.pinned else "a shared core"
    late = [turn.late_ms for turn in found.turns] or [0.0]
    rows = [
        _told(
            "gateway: CPU per turn, ms",
            f"{found.gateway_cpu_s * 1000 / turns:.2f} (n={len(found.turns)}; "
            f"{found.gateway_cpu_s / seconds:.0%} of {core})",
        ),
        _told(
            "gateway: event loop had work and no core (others had it), share of the time",
            f"{found.gateway_queued_s / seconds:.1%}",
        ),
        _told("load: turns asked later than due, ms", summary(late)),
        _told("load: share of a core", f"{found.load_cpu_s / seconds:.0%}"),
    ]
    return rows + (_memory(load, found, limits) if load.memory else [])


def _memory(load: Load, found: Found, limits: SessionLoad) -> list[Row]:
    megabyte, kilobyte = 2**20, 2**10
    quiet = (found.rss_quiet - found.rss_before) / load.sessions / kilobyte
    idle = (found.rss_idle - found.rss_before) / load.sessions / kilobyte
    points = (found.rss_before, found.rss_quiet, found.rss_idle)
    return [
        _told("gateway: memory of a quiet session, KB", f"{quiet:.1f} (n={load.sessions})"),
        at_most(
            "gateway: memory of a session idle after the run, KB",
            idle,
            limits.idle_kb,
            f"{idle:.1f} (n={load.sessions}; its cache of {MEMORY_BYTES / megabyte:.0f} MB was "
            "filled before)",
        ),
        _told(
            "gateway: memory before / with quiet / with idle sessions, MB",
            " / ".join(f"{rss / megabyte:.0f}" for rss in points),
        ),
    ]


def _judge(turn: Turn, *, coded: bool) -> float | None:
    """The turn's first audio in ms; whatever is wrong with its audio becomes its `error`.

    None: it was interrupted before any was due.
    """
    listening = turn.listening()
    first_ms = listening.first_audio_ms
    if first_ms is None:
        if turn.interrupted_s is not None and turn.error is None:
            return None
        turn.error = turn.error or "nothing audible"
        return NEVER_MS
    if turn.kept and turn.interrupted_s is None and turn.error is None:
        if listening.error is not None:
            turn.error = listening.error
        elif coded and turn.provider == "elevenlabs":
            heard = decode(listening.pcm, listening.rate_hz)
            if not matches_segments(turn.ask.text, heard).ok:
                turn.error = "the words heard are not those of the text"
    return first_ms


def _shown(values: Sequence[float]) -> str:
    return summary(values).replace(f"{NEVER_MS:.1f}", "never") if values else "none"


def _causes(failed: Sequence[str | None]) -> str:
    counts = {cause: failed.count(cause) for cause in dict.fromkeys(failed)}
    causes = ", ".join(f"{cause}: {count}" for cause, count in counts.items())
    return f"{len(failed)}" + (f" ({causes})" if causes else "")


def _told(what: str, shown: str) -> Row:
    """A figure without a budget."""
    return Row(what, shown, "", True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold the sessions, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=FULL.sessions)
    parser.add_argument("--seconds", type=float, default=FULL.seconds, help="of asking")
    parser.add_argument("--seed", type=int, default=FULL.seed, help="of texts and interruptions")
    parser.add_argument("--ci", action="store_true", help="few sessions, a short time")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md")
    options = parser.parse_args(arguments)
    load = CI if options.ci else Load(options.sessions, options.seconds, options.seed)
    began = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(load))
    rows = rows_of(load, found, budgets.load().sessions)
    command = f"python -m benchmarks.sessions --sessions {load.sessions} --seconds {load.seconds:g}"
    text = section(SECTION, rows, command, time.monotonic() - began, circumstances())
    print(text)
    if options.write:
        RESULTS.write_text(with_section(RESULTS.read_text(), SECTION, text))
    broken = [row.what for row in rows if not row.kept]
    for what in broken:
        print(f"over budget: {what}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
