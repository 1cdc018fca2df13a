"""Progress of work that counts what is done."""

from __future__ import annotations

from hurdles import progress
from hurdles.progress import Options, Silent, counting, keep_big_blocks


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
