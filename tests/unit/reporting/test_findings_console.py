"""Findings in a terminal."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "findings"))
import findings_samples as samples

from hurdles.findings.finding import Finding, Limit, counted
from hurdles.findings.table import Findings
from hurdles.reporting.findings import finding_lines


def block(lines: list[str], hurdle: str) -> str:
    """Return the lines of one hurdle."""
    heads = [i for i, line in enumerate(lines) if not line.startswith(" ")]
    start = next(i for i in heads if f" {hurdle} - " in lines[i])
    return "\n".join(lines[start : next(i for i in heads if i > start)])


LINES = finding_lines(samples.model_findings())


def test_a_hit_names_its_findings_with_interval_and_limit_and_what_to_do():
    said = block(LINES, "views")
    assert said.startswith("HIT  ")
    assert "AUC of telling the class, macro (hit above 0.58):" in said
    assert "background              0.897 [0.867, 0.927]" in said
    assert "thumbnail" not in said
    assert said.count("do: Train on images") == 1  # three hits with one advice


def test_what_could_not_run_says_why():
    assert "could not run (integrated gradients): its maps stay" in block(LINES, "attention")
    said = block(LINES, "stability")
    assert said.startswith("could not run  stability")
    assert "two further seeds" in said


def test_what_is_inconclusive_says_so_with_what_would_settle_it():
    said = block(LINES, "source")
    assert said.startswith("inconclusive  ")
    assert "0.590 [0.480, 0.690] (hit above 0.58; about" in " ".join(said.split())
    assert "about 48,000 patients would settle it" in said
    assert "do:" not in said


def test_the_answer_stands_last_and_nothing_is_wider_than_a_terminal():
    assert LINES[-1] == "Research use only. Not a medical device."
    assert "82 % [74, 90] of what this model's AUC" in "\n".join(LINES[-6:])
    assert max(map(len, LINES)) <= 100


@pytest.mark.parametrize("name", ["x" * 300, "two\nlines", "a name of words " * 12])
def test_long_names_break_instead_of_widening(name):
    findings = samples.model_findings()
    rows = tuple(replace(r, subject=f"{r.subject} {name}", advice=name) for r in findings.rows)
    lines = finding_lines(Findings(rows, dict.fromkeys(findings.hurdles, name)))
    assert max(map(len, lines)) <= 100
    assert not any("\n" in line for line in lines)


def test_many_hits_are_counted_and_not_listed():
    rows = [samples.area(f"view {i}", 0.9, 0.01) for i in range(9)]
    said = "\n".join(finding_lines(Findings(tuple(rows), {"views": "?"})))
    assert "and 5 more hit" in said


def test_a_hurdle_in_which_nothing_is_judged_says_so():
    row = samples.area("lungs", 0.9, 0.01, None)
    said = "\n".join(finding_lines(Findings((row,), {"views": "?"})))
    assert said.startswith("not judged")
    empty = "\n".join(finding_lines(Findings((), {"views": "?"})))
    assert empty.startswith("could not run")


def test_none_asked_is_said():
    assert finding_lines(Findings((), {}))[0] == "No hurdle was asked, so nothing can be said."


def test_counts_need_no_interval():
    lines = finding_lines(samples.data_findings(1))
    assert "    images with a fault of files: 2 (hit above 0)" in lines


def test_every_count_of_a_hurdle_is_printed_whatever_its_verdict():
    limit = Limit(0, "by definition")
    rows = tuple(
        Finding("duplicates", subject, f"pairs {subject}", counted(n, n_images=99), held)
        for subject, n, held in (("split", 22, limit), ("labels", 0, limit), ("likely", 7, None))
    )
    said = "\n".join(finding_lines(Findings(rows, {"duplicates": "?"})))
    assert "counts: split 22, labels 0, likely 7" in said
