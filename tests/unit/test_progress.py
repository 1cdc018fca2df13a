"""Progress of work that counts what is done."""

from __future__ import annotations

import pytest

from hurdles import progress
from hurdles.progress import (
    Options,
    Silent,
    TimeLeft,
    counting,
    give_back_memory,
    keep_big_blocks,
)


class Listener(Silent):
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def start(self, stage: str, total: int) -> None:
        self.calls.append((stage, total))

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.calls.append((steps,))


def test_a_stage_starts_once_and_advances_by_what_is_new():
    listener = Listener()
    count = counting(listener, "Reading")
    for done in (0, 2, 5):
        count(done, 5)
    assert listener.calls == [("Reading", 5), (0,), (2,), (3,)]


def test_nobody_listens_by_default():
    assert isinstance(Options().listener, Silent)


def test_the_allocator_is_told_only_where_there_is_glibc(monkeypatch):
    monkeypatch.setattr(progress.platform, "libc_ver", lambda: ("musl", "1.2"))
    assert keep_big_blocks.__wrapped__() is False
    monkeypatch.setattr(progress.sys, "platform", "darwin")
    assert keep_big_blocks.__wrapped__() is False


def test_an_earlier_glibc_keeps_blocks_up_to_what_it_takes(monkeypatch):
    taken = {}

    class Library:
        def mallopt(self, option, size):
            fits = option != -3 or size <= 32 << 20
            return int(fits and taken.setdefault(option, size) == size)

    monkeypatch.setattr(progress.ctypes, "CDLL", lambda _: Library())
    monkeypatch.setattr(progress.platform, "libc_ver", lambda: ("glibc", "2.31"))
    monkeypatch.setattr(progress.sys, "platform", "linux")
    assert keep_big_blocks.__wrapped__() is True
    assert taken == {-3: 32 << 20, -1: 2**31 - 1, -2: 256 << 20}


def test_memory_is_given_back_only_where_it_was_kept(monkeypatch):
    trimmed = []
    libc = type("Library", (), {"malloc_trim": lambda _, pad: trimmed.append(pad)})()
    monkeypatch.setattr(progress.ctypes, "CDLL", lambda _: libc)
    for kept in (True, False):
        monkeypatch.setattr(progress, "keep_big_blocks", lambda kept=kept: kept)
        give_back_memory()
    assert trimmed == [0]


#: Seconds of every step of work as it was seen.
TRACES = {
    "steady": [0.2] * 300,
    "slow to warm up": [2.0] * 8 + [0.2] * 292,
    "an epoch ends with a validation": ([0.2] * 20 + [1.0]) * 30,
    "batches of a pool": ([0.0] * 7 + [1.6]) * 100,
    "few steps": [30.0] * 12,
}


@pytest.mark.parametrize("trace", TRACES.values(), ids=TRACES)
def test_after_a_tenth_the_time_left_is_right_within_a_fifth(trace):
    left, now = TimeLeft(len(trace), 0.0), 0.0
    for done, seconds in enumerate(trace, start=1):
        now += seconds
        left.mark(done, now)
        true = sum(trace[done:])
        # Of the last steps it says how long one of them takes.
        if done > len(trace) / 10 and true > sum(trace) / 10:
            assert left.seconds(now) == pytest.approx(true, rel=0.2), done


def test_work_that_grows_slower_is_followed():
    """After a stage of quick steps and as many slow ones again, only these count."""
    left, now = TimeLeft(400, 0.0), 0.0
    for done in range(1, 201):
        now += 0.1 if done <= 100 else 1.0
        left.mark(done, now)
    assert left.seconds(now) == pytest.approx(200, rel=0.01)


def test_a_step_that_takes_longer_stays_one_step():
    left = TimeLeft(10, 0.0)
    for done in range(1, 6):
        left.mark(done, 2.0 * done)
    assert [left.seconds(10 + waited) for waited in (0, 1, 2, 5, 60)] == [10, 9, 8, 8, None]


def test_a_dear_step_is_waited_for_as_long_as_it_costs():
    left = TimeLeft(20, 0.0)
    left.mark(4, 8.0)
    left.step = 10
    waits = {0: 32, 10: 22, 20: 12, 40: 12, 62: None}
    assert {waited: left.seconds(8.0 + waited) for waited in waits} == waits


def test_there_is_no_time_left_without_a_pace():
    left = TimeLeft(10, 0.0)
    assert left.seconds(5.0) is None
    left.mark(3, 0.1)  # at once: of an earlier session
    assert left.seconds(5.0) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(30, "60 s left"), (300, "10 min left"), (9000, "5.0 h left")]
)
def test_time_left_in_words(seconds, words):
    left = TimeLeft(3, 0.0)
    assert left.words(0.0) == ""
    left.mark(1, seconds)
    assert left.words(seconds) == words
