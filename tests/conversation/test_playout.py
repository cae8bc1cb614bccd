"""When audio that was sent is heard."""

from __future__ import annotations

from core.conversation.playout import MAX_KEPT, Playout
from tests.conversation.speaker import Clock


def test_utterances_are_heard_one_after_the_other() -> None:
    clock = Clock()
    playout = Playout(clock)
    playout.sent(1, 1000)
    playout.ended(1)
    playout.sent(2, 1000)
    assert playout.ahead_ms() == 2000
    clock.pass_ms(400)
    assert (round(playout.heard_ms(1)), playout.heard_ms(2)) == (400, 0)
    clock.pass_ms(900)
    assert playout.playing() == (2,)
    assert round(playout.heard_ms(2)) == 300
    assert round(playout.ahead_ms()) == 700


def test_playing_waits_where_the_audio_runs_out() -> None:
    clock = Clock()
    playout = Playout(clock)
    playout.sent(1, 100)
    clock.pass_ms(5000)
    assert (playout.heard_ms(1), playout.ahead_ms()) == (100, 0)
    assert playout.playing() == (1,), "more of it may come"
    playout.sent(1, 300)
    clock.pass_ms(50)
    assert round(playout.heard_ms(1)) == 150


def test_a_report_is_run_on_and_never_goes_beyond_what_was_sent() -> None:
    clock = Clock()
    playout = Playout(clock)
    playout.sent(1, 1000)
    clock.pass_ms(600)
    playout.report(1, 200)
    clock.pass_ms(100)
    assert round(playout.heard_ms(1)) == 300
    assert round(playout.ahead_ms()) == 300, "a client that is behind is not sent more at once"
    playout.report(1, 99_999)
    assert playout.heard_ms(1) == 1000
    assert playout.ahead_ms() == 0
    playout.report(7, 5)
    assert playout.heard_ms(7) == 0


def test_a_report_of_the_second_ends_the_first() -> None:
    clock = Clock()
    playout = Playout(clock)
    playout.sent(1, 1000)
    playout.ended(1)
    playout.sent(2, 1000)
    playout.report(2, 100)
    assert playout.playing() == (2,)
    assert playout.heard_ms(2) == 100


def test_what_is_followed_is_bounded() -> None:
    playout = Playout(Clock())
    for number in range(100):
        playout.sent(number, 1000)
        playout.ended(number)
    assert len(playout.playing()) == MAX_KEPT


def test_what_was_sent_whole_is_heard_in_its_turn_and_holds_nothing_up() -> None:
    clock = Clock()
    playout = Playout(clock)
    playout.sent(1, 5000, paced=False)
    playout.ended(1)
    playout.sent(2, 1000)
    assert playout.ahead_ms() == 1000
    clock.pass_ms(400)
    assert (round(playout.heard_ms(1)), playout.heard_ms(2)) == (400, 0)
    assert round(playout.ahead_ms()) == 600
