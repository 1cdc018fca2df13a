"""Findings as Markdown."""

from __future__ import annotations

from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.findings.finding import Evidence, Finding, Limit, Scale, counted
from hurdles.findings.table import Findings
from hurdles.reporting.findings import findings_markdown


def test_what_would_settle_a_row_names_classes_and_obeys_none():
    auc = Estimate(0.6, 0.5, 0.7, 0.95, "DeLong", 436, 400)
    limit = Limit(0.65, "calibrate-audit", "above", 0.55, "a margin")
    row = Finding("age", "age", "AUC", auc, limit, scale=Scale.AUC,
                  settled_by="beyond: [x](http://e.example), <img src=x>")  # fmt: skip
    page = findings_markdown(Findings((row,), {"age": "Is it?"}), title="Ours")
    assert "beyond: " in page
    assert "[x](" not in page.replace("\\[x\\](", "")
    assert "<img" not in page


def made():
    auc = Estimate(0.81, 0.75, 0.86, 0.95, "DeLong", 436, 400)
    limit = Limit(0.55, "calibrate-audit, 150 cohorts")
    gap, five = (
        Estimate(0.01, -0.07, 0.09, 0.95, "MOVER", 436, 400),
        Limit(-0.05, "five points", "below", -0.1, "ten points"),
    )
    evidence = tuple(Evidence(f"a|{i}.png", "told <b>surely</b>") for i in range(6))
    rows = (
        Finding(
            "pixels",
            "borders",
            "AUC from borders",
            auc,
            limit,
            "Crop them.",
            evidence,
            scale=Scale.AUC,
        ),
        Finding("pixels", "histogram", "AUC from histogram", auc, None, "Only shown."),
        Finding(
            "patients",
            "",
            "ids shared",
            counted(0, n_images=9),
            Limit(0, "by definition"),
            scale=Scale.COUNT,
        ),
        Finding("subgroups", "F", "AUC: F minus M", gap, five, scale=Scale.DIFFERENCE),
        Finding("size", "COVID-19", "width", undefined("no split"), Limit(0.2, "Riley")),
    )
    questions = {"pixels": "Told from pixels?", "patients": "Apart?", "subgroups": "Alike?"}
    questions["size"] = "Enough?"
    return Findings(rows, questions, {"images": "ours, 436 images"})


def test_a_margin_says_where_it_comes_from_also_where_it_equals_the_limit():
    share = Estimate(0.02, 0.0, 0.1, 0.95, "Wilson", 60, 60)
    limit = Limit(0.05, "calibrated", margin=0.05, margin_source="five points")
    rows = (Finding("perturbations", "blur", "share of answers that flip", share, limit),)
    page = findings_markdown(Findings(rows, {"perturbations": "Same?"}, {}), title="One")
    assert "- A limit comes from: calibrated" in page
    assert "- A margin comes from: five points" in page


def test_it_leads_with_the_answer_and_shows_every_row():
    page = findings_markdown(made(), title="Hurdles for data: ours | all")
    lines = page.splitlines()
    assert lines[0] == "# Hurdles for data: ours \\| all"
    assert lines[2].startswith("**The class can be told from borders alone with an AUC of 0.810")
    assert "| AUC from borders | 0.810 [0.750, 0.860] | at most 0.55 | at most 0.55 | hit |" in page
    assert "| AUC from histogram | 0.810 [0.750, 0.860] |  |  | shown |" in page
    assert "| patients | cleared | ids shared | 0 | at most 0 | at most 0 |" in page
    assert (
        "| AUC: F minus M | 0.010 [-0.070, 0.090] | at least -0.05 | at least -0.1 | cleared |"
        in page
    )
    assert "- A margin comes from: ten points" in page
    assert "- Could not run, COVID-19: width: no split" in page
    assert "- A limit comes from: calibrate-audit, 150 cohorts" in page
    assert "Looked at: images ours, 436 images." in page
    assert lines[-1] == "Research use only; not a medical device."


def test_advice_and_evidence_belong_to_hits_only_and_nothing_is_markup():
    page = findings_markdown(made(), title="ours")
    assert "- To do: Crop them." in page
    assert "Only shown." not in page
    assert "and 2 more" in page
    assert "<b>" not in page
