"""Progress: sparse lines in a log, a bar on a terminal."""

from __future__ import annotations

import io
import threading

import pytest

from hurdles.cli import progress as progress_bar
from hurdles.cli.progress import ProgressBar


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
    monkeypatch.setattr(progress_bar, "_SILENT", 5.0)
    return made


def work(bar: ProgressBar, clock: Clock, steps: int, seconds: float) -> None:
    for _ in range(steps):
        clock.now += seconds
        bar.advance(1, "so far so good")


@pytest.fixture
def log(clock):
    """Return a bar whose own clock does not run, and the lines that it writes."""
    stream = io.StringIO()
    return ProgressBar(stream), lambda: stream.getvalue().splitlines()


class TestLines:
    def test_a_short_stage_is_two_lines(self, clock, log):
        bar, lines = log
        bar.start("Training", 4)
        work(bar, clock, 4, 0.5)
        assert lines() == ["Training: 0 of 4", "Training: 4 of 4, in 2 s, so far so good"]

    def test_a_long_one_tells_every_five_seconds(self, clock, log):
        bar, lines = log
        bar.start("Training", 100)
        work(bar, clock, 21, 1.0)
        assert lines() == [
            "Training: 0 of 100",
            "Training: 5 of 100, 95 s left, so far so good",
            "Training: 10 of 100, 90 s left, so far so good",
            "Training: 15 of 100, 85 s left, so far so good",
            "Training: 20 of 100, 80 s left, so far so good",
        ]

    def test_steps_that_cost_more_take_longer(self, clock, log):
        bar, lines = log
        bar.start("Hurdles", 4, [1, 4, 2, 3])
        for name, seconds in (("views", 6.0), ("attention", 24.0), ("perturbations", 12.0)):
            clock.now += seconds
            bar.advance(1, name)
        assert lines() == [
            "Hurdles: 0 of 4",
            "Hurdles: 1 of 4, 54 s left, views",
            "Hurdles: 2 of 4, 30 s left, attention",
            "Hurdles: 3 of 4, 18 s left, perturbations",
        ]

    def test_lines_grow_rarer_in_the_log_of_hours(self, clock, log):
        bar, lines = log
        bar.start("Training", 36_000)
        work(bar, clock, 36_000, 1.0)
        assert len(lines()) < 1000

    def test_steps_of_an_earlier_session_do_not_make_it_look_fast(self, clock, log):
        bar, lines = log
        bar.start("Training", 1000)
        bar.advance(900)
        work(bar, clock, 15, 1.0)
        assert lines()[-1].startswith("Training: 915 of 1000, 85 s left")

    def test_what_is_said_stays(self, log):
        bar, lines = log
        bar.say("3 of 40 images [cannot] be read")
        assert lines() == ["3 of 40 images [cannot] be read"]

    def test_an_empty_stage(self, log):
        bar, lines = log
        bar.start("Heat-maps", 0)
        bar.advance(0)
        assert lines() == ["Heat-maps: 0 of 0"]


class TestSilence:
    def test_work_that_tells_nothing_is_said_to_go_on(self, clock, log):
        bar, lines = log
        for _ in range(2):
            clock.now += 5
            bar.look()
            bar.look()
        bar.start("Hurdles", 3)
        bar.advance(1, "copies")
        bar.advance(0, "confounders")
        clock.now += 5
        bar.look()
        bar.advance(2)
        clock.now += 5
        bar.look()
        assert lines() == [
            "at work for 5 s",
            "at work for 10 s",
            "Hurdles: 0 of 3",
            "Hurdles: 1 of 3, for 5 s at the next, confounders",
            "Hurdles: 3 of 3, in 5 s",
            "Hurdles: done; at work for 5 s since",
        ]

    def test_a_clock_of_its_own_looks(self, monkeypatch):
        monkeypatch.setattr(progress_bar, "_TICK", 0.01)
        monkeypatch.setattr(progress_bar, "_SILENT", 0.02)
        looked = threading.Event()

        class Stream(io.StringIO):
            def write(self, text: str) -> int:
                looked.set()
                return len(text)

        with ProgressBar(Stream()):
            assert looked.wait(60)
        assert "progress" not in {thread.name for thread in threading.enumerate()}


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

    def test_work_between_stages_has_a_bar_of_its_own(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setattr(progress_bar, "_SILENT", 0.0)
        monkeypatch.setattr(progress_bar, "_TICK", 60.0)
        with ProgressBar(Terminal()) as bar:
            stages = []
            for stage in ("", "Training", "Predicting"):
                if stage:
                    bar.start(stage, 1)
                    bar.look()
                    bar.advance(1)
                for _ in range(2):
                    bar.look()
                stages.append([task.description for task in bar._bar.tasks])
        assert stages == [
            ["At work"],
            ["Training", "At work"],
            ["Training", "Predicting", "At work"],
        ]

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


def test_a_closed_stderr_is_no_error(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)  # as Python starts after 2>&-
    with ProgressBar() as bar:
        bar.start("Training", 2)
        bar.advance(2)
        bar.say("done")
