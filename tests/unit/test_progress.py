"""Progress of work that counts what is done."""

from __future__ import annotations

from hurdles.progress import Options, Silent, counting


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
