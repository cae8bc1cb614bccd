"""An interruption: what was heard, what was not, and nothing more of the old turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.conversation.playout import GRACE_S
from tests.conversation.speaker import WORD_MS, FakeSpeaker, Talking

TEXT = "one two three four five"


@pytest.fixture
def speaker() -> FakeSpeaker:
    return FakeSpeaker()


@pytest.fixture
async def talking(speaker: FakeSpeaker) -> AsyncIterator[Talking]:
    async with Talking(speaker) as talking:
        yield talking


async def started(talking: Talking, chunks: int) -> None:
    await talking.say("synthesize", text=TEXT, stream=True, utterance_id="a")
    await talking.until("audio_chunk", chunks)


def split(event: dict[str, object]) -> tuple[object, object]:
    return event["spoken_text"], event["remaining_text"]


async def test_what_was_heard_is_told_by_the_clock(talking: Talking) -> None:
    await started(talking, 5)
    talking.clock.pass_ms(2 * WORD_MS + 10)
    await talking.say("interrupt", command_id="i")
    event = await talking.until("interrupted")
    assert split(event) == ("one two ", "three four five")
    assert (event["utterance_id"], event["offset_ms"], event["estimated"]) == ("a", 410, False)
    assert talking.types()[-1] == "accepted"
    assert talking.events[-1]["command_id"] == "i"
    assert talking.state.sent == []


@pytest.mark.parametrize(
    ("offset_ms", "spoken"),
    [(0, ""), (90, ""), (110, "one "), (690, "one two three "), (99_999, TEXT)],
)
async def test_the_offset_of_the_client_counts(
    talking: Talking, offset_ms: int, spoken: str
) -> None:
    await started(talking, 5)
    talking.clock.pass_ms(300)
    await talking.say("interrupt", playback_offset_ms=offset_ms)
    event = await talking.until("interrupted")
    assert split(event) == (spoken, TEXT[len(spoken) :])
    assert event["offset_ms"] == min(offset_ms, 1000)


async def test_a_report_is_run_on(talking: Talking) -> None:
    await started(talking, 5)
    talking.clock.pass_ms(900)
    await talking.say("playback", utterance_id="a", offset_ms=200)
    talking.clock.pass_ms(WORD_MS)
    await talking.say("interrupt")
    assert split(await talking.until("interrupted")) == ("one two ", "three four five")


async def test_audio_that_was_not_sent_was_not_heard(
    talking: Talking, speaker: FakeSpeaker
) -> None:
    await talking.say("text", text="one two three", utterance_id="a")
    await talking.until("audio_chunk", 2)
    await talking.say("interrupt", playback_offset_ms=5000)
    assert split(await talking.until("interrupted")) == ("one two ", "three")


async def test_every_utterance_that_was_not_heard_out_is_told_in_order(talking: Talking) -> None:
    await started(talking, 5)
    await talking.say("synthesize", text="six seven", command_id="plain")
    await talking.say("text", text="eight nine", utterance_id="c")
    await talking.until("audio_response")
    await talking.say("interrupt")
    await talking.until("accepted")
    found = [(e["utterance_id"], *split(e)) for e in talking.of("interrupted")]
    assert found == [("a", "", TEXT), ("u2", "", "six seven"), ("c", "", "eight nine")]
    assert talking.of("interrupted")[1]["command_id"] == "plain"
    await talking.say("get_stats")
    stats = await talking.until("session_stats")
    assert (stats["requests"], stats["served"], stats["interrupted"]) == (3, 2, 1)
    assert stats["waiting"] == 0


async def test_the_second_is_heard_after_the_first(talking: Talking) -> None:
    await started(talking, 5)
    await talking.say("synthesize", text="six seven eight", stream=True, utterance_id="b")
    await talking.until("speech_finished", 2)
    talking.clock.pass_ms(1000 + WORD_MS + 10)
    await talking.say("interrupt")
    await talking.until("accepted")
    assert [(e["utterance_id"], *split(e)) for e in talking.of("interrupted")] == [
        ("b", "six ", "seven eight")
    ]


async def test_nothing_is_interrupted_where_all_was_heard(talking: Talking) -> None:
    await talking.say("interrupt")
    await started(talking, 5)
    await talking.until("speech_finished")
    talking.clock.pass_ms(1001)
    await talking.say("interrupt", command_id="i")
    await talking.until("accepted", 2)
    assert talking.of("interrupted") == []


async def test_speech_that_is_slow_to_close_holds_nothing_up(
    talking: Talking, speaker: FakeSpeaker
) -> None:
    speaker.close_takes_s = 0.2
    await talking.say("text", text="one two three", utterance_id="a")
    await talking.until("audio_chunk", 2)
    await talking.say("interrupt")
    assert speaker.open == 1, "it is still closing"
    await talking.say("text", text=" late", utterance_id="a")
    await talking.say("synthesize", text="six", stream=True, utterance_id="b")
    await talking.until("speech_started", 2)
    types = talking.types()
    after = types[types.index("interrupted") :]
    assert after[:3] == ["interrupted", "accepted", "speech_started"]
    await talking.until("speech_finished")
    assert talking.audio() == "one two six"
    snapshot = talking.recorder.snapshot()
    assert (snapshot["abandoned"], snapshot["errors"]) == (1, {})


async def test_rapid_interruptions_leave_few_closing_ones(
    talking: Talking, speaker: FakeSpeaker
) -> None:
    speaker.close_takes_s = 0.02
    most = 0
    for _ in range(40):
        await talking.say("text", text="one two")
        await talking.settle()
        await talking.say("interrupt")
        most = max(most, speaker.open)
    assert 2 <= most <= 6
    await asyncio.sleep(0.05)
    assert speaker.open == 0
    assert talking.recorder.snapshot()["abandoned"] == 40


async def test_a_failed_utterance_that_is_still_heard_is_told(
    talking: Talking, speaker: FakeSpeaker
) -> None:
    speaker.fail_at_word = 2
    await talking.say("synthesize", text=TEXT, stream=True, utterance_id="a")
    await talking.until("error")
    talking.clock.pass_ms(WORD_MS + 10)
    await talking.say("interrupt")
    assert split(await talking.until("interrupted")) == ("one ", "two three four five")


async def test_audio_that_waits_for_a_client_is_dropped(
    talking: Talking, speaker: FakeSpeaker
) -> None:
    gate = asyncio.Event()
    take = talking.outbox._send

    async def held(data: bytes, *, binary: bool) -> None:
        await gate.wait()
        await take(data, binary=binary)

    talking.outbox._send = held
    await talking.say("synthesize", text=TEXT, stream=True, utterance_id="a")
    await asyncio.sleep(0.02)
    talking.clock.pass_ms(500)
    await talking.say("interrupt")
    gate.set()
    event = await talking.until("interrupted")
    assert talking.types() == ["interrupted", "accepted"]
    assert (*split(event), event["offset_ms"]) == ("", TEXT, 0)


async def heard_out(talking: Talking) -> None:
    """Two utterances of a second each, the first of which was heard by the clock just now."""
    await started(talking, 5)
    await talking.say("synthesize", text="six seven eight", stream=True, utterance_id="b")
    await talking.until("speech_finished", 2)
    talking.clock.pass_ms(1000 + 300)


def told(talking: Talking) -> list[tuple[object, ...]]:
    return [(e["utterance_id"], *split(e)) for e in talking.of("interrupted")]


async def test_a_player_that_is_behind_names_the_utterance_it_is_at(talking: Talking) -> None:
    await heard_out(talking)
    await talking.say("interrupt", playback_offset_ms=700, utterance_id="a")
    await talking.until("accepted")
    assert told(talking) == [
        ("a", "one two three ", "four five"),
        ("b", "", "six seven eight"),
    ]


async def test_an_offset_is_of_the_utterance_that_was_reported_last(talking: Talking) -> None:
    await heard_out(talking)
    await talking.say("playback", utterance_id="a", offset_ms=600)
    await talking.say("interrupt", playback_offset_ms=700)
    await talking.until("accepted")
    assert told(talking)[0] == ("a", "one two three ", "four five")


async def test_an_offset_without_a_report_is_of_the_one_that_is_heard_by_the_clock(
    talking: Talking,
) -> None:
    await heard_out(talking)
    await talking.say("interrupt", playback_offset_ms=500)
    await talking.until("accepted")
    assert told(talking) == [("b", "six seven ", "eight")]


async def test_an_end_that_the_player_has_not_reached_is_not_heard_by_the_clock(
    talking: Talking,
) -> None:
    await started(talking, 5)
    await talking.until("speech_finished")
    talking.clock.pass_ms(1500)
    await talking.say("interrupt", playback_offset_ms=900)
    await talking.until("accepted")
    assert told(talking) == [("a", TEXT[: TEXT.index("five")], "five")]
    await talking.say("interrupt", playback_offset_ms=900, utterance_id="a")
    await talking.until("accepted", 2)
    assert len(told(talking)) == 1, "it was told already"


async def test_after_its_grace_an_utterance_is_not_known_and_the_rest_is_told(
    talking: Talking,
) -> None:
    await heard_out(talking)
    talking.clock.pass_ms(GRACE_S * 1000)
    await talking.say("interrupt", playback_offset_ms=300, utterance_id="a")
    await talking.until("accepted")
    assert told(talking) == []


async def test_an_offset_below_zero_is_zero(talking: Talking) -> None:
    await started(talking, 5)
    await talking.say("playback", utterance_id="a", offset_ms=-30)
    talking.clock.pass_ms(WORD_MS)
    await talking.say("interrupt", playback_offset_ms=-0.5, command_id="i")
    await talking.until("accepted")
    assert talking.of("error") == []
    assert told(talking) == [("a", "", TEXT)]


async def test_what_is_dropped_is_told_also_where_the_clock_has_passed_it(
    talking: Talking,
) -> None:
    gate = asyncio.Event()
    take = talking.outbox._send

    async def held(data: bytes, *, binary: bool) -> None:
        await gate.wait()
        await take(data, binary=binary)

    talking.outbox._send = held
    await talking.say("synthesize", text=TEXT, stream=True, utterance_id="a")
    await asyncio.sleep(0.02)
    talking.clock.pass_ms(1000 + GRACE_S * 1000 + 10)
    await talking.say("synthesize", text="six", stream=True, utterance_id="b")
    await asyncio.sleep(0.02)
    await talking.say("interrupt")
    gate.set()
    await talking.until("accepted")
    assert [name for name, *_ in told(talking)] == ["a", "b"]
