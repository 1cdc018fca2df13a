"""Progress: sparse lines in a log, a bar on a terminal."""

from __future__ import annotations

import io

import pytest

from hurdles.cli import output as progress_bar
from hurdles.cli.output import ProgressBar


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress_bar, "time", made)
    return made


def work(bar: ProgressBar, clock: Clock, steps: int, seconds: float) -> None:
    for _ in range(steps):
        clock.now += seconds
        bar.advance(1, "so far so good")


class TestLines:
    def test_a_short_stage_is_two_lines(self, clock):
        stream = io.StringIO()
        with ProgressBar(stream) as bar:
            bar.start("Training", 4)
            work(bar, clock, 4, 0.5)
        assert stream.getvalue() == ("Training: 0 of 4\nTraining: 4 of 4, in 2 s, so far so good\n")

    def test_a_long_one_tells_every_quarter_of_a_minute(self, clock):
        stream = io.StringIO()
        with ProgressBar(stream) as bar:
            bar.start("Training", 100)
            work(bar, clock, 61, 1.0)
        assert stream.getvalue().splitlines() == [
            "Training: 0 of 100",
            "Training: 15 of 100, 85 s left, so far so good",
            "Training: 30 of 100, 70 s left, so far so good",
            "Training: 45 of 100, 55 s left, so far so good",
            "Training: 60 of 100, 40 s left, so far so good",
        ]

    def test_steps_of_an_earlier_session_do_not_make_it_look_fast(self, clock):
        stream = io.StringIO()
        with ProgressBar(stream) as bar:
            bar.start("Training", 1000)
            bar.advance(900)
            work(bar, clock, 15, 1.0)
        assert stream.getvalue().splitlines()[-1].startswith("Training: 915 of 1000, 85 s left")

    def test_what_is_said_stays(self, clock):
        stream = io.StringIO()
        with ProgressBar(stream) as bar:
            bar.say("3 of 40 images [cannot] be read")
        assert stream.getvalue() == "3 of 40 images [cannot] be read\n"

    def test_an_empty_stage(self, clock):
        stream = io.StringIO()
        with ProgressBar(stream) as bar:
            bar.start("Heat-maps", 0)
            bar.advance(0)
        assert stream.getvalue() == "Heat-maps: 0 of 0\n"


class TestTerminal:
    def test_stages_notes_and_lines_are_shown(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("TERM", "xterm")
        stream = Terminal()
        with ProgressBar(stream) as bar:
            bar.start("Reading images", 2)
            bar.advance(2)
            bar.say("/a/[b].png: cannot be read")
            bar.start("Training", 8)
            bar.advance(3, "epoch 1")
        shown = stream.getvalue()
        for text in ("Reading images", "2/2", "/a/[b].png: cannot be read", "3/8", "epoch 1"):
            assert text in shown

    def test_a_stage_that_ended_early_does_not_look_unfinished(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "120")
        stream = Terminal()
        with ProgressBar(stream) as bar:
            bar.start("Training", 800)
            bar.advance(5)
            bar.start("Predicting", 2)
            bar.advance(2)
        assert "5/5" in stream.getvalue()

    def test_no_colour_where_none_is_wanted(self, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "120")
        stream = Terminal()
        with ProgressBar(stream) as bar:
            bar.start("Training", 2)
            bar.advance(1)
        assert "\x1b[3" not in stream.getvalue()

    def test_advancing_before_any_stage_is_harmless(self):
        for stream in (Terminal(), io.StringIO()):
            with ProgressBar(stream) as bar:
                bar.advance(1)


def test_what_a_program_prints_is_shown_and_not_obeyed(monkeypatch):
    """As of a model behind a command: brackets are no markup, and a wrong one no error."""
    monkeypatch.setenv("COLUMNS", "160")
    stream = Terminal()
    with ProgressBar(stream) as bar:
        bar.start("Asking [the] model", 2)
        bar.advance(1, "[/bold] epoch [1/3]")
    assert "[/bold] epoch [1/3]" in stream.getvalue()
