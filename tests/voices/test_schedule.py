"""Who speaks next and who is refused: pure, on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.voices.pace import Pace, StartValues
from core.voices.protocol import Done, Failed, Job, WorkClass
from core.voices.schedule import ADMISSION_SLACK, START_SLACK, Request, Schedule

FIRST_S = 0.8
START = StartValues(first_s=FIRST_S, job_s=0.5, per_char_s=0.13, load_s=6.0)


class Nobody:
    """Listens to nothing."""

    def on_audio(self, body: bytes) -> None: ...
    def on_end(self, end: Done | Failed) -> None: ...


def asking(
    due_s: float = 2.0, chars: int = 10, *, strict: bool = True, work_class: WorkClass = "live"
) -> Request:
    """A request; one of ten characters takes 1.8 s, its first audio 0.8 s."""
    return Request(Job("v", "x" * chars, 1.0, None), work_class, Nobody(), due_s, strict)


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(Pace(START), spares_one=True)


def test_live_goes_before_bulk_and_who_is_due_earliest_first(schedule: Schedule) -> None:
    bulk, early_bulk = asking(9.0, work_class="bulk"), asking(1.0, work_class="bulk")
    whenever, late, soon, soon_too = asking(float("inf")), asking(3.0), asking(1.5), asking(1.5)
    for request in (bulk, early_bulk, whenever, late, soon, soon_too):
        schedule.add(request)
    order = [schedule.next(2, 0.0) for _ in range(6)]
    assert order == [soon, soon_too, late, whenever, bulk, early_bulk]
    assert schedule.next(2, 0.0) is None


def test_two_at_once_are_accepted_and_the_third_is_told_when_a_child_is_free(
    schedule: Schedule,
) -> None:
    assert schedule.check(asking(), [0.0, 0.0], 0.0) is None
    assert schedule.check(asking(), [1.8, 0.0], 0.0) is None
    assert schedule.check(asking(), [1.8, 1.7], 0.0) == pytest.approx(1.7)


def test_who_fits_behind_a_running_job_is_accepted(schedule: Schedule) -> None:
    latest_s = 2.0 / ADMISSION_SLACK - FIRST_S
    assert schedule.check(asking(), [9.0, latest_s - 0.01], 0.0) is None
    assert schedule.check(asking(), [9.0, latest_s + 0.01], 0.0) is not None


def test_too_little_time_is_refused_even_with_a_free_child(schedule: Schedule) -> None:
    hint_s = schedule.check(asking(due_s=0.5), [0.0, 0.0], 0.0)
    assert hint_s is not None
    assert 0 < hint_s < 0.5


def test_a_free_child_is_tried_however_slow_the_machine_was() -> None:
    pace = Pace(START)
    for _ in range(40):
        pace.saw_first(2.5, 0.0)
    slowed = Schedule(pace, spares_one=True)
    assert slowed.check(asking(), [0.0, 9.0], 0.0) is None
    assert slowed.check(asking(), [0.1, 9.0], 0.0) is not None


def test_whose_late_audio_is_of_use_is_never_refused(schedule: Schedule) -> None:
    for _ in range(50):
        request = asking(strict=False)
        assert schedule.check(request, [60.0], 0.0) is None
        schedule.add(request)
    assert not schedule.hopeless(1000.0)


def test_who_would_make_another_late_is_refused(schedule: Schedule) -> None:
    accepted = asking(due_s=2.2)
    assert schedule.check(accepted, [0.5], 0.0) is None
    schedule.add(accepted)
    assert schedule.check(asking(due_s=2.0), [0.5], 0.0) is not None
    assert schedule.check(asking(due_s=2.0), [0.5, 0.5], 0.0) is None
    assert schedule.check(asking(due_s=9.0), [0.5], 0.0) is None


def test_bulk_work_holds_up_no_live_request(schedule: Schedule) -> None:
    for _ in range(30):
        schedule.add(asking(float("inf"), strict=False, work_class="bulk"))
    assert schedule.check(asking(), [0.0, 0.5], 0.0) is None


def test_bulk_work_leaves_one_child_free() -> None:
    pace = Pace(START)
    sparing, using = Schedule(pace, spares_one=True), Schedule(pace, spares_one=False)
    for schedule in (sparing, using):
        schedule.add(asking(work_class="bulk"))
    assert sparing.next(1, 0.0) is None
    assert sparing.next(2, 0.0) is not None
    assert using.next(1, 0.0) is not None


def test_what_follows_leaves_the_last_free_child_to_a_beginning_until_it_is_due(
    schedule: Schedule,
) -> None:
    """One caller's next sentences do not keep the second caller out."""
    following, beginning = asking(3.0, strict=False), asking(3.5)
    schedule.add(following)
    assert schedule.next(1, 0.0) is None
    assert schedule.check(beginning, [9.0, 0.0], 0.0) is None
    schedule.add(beginning)
    assert schedule.next(1, 0.0) is beginning
    due_s = schedule.next_check_s(0.0)
    assert due_s is not None
    assert due_s == pytest.approx(3.0 - START_SLACK * FIRST_S)
    assert schedule.next(1, due_s - 0.01) is None
    assert schedule.next(1, due_s + 0.01) is following


def test_who_waits_is_refused_from_the_moment_on_that_is_too_late(schedule: Schedule) -> None:
    first, second = asking(due_s=2.0), asking(due_s=3.0)
    schedule.add(second)
    schedule.add(first)
    check_s = schedule.next_check_s(0.0)
    assert check_s is not None
    assert check_s == pytest.approx(2.0 - START_SLACK * FIRST_S)
    assert not schedule.hopeless(check_s - 0.01)
    assert schedule.hopeless(check_s + 0.01) == [first]
    assert schedule.waiting == [second]


def test_a_full_queue_gives_up_the_newest_bulk_work_first(schedule: Schedule) -> None:
    live, bulk, newer = asking(), asking(work_class="bulk"), asking(work_class="bulk")
    newest = asking(due_s=1.0)
    for request in (live, bulk, newer, newest):
        schedule.add(request)
    assert [schedule.newest_of_least() for _ in range(4)] == [newer, bulk, newest, live]


arrivals = st.lists(
    st.tuples(
        st.floats(0.0, 1.5),  # seconds after the one before
        st.integers(1, 40),  # characters
        st.sampled_from(("strict", "later", "bulk")),
    ),
    max_size=40,
)


@given(arrivals, st.integers(1, 3))
@settings(deadline=None, max_examples=200)
def test_whoever_is_accepted_is_in_time_when_the_work_takes_as_long_as_expected(
    coming: list[tuple[float, int, str]], children: int
) -> None:
    """The pool's own steps on a clock of the test: accept, dispatch, end of a job."""
    pace = Pace(START)
    schedule = Schedule(pace, spares_one=children > 1)
    free_at_s = [0.0] * children
    arriving: list[Request] = []
    at_s = now_s = 0.0
    for gap_s, chars, kind in coming:
        at_s += gap_s
        due_s = at_s + (2.0 if kind == "strict" else 4.0)
        bulk: WorkClass = "bulk" if kind == "bulk" else "live"
        arriving.append(asking(due_s, chars, strict=kind == "strict", work_class=bulk))
        arriving[-1].began_s = at_s
    while arriving or schedule.waiting:
        check_s = schedule.next_check_s(now_s)
        later = [time_s for time_s in free_at_s if time_s > now_s]
        later += [request.began_s for request in arriving[:1]]
        later += [check_s + 1e-6] if check_s is not None else []
        now_s = max(now_s, min(later))
        while arriving and arriving[0].began_s <= now_s:
            request = arriving.pop(0)
            free_in_s = schedule.check(request, [max(now_s, t) for t in free_at_s], now_s)
            if free_in_s is None:
                schedule.add(request)
            else:
                assert request.refuse_late
                assert 0 < free_in_s < 60
        assert not schedule.hopeless(now_s)
        idle = [child for child, time_s in enumerate(free_at_s) if time_s <= now_s]
        while (next_one := schedule.next(len(idle), now_s)) is not None:
            if next_one.refuse_late:
                assert now_s + FIRST_S < next_one.due_s
            free_at_s[idle.pop()] = now_s + pace.job_s(next_one.job)


def test_the_pace_is_learnt_and_a_bad_minute_is_forgotten() -> None:
    pace = Pace(START)
    for second in range(20):
        pace.saw_first(1.6, float(second))
    assert pace.first_s(20.0) == pytest.approx(1.6, abs=0.02)
    assert pace.first_s(40.0) == FIRST_S
    for second in range(20):
        pace.saw_first(0.4, 50.0 + second)
    assert pace.first_s(70.0) == pytest.approx(0.4, abs=0.02)
    assert pace.first_s(100.0) == pytest.approx(0.4, abs=0.02)
    pace.saw_first(3600.0, 101.0)
    assert pace.first_s(101.0) < 1.1


def test_what_a_job_takes_is_learnt_for_every_length() -> None:
    pace = Pace(START)
    short, long = Job("v", "x" * 10, 1.0, None), Job("v", "x" * 100, 1.0, None)
    before_s = pace.job_s(long)
    assert pace.job_s(Job("v", "x" * 100, 0.5, None)) > 1.8 * before_s
    for _ in range(30):
        pace.saw_job(short, 2 * 1.8)
    assert pace.job_s(short) == pytest.approx(3.6, abs=0.05)
    assert pace.job_s(long) == pytest.approx(2 * before_s, rel=0.02)
