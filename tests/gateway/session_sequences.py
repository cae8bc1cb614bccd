"""Hypothesis strategies for what a client of a session may send, and in which order.

A sequence is a list of steps. Most steps are frames, so that a test that knows only frames takes
those; the others are what a client does besides.
"""

from __future__ import annotations

import json
import random
from typing import Any, Final, Literal, TypeVar

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.gateway.malformed import json_values

T = TypeVar("T")


class Pause(msgspec.Struct, frozen=True):
    """Send nothing for a while."""

    seconds: float


class Lose(msgspec.Struct, frozen=True):
    """Lose the connection without a goodbye."""

    then: Literal["begin", "resume", "take over"]
    """A new session, or the same one by its token; `take over`: before the connection is lost."""


Frame = str | bytes
Step = Frame | Pause | Lose
Steps = list[Step]

_LONG: Final = "word " * 2000
_WORDS: Final = (
    *("house", "garden", "room", "kitchen", "street", "window", "balcony", "harbour", "door"),
    *("quiet", "old", "large", "sunny", "free", "red", "warm", "late", "small", "new", "blue"),
)
_ids: Final = st.sampled_from(["a", "b", "c"])
_numbers: Final = st.sampled_from([0, 1, 150.5, 10**6])
_offsets: Final = _numbers | json_values
_heard: Final = _numbers | st.integers(0, 4000)
_sizes: Final = st.integers(3, 20)
_between: Final = st.sampled_from(["nothing", "nothing", "other", "frame"])
_ends: Final = st.sampled_from([("flush",), ("flush", "end"), ("end",), ("end",), ()])
_perhaps: Final = st.booleans()


def _sentence(seed: int) -> str:
    dice = random.Random(seed)
    return " ".join(dice.choices(_WORDS, k=dice.randint(3, 7))).capitalize() + "."


sentences: Final = st.integers(0, 2**40).map(_sentence)
"""Short ones, of which few come again."""


def weighted(*choices: tuple[int, SearchStrategy[T]]) -> SearchStrategy[T]:
    """One of them, each so often. `one_of` takes what is given twice once, and what is a choice
    itself as so many."""
    each = [strategy for weight, strategy in choices for _ in range(weight)]
    return st.sampled_from(each).flatmap(lambda strategy: strategy)


def commands_of(texts: SearchStrategy[str]) -> SearchStrategy[dict[str, Any]]:
    """Single commands, most of them good, with those texts or with any."""
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("synthesize"), "text": texts | st.text(max_size=60)},
            optional={
                "language": st.sampled_from(["en", "es", "zh", "auto", "fr", "x"]) | json_values,
                "format": st.sampled_from(["mp3", "wav", "pcm_8000", "nothing"]) | json_values,
                "enable_caching": st.booleans() | json_values,
                "optimize_for_speed": st.booleans(),
                "stream": st.booleans(),
                "utterance_id": _ids | json_values,
                "command_id": st.text(min_size=1, max_size=70),
            },
        ),
        st.fixed_dictionaries(
            {"type": st.just("text"), "text": texts | st.text(max_size=30) | st.just(_LONG)},
            optional={"utterance_id": _ids | json_values, "command_id": st.text(max_size=3)},
        ),
        st.fixed_dictionaries(
            {"type": st.just("interrupt")},
            optional={"playback_offset_ms": _offsets, "utterance_id": _ids | json_values},
        ),
        st.fixed_dictionaries(
            {"type": st.just("playback"), "utterance_id": _ids, "offset_ms": _offsets}
        ),
        st.fixed_dictionaries(
            {"type": st.just("configure")},
            optional={
                "voice_agent_id": st.sampled_from(["agent_123", "nobody"]) | json_values,
                "language": st.sampled_from(["en", "es", "auto", "x"]) | json_values,
                "format": st.sampled_from(["mp3", "pcm_8000", "nothing"]) | json_values,
                "audio_encoding": st.sampled_from(["hex", "base64", "binary", "morse"])
                | json_values,
            },
        ),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["flush", "end"])},
            optional={"utterance_id": _ids | json_values, "command_id": st.text(max_size=64)},
        ),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["ping", "get_stats"])},
            optional={"command_id": st.text(max_size=64)},
        ),
    )


def frames_of(texts: SearchStrategy[str]) -> SearchStrategy[Frame]:
    """Single frames: commands, what is almost one, and what is none."""
    names = st.text(max_size=8) | st.sampled_from(["text", "type", "format", "command_id"])
    commands = commands_of(texts) | st.dictionaries(names, json_values, max_size=4)
    return st.one_of(
        commands.map(json.dumps),
        commands.map(lambda command: json.dumps(command, ensure_ascii=False)).filter(
            lambda frame: not any("\ud800" <= c <= "\udfff" for c in frame)
        ),
        st.text(max_size=80),
        st.binary(max_size=80),
    )


@st.composite
def written(
    draw: st.DrawFn,
    texts: SearchStrategy[str],
    frames: SearchStrategy[Frame],
    others: SearchStrategy[Pause | Lose],
) -> Steps:
    """A text that arrives in tokens, mostly whole, with some kind of end or none, and then one of
    `others`."""
    text, name = draw(texts), draw(_ids)
    size = draw(_sizes)
    tokens = [text[at : at + size] for at in range(0, len(text), size)]
    steps: Steps = [
        json.dumps({"type": "text", "text": token, "utterance_id": name}) for token in tokens
    ]
    match draw(_between):
        case "other":
            steps.insert(draw(st.integers(1, len(steps))), draw(others))
        case "frame":
            steps.insert(draw(st.integers(1, len(steps))), draw(frames))
    for kind in draw(_ends):
        steps.append(json.dumps({"type": kind}))
    return [*steps, draw(others)]


@st.composite
def interrupted(draw: st.DrawFn, others: SearchStrategy[Pause | Lose]) -> Steps:
    """An interruption that knows something, or nothing, of what was heard, mostly after a while."""
    command: dict[str, Any] = {"type": "interrupt"}
    if draw(_perhaps):
        command["playback_offset_ms"] = draw(_heard)
    if draw(_perhaps):
        command["utterance_id"] = draw(_ids)
    return [draw(others), json.dumps(command)]


def sequences_of(
    texts: SearchStrategy[str], others: SearchStrategy[Pause | Lose], *, turns: int
) -> SearchStrategy[Steps]:
    """So many turns: a frame, a text in tokens, a text to stream, an interruption, or `others`,
    which is what a client does besides sending frames."""
    alone = frames_of(texts)
    streamed = texts.map(lambda text: {"type": "synthesize", "text": text, "stream": True})
    turn: SearchStrategy[Steps] = weighted(
        (3, alone.map(lambda frame: [frame])),
        (4, written(texts, alone, others)),
        (2, streamed.map(lambda command: [json.dumps(command)])),
        (1, interrupted(others)),
        (1, others.map(lambda step: [step])),
    )
    return st.lists(turn, min_size=turns, max_size=turns).map(
        lambda found: [step for steps in found for step in steps]
    )


def made(strategy: SearchStrategy[T], count: int) -> list[T]:
    """So many examples, always the same. All are made before one is used: Hypothesis allows no
    other thread to use `random` meanwhile."""
    found: list[T] = []

    @settings(
        deadline=None,
        database=None,
        derandomize=True,
        max_examples=count,
        suppress_health_check=list(HealthCheck),
    )
    @given(example=strategy)
    def make(example: T) -> None:
        found.append(example)

    make()
    return found
