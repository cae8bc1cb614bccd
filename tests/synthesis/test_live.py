"""Speech of a text that is still being written, and of a whole one in pieces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.wordcode import decode, matches_segments
from core.audio.formats import resolve
from core.audio.quality import quality_score
from core.embedded import EmbeddedRedis
from core.errors import AllProvidersFailed, ProviderUnavailable, TextEmpty, TextTooLong
from core.providers.local import LocalProvider
from core.speech import SpeechRequest, SpeechTrace
from core.synthesis.live import FLUSH, QUIET_S, Flush, SpokenPiece
from core.synthesis.rendition import PIECE_MS
from core.text.clauses import MAX_WAIT_S
from tests.fakes import FakeVoice, tone
from tests.player import decoded
from tests.synthesis.test_service import Bench, CodedVoice

_DOWN = ProviderUnavailable("down", provider="elevenlabs")
TEXT = (
    "Sure, I can tell you about that flat. It has two large rooms, a kitchen and a balcony! "
    "Mr. Smith asks 350.50 for it.  Would you like to see it on Friday?"
)


@pytest.fixture
async def bench(redis_cache: EmbeddedRedis) -> AsyncIterator[Bench]:
    made = Bench(redis_cache, CodedVoice("elevenlabs"), FakeVoice("local", pieces=[tone(900)]))
    made.codecs.open()
    yield made
    await made.close()


async def written(
    *pieces: str | Flush | float, then: BaseException | None = None
) -> AsyncIterator[str | Flush]:
    """Pieces as a language model writes them; a number is a pause in seconds."""
    for piece in pieces:
        if isinstance(piece, float | int):
            await asyncio.sleep(piece)
        else:
            yield piece
    if then is not None:
        raise then


def tokens(text: str, size: int = 4, every_s: float = 0.001) -> AsyncIterator[str | Flush]:
    pieces: list[str | Flush | float] = []
    for at in range(0, len(text), size):
        pieces += [text[at : at + size], every_s]
    return written(*pieces)


def speech_of(
    bench: Bench, text: AsyncIterator[str | Flush], heard_for_s: float = 0.0, **fields: Any
) -> tuple[AsyncGenerator[SpokenPiece, None], SpeechTrace]:
    request = SpeechRequest(
        **({"tenant": "t", "text": "", "agent_id": "agent_123", "output_format": "pcm"} | fields)
    )
    trace = bench.service.new_trace("r", request)
    until_s = time.monotonic() + heard_for_s
    stream = bench.service.converse(
        request, text, trace, lead_s=lambda: max(0.0, until_s - time.monotonic())
    )
    return stream, trace


async def collect(stream: AsyncGenerator[SpokenPiece, None], said: list[SpokenPiece]) -> None:
    """Add to `said` until the end or an error."""
    async for piece in stream:
        said.append(piece)  # noqa: PERF401 - what came before an error counts


def check_clock(pieces: list[SpokenPiece], marks: int = 0) -> None:
    """Nothing is missing between pieces, words and clauses; `marks` may come after their clause."""
    for before, after in pairwise(pieces):
        assert after.offset_ms == pytest.approx(before.offset_ms + before.duration_ms)
        assert after.clause in (before.clause, before.clause + 1)
        if after.clause > before.clause:
            assert before.next_clause, "a clause's last piece says where the next begins"
            assert before.next_clause.offset_ms == after.clause_offset_ms
            assert 0 <= after.clause_start_char - before.next_clause.char <= marks
        elif before.clause < pieces[-1].clause:
            assert before.next_clause is None
    for piece in pieces:
        assert all(w.start_ms < piece.offset_ms + piece.duration_ms + 1 for w in piece.words)
        assert piece.clause_offset_ms <= piece.offset_ms + piece.duration_ms
    starts = [w.start_ms for piece in pieces for w in piece.words]
    assert starts == sorted(starts)


async def test_every_word_is_said_once_and_in_order_while_the_text_is_written(
    bench: Bench,
) -> None:
    stream, trace = speech_of(bench, tokens(TEXT))
    pieces = [piece async for piece in stream]
    check_clock(pieces)
    pcm = b"".join(piece.data for piece in pieces)
    said = matches_segments(" ".join(bench.asked.texts), decode(pcm, 24_000))
    assert said.ok, said
    words = [word for piece in pieces for word in piece.words]
    spans = [(w.char_start, w.char_end) for w in words]
    assert list(dict.fromkeys(TEXT[a:b] for a, b in spans)) == list(dict.fromkeys(TEXT.split()))
    assert {TEXT[p.clause_start_char :].split()[0] for p in pieces} == {
        "Sure,",
        "It",
        "Mr.",
        "Would",
    }
    assert sum(piece.duration_ms for piece in pieces) == pytest.approx(len(pcm) / 48)
    assert (trace.provider, trace.language, trace.characters) == ("elevenlabs", "en", len(TEXT))
    assert trace.duration_ms == round(len(pcm) / 48)
    assert trace.audio_bytes == len(pcm)
    assert trace.first_audio_ms is not None
    assert trace.quality_score
    assert len(trace.segments) == 4
    assert trace.error_code is None


@pytest.mark.parametrize("output_format", ["mp3", "wav", "ulaw", "opus"])
async def test_all_pieces_joined_are_one_recording(bench: Bench, output_format: str) -> None:
    stream, trace = speech_of(bench, tokens(TEXT, 40), output_format=output_format)
    pieces = [piece async for piece in stream]
    check_clock(pieces)
    output = resolve(trace.output_format, 0)
    samples = decoded(b"".join(piece.data for piece in pieces), output)
    pcm = samples.clip(-32768, 32767).astype("<i2").tobytes()
    said = matches_segments(" ".join(bench.asked.texts), decode(pcm, output.rate_hz))
    assert said.ok, said
    total_ms = sum(piece.duration_ms for piece in pieces)
    assert total_ms == pytest.approx(trace.duration_ms, abs=1)


async def test_speech_begins_while_the_text_is_still_written(bench: Bench) -> None:
    more = asyncio.Event()

    async def text() -> AsyncIterator[str]:
        yield "Sure, I can tell you, "
        yield "that "
        await more.wait()
        yield "it is sold."

    stream, _ = speech_of(bench, text())
    async with aclosing(stream):
        first = await anext(stream)
        assert first.offset_ms == 0
        assert bench.asked.texts == ["Sure, I can tell you,"]
        more.set()
        rest = [piece async for piece in stream]
    assert bench.asked.texts[1:] == ["that it is sold."]
    assert rest[-1].clause == 1


async def test_marks_of_what_was_said_are_not_said_again(bench: Bench) -> None:
    stream, _ = speech_of(bench, tokens("这是真的吗？！那太好了。", 1))
    pieces = [piece async for piece in stream]
    assert bench.asked.texts == ["这是真的吗？", "那太好了。"]
    assert pieces[-1].clause_start_char == 7
    check_clock(pieces, marks=1)


@pytest.mark.parametrize("output_format", ["pcm", "mp3"])
async def test_a_clause_is_known_to_be_over_when_nothing_follows_yet(
    bench: Bench, output_format: str
) -> None:
    begun = ["Yes, it does.", "\u201d One moment"]
    text = written(begun[0], FLUSH, begun[1], 3600)
    stream, _ = speech_of(bench, text, heard_for_s=60.0, output_format=output_format)
    async with aclosing(stream), asyncio.timeout(2):
        pieces = [await anext(stream)]
        while pieces[-1].next_clause is None:
            pieces.append(await anext(stream))
    assert bench.asked.calls == 1
    assert "".join(begun)[pieces[-1].next_clause.char :] == "One moment"
    said = "".join(w.text for piece in pieces for w in piece.words)
    assert said.endswith("does.")


async def test_a_long_clause_tells_the_end_of_each_of_its_segments(bench: Bench) -> None:
    text = "and then " * 80
    stream, trace = speech_of(bench, written(text, FLUSH, "we came home."))
    pieces = [piece async for piece in stream]
    check_clock(pieces)
    assert len(trace.segments) > 2
    assert pieces[-1].next_clause is None, "nothing follows, and nobody is to wait for it"


async def test_a_flush_speaks_what_is_there(bench: Bench) -> None:
    more = asyncio.Event()

    async def text() -> AsyncIterator[str | Flush]:
        yield "One mom"
        yield FLUSH
        await more.wait()
        yield "ent, please."

    stream, _ = speech_of(bench, text(), heard_for_s=60.0)
    async with aclosing(stream):
        async with asyncio.timeout(MAX_WAIT_S / 2):
            await anext(stream)
        assert bench.asked.texts == ["One mom"]
        more.set()
        assert [piece.clause async for piece in stream][-1] == 1


@pytest.mark.alone
async def test_a_writer_that_pauses_is_not_waited_for_unless_something_is_heard(
    bench: Bench,
) -> None:
    async def first_s(heard_for_s: float, *pieces: str | Flush | float) -> float:
        stream, _ = speech_of(bench, written(*pieces), heard_for_s, enable_caching=False)
        began_s = time.monotonic()
        async with aclosing(stream):
            await anext(stream)
        return time.monotonic() - began_s

    pause = (3.0,)
    slow = [part for word in ["a "] * 14 for part in (word, 0.15)]
    silent, ahead, unfinished, trickling = await asyncio.gather(
        first_s(0.0, "Let me look that up for you", *pause, " now."),
        first_s(1.6, "Let me look that up for you", *pause, " now."),
        first_s(0.0, "Yes", *pause, " indeed."),
        first_s(0.0, *slow),
    )
    assert MAX_WAIT_S <= silent < MAX_WAIT_S + 0.15
    assert 0.6 <= ahead < 0.75, "what is heard for more than a second leaves time"
    assert QUIET_S <= unfinished < QUIET_S + 0.15
    assert trickling < 0.3 + MAX_WAIT_S + 0.2, "from when three words were there"
    assert bench.asked.texts[0] == "Let me look that up for"
    assert "Yes" in bench.asked.texts


async def test_a_sentence_that_was_said_before_comes_from_the_cache(bench: Bench) -> None:
    sentence = "The flat has two large rooms."
    await bench.whole(sentence)
    stream, trace = speech_of(bench, tokens(sentence + " It is sold, as I said before."))
    assert [piece async for piece in stream]
    assert [segment.source for segment in trace.segments] == ["memory", "flight"]
    assert bench.asked.calls == 2
    await bench.settled()
    _, again = await bench.whole("It is sold, as I said before.")
    assert again.cached, "and what was said now is there for the next"


async def test_what_another_process_said_is_found(bench: Bench, redis_cache: EmbeddedRedis) -> None:
    sentence = "The flat has two large rooms."
    await bench.whole(sentence)
    await bench.settled()
    await bench.cache.drain(2)
    other = Bench(redis_cache, CodedVoice("elevenlabs"), None)
    other.codecs.open()
    stream, trace = speech_of(other, tokens(sentence))
    assert [piece async for piece in stream]
    assert [segment.source for segment in trace.segments] == ["redis"]
    await other.close()


async def test_a_clause_that_fails_ends_the_speech_after_what_was_said(bench: Bench) -> None:
    bench.asked.error_before = [None, _DOWN]
    assert isinstance(bench.other, FakeVoice)
    bench.other.error_before = [ProviderUnavailable("down", provider="local")]
    stream, trace = speech_of(bench, tokens("The first one is fine. The second one is not."))
    said: list[SpokenPiece] = []
    with pytest.raises(AllProvidersFailed):
        await collect(stream, said)
    assert matches_segments(
        "The first one is fine.", decode(b"".join(p.data for p in said), 24_000)
    ).ok
    assert trace.error_code == "all_providers_failed"


async def test_a_text_that_breaks_off_or_grows_too_long_is_an_error(bench: Bench) -> None:
    stream, _ = speech_of(bench, written("The first one is fine. And", then=ValueError("gone")))
    said: list[SpokenPiece] = []
    with pytest.raises(ValueError, match="gone"):
        await collect(stream, said)
    assert said
    stream, trace = speech_of(bench, written(*["All of it is said. "] * 300))
    with pytest.raises(TextTooLong):
        await collect(stream, said)
    assert trace.error_code == TextTooLong.code
    for nothing in ("", " … "):
        stream, _ = speech_of(bench, written(nothing))
        with pytest.raises(TextEmpty):
            await anext(stream)


async def test_who_leaves_leaves_nothing_behind_and_what_was_begun_is_kept(bench: Bench) -> None:
    async def text() -> AsyncIterator[str]:
        yield "The flat has two large rooms. It is"
        await asyncio.sleep(3600)

    stream, trace = speech_of(bench, text())
    await anext(stream)
    await stream.aclose()
    assert trace.error_code == "client_gone"
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("live-")]
    await bench.settled()
    assert bench.board.held_bytes == 0
    _, again = await bench.whole("The flat has two large rooms.")
    assert again.cached


async def test_a_listener_that_is_cancelled_leaves_nothing_behind(bench: Bench) -> None:
    bench.asked.silent = True
    stream, _ = speech_of(bench, tokens(TEXT), enable_caching=False)
    waiting = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(3):
        while not bench.asked.open:
            await asyncio.sleep(0.005)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.aclose()
    await bench.settled()
    assert bench.asked.open == 0


async def test_only_so_much_is_begun_ahead(bench: Bench) -> None:
    text = " ".join(f"This is the sentence number {n} of this text." for n in range(12))
    stream, _ = speech_of(bench, written(text), heard_for_s=30.0)
    async with aclosing(stream):
        await anext(stream)
        await asyncio.sleep(0.1)
        assert 2 <= bench.asked.calls <= 4


async def test_later_clauses_are_due_when_what_is_before_them_was_heard(bench: Bench) -> None:
    stream, _ = speech_of(bench, written(TEXT), heard_for_s=5.0, enable_caching=False)
    assert [piece async for piece in stream]
    due_s = [deadline.first_audio_at_s for deadline in bench.asked.deadlines]
    assert bench.asked.deadlines[0].strict
    assert due_s[1] - due_s[0] > 4.5
    assert not any(deadline.strict for deadline in bench.asked.deadlines[1:])


async def test_the_first_clause_decides_the_language_and_the_others_keep_it(bench: Bench) -> None:
    text = "El piso tiene dos habitaciones. Marina Bay Towers. 这套房子有两个房间。"
    stream, trace = speech_of(bench, tokens(text))
    assert [piece async for piece in stream]
    languages = [s.provenance.language for s in trace.segments if s.provenance is not None]
    assert languages == ["es", "es", "zh"]
    assert trace.language == "es"


@pytest.mark.parametrize("output_format", ["pcm", "ulaw", "mp3", "mp3_44100_128", "wav", "opus"])
async def test_a_kept_reply_comes_in_pieces_like_a_spoken_one(
    bench: Bench, output_format: str
) -> None:
    async def spoken() -> tuple[list[SpokenPiece], SpeechTrace]:
        plan, trace = await bench.begin(TEXT, output_format=output_format)
        stream = bench.service.pieces(plan, trace, bench.service.new_deadline())
        return [piece async for piece in stream], trace

    live, first = await spoken()
    kept, second = await spoken()
    assert (first.rendition_source, second.rendition_source) == (None, "memory")
    for pieces in (live, kept):
        check_clock(pieces)
        assert pieces[-1].next_clause is None
        assert max(piece.duration_ms for piece in pieces) < PIECE_MS + 30
        assert {TEXT[p.clause_start_char :].split()[0] for p in pieces} >= {"Sure,", "It", "Would"}
    assert [w for p in live for w in p.words] == [w for p in kept for w in p.words]
    for pieces in (live, kept):
        total_ms = sum(piece.duration_ms for piece in pieces)
        assert total_ms == pytest.approx(second.duration_ms, abs=2)
    whole, _ = await bench.whole(TEXT, output_format=output_format)
    assert b"".join(piece.data for piece in kept) == whole.audio
    if output_format.startswith("mp3"):
        starts = {piece.data[:2] for piece in kept}
        assert all(start[0] == 0xFF and start[1] & 0xE0 == 0xE0 for start in starts)


async def test_a_real_voice_says_every_word_of_a_text_that_is_written(
    redis_cache: EmbeddedRedis, voice_server: Path
) -> None:
    local = LocalProvider(voice_server)
    made = Bench(redis_cache, CodedVoice("elevenlabs", error_before=[_DOWN] * 9), local)
    made.codecs.open()
    text = "Good morning, this is about the flat. It has two rooms. Shall we go and see it?"
    stream, trace = speech_of(made, tokens(text, every_s=0.002))
    pieces = [piece async for piece in stream]
    check_clock(pieces)
    words = [text[w.char_start : w.char_end] for piece in pieces for w in piece.words]
    assert words == text.split()
    spoken = b"".join(piece.data for piece in pieces)
    assert quality_score(spoken, text, "en").score > 0.8
    assert (trace.provider, trace.fallback, len(trace.segments)) == ("local", True, 3)
    await made.close()
    await local.aclose()
