"""A conversation without a socket: commands in, events out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec import UNSET

from core.conversation import speaking
from core.conversation.playout import GRACE_S
from core.conversation.utterance import Arriving, Utterance
from core.errors import ProviderUnavailable, SeiketsuError, TextTooLong
from core.synthesis.live import FLUSH, Flush
from gateway.session_reading import Reading
from tests.conversation.speaker import WORD_MS, FakeSpeaker, Talking

SHORT = "one two three four five"


@pytest.fixture
def speaker() -> FakeSpeaker:
    return FakeSpeaker()


@pytest.fixture
async def talking(speaker: FakeSpeaker) -> AsyncIterator[Talking]:
    async with Talking(speaker) as talking:
        yield talking


async def test_a_streamed_text_is_told_piece_by_piece(talking: Talking) -> None:
    await talking.say("synthesize", text=SHORT, stream=True, utterance_id="a", command_id="c")
    finished = await talking.until("speech_finished")
    assert talking.types() == [
        "accepted",
        "speech_started",
        *(["alignment", "audio_chunk"] * 5),
        "speech_finished",
    ]
    assert [event["sequence"] for event in talking.events] == list(range(1, 14))
    started = talking.of("speech_started")[0]
    assert (started["utterance_id"], started["utterance"], started["command_id"]) == ("a", 1, "c")
    assert (started["format"], started["language"]) == ("pcm_8000", "en")
    assert talking.audio() == SHORT
    chunks = talking.chunks()
    assert [chunk["chunk"] for chunk in chunks] == [1, 2, 3, 4, 5]
    assert [chunk["offset_ms"] for chunk in chunks] == [0, 200, 400, 600, 800]
    word = talking.of("alignment")[2]["words"][0]
    assert (word["text"], word["start_ms"], word["char_start"]) == ("three", 400, 8)
    assert finished["metadata"]["text"] == SHORT
    assert finished["metadata"]["duration_ms"] == 1000
    assert [mark.start_char for mark in talking.state.sent[0].clauses] == [0, SHORT.index("five")]
    assert talking.recorder.snapshot()["requests"] == 1


async def test_a_text_is_spoken_while_it_is_written(talking: Talking) -> None:
    for token in ("on", "e two", " three", " four", " five"):
        await talking.say("text", text=token, utterance_id="a")
    await talking.until("audio_chunk", 4)
    assert talking.audio() == "one two three four"
    assert talking.of("speech_finished") == []
    await talking.say("end", command_id="e")
    await talking.until("speech_finished")
    assert talking.audio() == SHORT
    assert talking.of("accepted")[0]["utterance_id"] == "a"
    assert talking.state.writing is None


async def test_a_flush_speaks_what_is_there(talking: Talking, speaker: FakeSpeaker) -> None:
    await talking.say("text", text="one")
    await talking.settle()
    assert talking.audio() == ""
    await talking.say("flush")
    await talking.say("flush")
    await talking.until("audio_chunk")
    await talking.say("text", text=" two")
    await talking.say("end")
    await talking.until("speech_finished")
    assert speaker.given == ["one", FLUSH, " two"]
    assert talking.audio() == "one two"


async def test_flushes_of_a_text_that_waits_keep_their_places() -> None:
    utterance = Utterance("u", 1, "agent_123", "en", "mp3", "hex", text="abcdef", flushes=[2, 4])
    found: list[str | Flush] = [piece async for piece in Arriving(utterance, 0.01)]
    assert found == ["ab", FLUSH, "cd", FLUSH, "ef"]
    assert utterance.complete, "nothing came for too long"
    again = msgspec.structs.replace(utterance, start_char=3)
    assert [piece async for piece in Arriving(again, 0.01)] == ["d", FLUSH, "ef"]


async def test_an_utterance_goes_on_from_a_character(
    talking: Talking, speaker: FakeSpeaker
) -> None:
    talking.state.waiting.append(
        Utterance(
            *("u", 1, "agent_123", "en", "mp3", "hex"),
            text=SHORT,
            complete=True,
            start_char=8,
            start_ms=400,
            sent_ms=400,
        )
    )
    await talking.say("synthesize", text="six", stream=True)
    await talking.until("speech_finished", 2)
    assert talking.audio() == "three four five six"
    assert talking.chunks()[0]["offset_ms"] == 400
    word = talking.of("alignment")[0]["words"][0]
    assert (word["start_ms"], word["char_start"], word["char_end"]) == (400, 8, 13)


async def test_utterances_queue_and_an_error_ends_only_its_own(
    talking: Talking, speaker: FakeSpeaker
) -> None:
    speaker.fail_at_word, speaker.failure = 2, ProviderUnavailable("Down.", provider="fake")
    await talking.say("text", text=SHORT, utterance_id="a")
    await talking.say("synthesize", text="one two", stream=True, utterance_id="b")
    error = await talking.until("error")
    assert (error["code"], error["utterance_id"]) == ("provider_unavailable", "a")
    await talking.until("speech_finished")
    assert talking.audio() == "one two one two"
    await talking.say("text", text=" more words here", utterance_id="a", command_id="late")
    await talking.say("text", text=" more words here")
    await talking.say("end")
    await talking.say("get_stats")
    stats = await talking.until("session_stats")
    assert (stats["served"], stats["failed"], stats["waiting"]) == (1, 1, 0)
    assert talking.of("accepted")[-1]["command_id"] == "late"


async def test_an_unforeseen_error_tells_nothing(talking: Talking, speaker: FakeSpeaker) -> None:
    speaker.fail_at_word, speaker.failure = 1, RuntimeError("a private text")
    await talking.say("synthesize", text=SHORT, stream=True)
    error = await talking.until("error")
    assert error["code"] == "internal_error"
    assert "private" not in json.dumps(talking.events)
    assert len(talking.unforeseen) == 1


async def test_a_text_over_the_limit_ends_with_an_error_at_once(
    talking: Talking, speaker: FakeSpeaker
) -> None:
    await talking.say("text", text="one two three", utterance_id="a")
    await talking.until("audio_chunk", 2)
    await talking.say("text", text=" more" * 100, utterance_id="a", command_id="x")
    await talking.say("text", text="later", utterance_id="a")
    await talking.say("text", text="later")
    await talking.say("end")
    error = await talking.until("error")
    assert (error["code"], error["utterance_id"]) == (TextTooLong.code, "a")
    await talking.say("synthesize", text="four", stream=True)
    await talking.until("speech_finished")
    assert talking.audio() == "one two four"
    await talking.settle()
    assert talking.recorder.snapshot()["errors"] == {"text_too_long": 1}
    talking.clock.pass_ms(WORD_MS + 10)
    await talking.say("interrupt")
    await talking.until("accepted", 1)
    told = [(e["utterance_id"], e["spoken_text"]) for e in talking.of("interrupted")]
    assert told == [("a", "one "), ("u2", "")]


async def test_a_text_that_waits_may_become_too_long_too(talking: Talking) -> None:
    await talking.say("text", text="one two", utterance_id="a")
    await talking.say("text", text="three", utterance_id="b")
    await talking.say("text", text="word " * 101)
    assert (await talking.until("error"))["utterance_id"] == "b"
    await talking.until("speech_finished")
    assert talking.audio() == "one two"


async def test_a_text_with_another_id_ends_the_one_before(talking: Talking) -> None:
    await talking.say("text", text="one two", utterance_id="a")
    await talking.say("text", text="three", utterance_id="b")
    await talking.say("text", text=" four")
    await talking.until("speech_finished")
    assert talking.audio() == "one two three"
    await talking.say("end")
    await talking.until("speech_finished", 2)
    assert talking.audio() == "one two three four"


async def test_an_id_is_used_once(talking: Talking) -> None:
    await talking.say("synthesize", text="one", stream=True, utterance_id="a")
    await talking.until("speech_finished")
    await talking.say("synthesize", text="one", utterance_id="a", command_id="x")
    await talking.say("text", text="one", utterance_id="a", command_id="y")
    assert [event["code"] for event in talking.of("error")] == []
    await talking.until("error", 2)
    assert [(e["code"], e["command_id"]) for e in talking.of("error")] == [
        ("invalid_request", "x"),
        ("invalid_request", "y"),
    ]


async def test_a_known_command_is_acknowledged_and_not_carried_out(talking: Talking) -> None:
    for _ in range(3):
        await talking.say("text", text="one ", utterance_id="a", command_id="t1")
    await talking.say("end")
    await talking.until("speech_finished")
    assert talking.audio() == "one"
    assert [event["command_id"] for event in talking.of("accepted")] == ["t1"] * 3
    for _ in range(2):
        await talking.say("ping", command_id="t1")
    await talking.until("pong", 2)


async def test_a_refused_command_may_be_sent_again(talking: Talking) -> None:
    await talking.say("configure", format="nothing", voice_agent_id="nobody", command_id="c")
    assert (await talking.until("error"))["code"] == "agent_not_found"
    assert talking.connection.voice_agent_id == "agent_123"
    await talking.say("configure", voice_agent_id="agent_456", command_id="c")
    assert (await talking.until("configured"))["voice_agent_id"] == "agent_456"
    assert talking.connection.voice_agent_id == "agent_456"


async def test_configure_is_for_what_comes_after_it(talking: Talking, speaker: FakeSpeaker) -> None:
    await talking.say("text", text="one two")
    await talking.say("configure", language="es-MX", audio_encoding="binary", format="wav")
    event = await talking.until("configured")
    assert (event["language"], event["audio_encoding"], event["format"]) == ("es", "binary", "wav")
    await talking.say("end")
    await talking.until("speech_finished")
    assert talking.audio() == "one two"
    await talking.say("synthesize", text="three", stream=True)
    await talking.until("frame", 2)
    audio, last = talking.of("frame")
    assert (audio["audio"].rstrip(b"_"), audio["first"], audio["utterance"]) == (b"three", True, 2)
    assert (last["audio"], last["last"]) == (b"", True)
    assert speaker.requests[-1].language == "es"
    assert speaker.requests[-1].output_format == "wav"
    await talking.say("configure", audio_encoding="morse", language="zh")
    assert (await talking.until("error"))["code"] == "invalid_request"
    assert talking.state.config.language == "es"


async def test_audio_is_sent_at_once_up_to_the_lead_and_then_at_its_pace(
    talking: Talking,
) -> None:
    words = " ".join(["word"] * 40)
    await talking.say("synthesize", text=words, stream=True)
    lead = round(speaking.LEAD_MS / WORD_MS) + 1
    await talking.until("audio_chunk", lead)
    await talking.settle()
    assert len(talking.chunks()) == lead
    # By the client's report the sleeping is cut to a second at most.
    talking.clock.pass_ms(WORD_MS * 5)
    await talking.until("audio_chunk", lead + 5)
    await talking.settle()
    assert len(talking.chunks()) == lead + 5


async def test_a_text_nobody_writes_any_more_is_complete(
    talking: Talking, speaker: FakeSpeaker
) -> None:
    utterance = Utterance("u9", 9, "agent_123", "en", "mp3", "hex", text="one two")
    talking.state.writing = utterance
    utterance.complete = True
    await talking.say("text", text="three")
    await talking.say("end")
    await talking.until("speech_finished")
    assert talking.audio() == "three", "another utterance"


async def test_an_utterance_is_forgotten_once_it_was_heard(talking: Talking) -> None:
    await talking.say("synthesize", text="one", stream=True)
    await talking.until("speech_finished")
    assert len(talking.state.sent) == 1
    talking.clock.pass_ms(WORD_MS + GRACE_S * 1000 + 1)
    await talking.say("synthesize", text="two", stream=True)
    await talking.until("speech_finished", 2)
    await talking.settle()
    assert [one.id for one in talking.state.sent] == ["u2"]


async def test_a_text_is_let_go_when_it_was_heard_though_a_longer_one_follows(
    talking: Talking,
) -> None:
    for text in ("one", "two three four five"):
        await talking.say("synthesize", text=text, stream=True)
    await talking.until("speech_finished", 2)
    await talking.settle()
    release = talking.session._turns._release
    assert release is not None
    left_s = release.when() - asyncio.get_running_loop().time()
    assert GRACE_S < left_s < GRACE_S + 2 * WORD_MS / 1000


async def test_a_gateway_that_ends_speaks_what_was_written_and_refuses_the_rest(
    talking: Talking, speaker: FakeSpeaker
) -> None:
    await talking.say("text", text="one two", utterance_id="a")
    await talking.session.finish(2.0)
    assert talking.audio() == "one two"
    assert talking.types()[-2:] == ["speech_finished", "going_away"]
    speaker.first_after_s = 5.0
    await talking.say("synthesize", text="three", command_id="c")
    await talking.session.finish(0.05)
    (error,) = talking.of("error")
    assert (error["code"], error["command_id"]) == ("busy", "c")


async def test_a_late_end_of_one_text_does_not_complete_the_next(talking: Talking) -> None:
    await talking.say("text", text="one two ", utterance_id="a")
    await talking.say("interrupt")
    await talking.say("text", text="three ", utterance_id="b")
    await talking.say("flush", utterance_id="a", command_id="f")
    await talking.say("end", utterance_id="a", command_id="e")
    await talking.settle()
    assert talking.audio() == ""
    assert talking.state.writing is not None
    assert [event.get("utterance_id") for event in talking.of("accepted")[-2:]] == [None, None]
    await talking.say("text", text="four", utterance_id="b")
    await talking.say("end", utterance_id="b")
    await talking.until("speech_finished")
    assert talking.audio() == "three four"


@pytest.mark.parametrize(
    ("frame", "command_id"),
    [
        ('{"type":"sing","command_id":"x"}', "x"),
        ('{"command_id":"x","type":"text","text":5}', "x"),
        ('{"type":"ping","command_id":7}', UNSET),
        ('{"type":"ping","command_id":"x"', UNSET),
        ('["x"]', UNSET),
    ],
)
async def test_a_command_that_cannot_be_read_is_answered_under_its_id(
    frame: str, command_id: object
) -> None:
    told: list[object] = []

    async def refuse(error: SeiketsuError, found: object) -> None:
        told.append(found)

    async def handle(command: object) -> None:
        raise AssertionError

    assert await Reading(handle, refuse).take({"text": frame})
    assert told == [command_id]
