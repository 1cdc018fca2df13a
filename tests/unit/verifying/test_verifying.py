"""Verification of a check's files: all agrees, and every planted change is noticed by name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import hurdles
from hurdles.data.inputs import Input, digest
from hurdles.errors import EvaluationError, RunError
from hurdles.evaluation.conditions import Conditions
from hurdles.evaluation.evaluation import evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.findings import limits
from hurdles.findings.table import SCHEMA, Findings
from hurdles.phantom import write_phantom
from hurdles.progress import Options
from hurdles.verifying.verification import Line, Outcome, Verification


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with images, a table of them, and the files of a check."""
    folder = tmp_path_factory.mktemp("made")
    write_phantom(folder / "there", 12, seed=4, size=64, classes=("COVID-19", "Normal"))
    shutil.copy(folder / "there" / "manifest.csv", folder / "there" / "cohort.csv")
    hurdles.check(
        folder / "there" / "cohort.csv",
        out=folder / "page.html",
        hurdles=["files", "duplicates", "confounders", "size"],
        options=Options(cache=folder / "cache"),
    )
    return folder


@pytest.fixture
def home(made, tmp_path):
    """Return a copy of the folder, which may be changed."""
    for name in ("page.html", "page.json", "page.csv"):
        shutil.copy(made / name, tmp_path / name)
    shutil.copytree(made / "there", tmp_path / "there")
    return tmp_path


def verified(home: Path, file: str = "page.json", **more) -> Verification:
    more.setdefault("options", Options(cache=home / "cache"))
    return hurdles.verify(home / file, **more)


def whole(home: Path, file: str = "page.json") -> Verification:
    table = home / "there" / "cohort.csv"
    return verified(home, file, data=table, against=[table])


def of(found: Verification, outcome: str) -> dict[str, str]:
    return {line.of: line.why for line in found.of(outcome)}


def changed(path: Path, change, *, redigest: bool = False) -> None:
    plain = json.loads(path.read_text())
    change(plain)
    if redigest:
        plain["digest"] = digest(plain)
    path.write_text(json.dumps(plain, indent=2))


def test_an_untouched_check_agrees_but_for_its_pictures(home):
    found = whole(home)
    assert of(found, "differs") == {}
    assert set(of(found, "could not be checked")) == {"page.html, its pictures"}
    agree = of(found, "agrees")
    assert {"schema", "digest", "verdicts", "hurdles", "limits", "page.csv"} <= set(agree)
    assert {"page.html, its words and numbers", "images cohort", "rows cohort"} <= set(agree)
    assert {"table cohort.csv", "limits limits.toml"} <= set(agree)
    assert found.exit_code == 4
    assert found.tally == f"{len(agree)} agree, 0 differ, 1 could not be checked."
    for name in ("page.html", "page.csv"):
        (home / name).unlink()
    assert whole(home).exit_code == 0
    assert whole(home).to_dict()["agrees"] is True


def test_what_is_not_at_hand_was_not_checked(home):
    found = verified(home)
    left = of(found, "could not be checked")
    assert {"images cohort", "rows cohort", "table cohort.csv"} <= set(left)
    assert found.exit_code == 4
    assert found.to_dict()["agrees"] is False
    words = " ".join(line.why for line in found.lines)
    assert "verified" not in words


def test_a_changed_number_is_noticed(home):
    before = json.loads((home / "page.json").read_text())
    row = next(i for i, f in enumerate(before["findings"]) if f["verdict"] == "hit")

    def smaller(plain):
        plain["findings"][row]["estimate"]["value"] -= 0.01

    changed(home / "page.json", smaller)
    differ = of(verified(home), "differs")
    assert {"digest", "page.csv"} <= set(differ)
    assert any(name.startswith("page.html") for name in differ)
    # Whoever computes the digest anew is still betrayed by the page and the table.
    changed(home / "page.json", smaller, redigest=True)
    differ = of(verified(home), "differs")
    assert "digest" not in differ
    assert {"page.csv", "page.html", "page.html, its words and numbers"} <= set(differ)


def test_a_swapped_verdict_is_noticed_even_with_a_digest_of_its_own(home):
    def swap(plain):
        row = next(f for f in plain["findings"] if f["verdict"] == "hit")
        row["verdict"] = "cleared"

    changed(home / "page.json", swap, redigest=True)
    found = verified(home)
    differ = of(found, "differs")
    assert "'cleared' is written, interval, limit and margin give 'hit'" in differ["verdicts"]
    assert found.exit_code == 3


def test_a_hurdle_s_swapped_verdict_is_noticed(home):
    def swap(plain):
        next(h for h in plain["hurdles"] if h["verdict"] == "hit")["verdict"] = "cleared"

    changed(home / "page.json", swap, redigest=True)
    assert "its findings give 'hit'" in of(verified(home), "differs")["hurdles"]


def test_a_changed_interval_that_changes_no_verdict_shows_in_what_follows(home):
    def widen(plain):
        row = next(f for f in plain["findings"] if f["to_settle"])
        row["estimate"]["high"] += 0.001

    changed(home / "page.json", widen, redigest=True)
    assert "to_settle is" in " ".join(of(verified(home), "differs").values())


def test_a_limit_that_was_moved_is_noticed(home):
    def move(plain):
        for row in plain["findings"]:
            if row["limit"] and row["limit"]["source"].startswith("calibrate-audit"):
                row["limit"]["value"] = 0.999

    changed(home / "page.json", move, redigest=True)
    assert "others are calibrated in this hurdles" in of(verified(home), "differs")["limits"]


def test_an_edited_limits_file_is_noticed(home, made, tmp_path, monkeypatch):
    shipped = Path(limits.__file__).parent / "limits.toml"
    edited = tmp_path / "edited" / "limits.toml"
    edited.parent.mkdir()
    edited.write_text(shipped.read_text() + "\n# looser\n")
    found = verified(home, against=[edited])
    assert "limits.toml has SHA-256" in of(found, "differs")["limits limits.toml"]
    assert "limits limits.toml" in of(verified(home, against=[shipped]), "agrees")
    # The same where the file inside the package is another one.
    monkeypatch.setattr(
        "hurdles.verifying.inputs.limits_input", lambda: limits.Input.of_file("limits", edited)
    )
    found = verified(home)
    assert "those of this hurdles are" in of(found, "differs")["limits limits.toml"]


def test_a_page_of_another_json_is_noticed(home, made):
    other = home / "other"
    hurdles.check(
        made / "there",
        out=other / "page.html",
        hurdles=["size"],
        options=Options(cache=made / "cache"),
    )
    shutil.copy(other / "page.html", home / "page.html")
    differ = of(verified(home), "differs")
    assert differ["page.html"].startswith("made of the findings ")
    assert "page.html, its words and numbers" in differ
    found = verified(home, "page.html", against=[other / "page.json"])
    assert of(found, "differs") == {}
    assert "page.html, its words and numbers" in of(found, "agrees")


@pytest.mark.parametrize(
    ("old", "new"),
    [("Research use only. Not a medical device.", ""), ("is-hit", "is-cleared"), ("0.", "0.0")],
)
def test_a_changed_page_is_noticed(home, old, new):
    page = home / "page.html"
    text = page.read_text()
    begin = text.index("<body>")
    page.write_text(text[:begin] + text[begin:].replace(old, new, 1))
    for file in ("page.json", "page.html"):
        differ = of(verified(home, file), "differs")
        assert "page.json gives" in differ["page.html, its words and numbers"]


def test_a_page_of_another_version_is_not_compared(home):
    page = home / "page.html"
    page.write_text(re.sub(r'content="hurdles [^"]+"', 'content="hurdles 9.9"', page.read_text()))
    left = of(verified(home, "page.html"), "could not be checked")
    assert "written by hurdles 9.9" in left["page.html, its words and numbers"]


def test_changed_images_rows_and_tables_are_noticed(home):
    table = home / "there" / "cohort.csv"
    first = next((home / "there").rglob("*.png"))
    pixels = first.read_bytes()
    first.write_bytes(pixels + b"\0")
    differ = of(whole(home), "differs")
    assert set(differ) == {"images cohort"}
    first.unlink()
    assert of(whole(home), "differs")["images cohort"].startswith("17 files have")
    first.write_bytes(pixels)
    text = table.read_text()
    table.write_text(text.replace(",Normal,", ",COVID-19,", 2))
    differ = of(whole(home), "differs")
    assert set(differ) == {"rows cohort", "table cohort.csv"}


def test_a_file_that_is_no_input_differs(home):
    (home / "mine.csv").write_text("a\n")
    found = verified(home, against=[home / "mine.csv"])
    assert "none of the inputs" in of(found, "differs")["given mine.csv"]


def test_images_may_have_another_name_now(home):
    (home / "there").rename(home / "moved")
    found = verified(home, data=home / "moved" / "cohort.csv", against=[home / "moved"])
    assert {"images cohort", "rows cohort", "table cohort.csv"} <= set(of(found, "agrees"))
    (home / "moved" / "cohort.csv").rename(home / "moved" / "renamed.csv")
    table = home / "moved" / "renamed.csv"
    found = verified(home, data=table, against=[table])  # known by its content
    assert {"images cohort", "rows cohort", "table cohort.csv"} <= set(of(found, "agrees"))


def test_what_breaks_the_schema_is_named_and_the_rest_not_checked(home):
    changed(home / "page.json", lambda plain: plain["findings"][0].pop("estimate"))
    found = verified(home)
    assert "'estimate' is a required property" in of(found, "differs")["schema"]
    assert "all else" in of(found, "could not be checked")
    (home / "page.json").write_text((home / "page.json").read_text().replace(": 0.95", ": NaN", 1))
    assert "is none" in of(verified(home), "differs")["digest"]


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["inputs"][0].update(name=None),
        lambda plain: plain["inputs"][0].update(sha256=7),
        lambda plain: plain["findings"][0]["estimate"].update(low="x"),
        lambda plain: plain["about"].update(images=float("inf")),
    ],
)
@pytest.mark.parametrize("has_schema", [True, False])
def test_what_has_another_type_ends_in_no_traceback(home, change, has_schema):
    changed(home / "page.json", change)
    if not has_schema:
        changed(home / "page.json", lambda plain: plain.pop("schema"))
    left = of(verified(home), "could not be checked")
    assert ("all else" in left) or not has_schema


@pytest.mark.parametrize("up", ["../", "../../../", ""])
def test_a_name_leads_out_of_no_folder(home, tmp_path, up):
    secret = tmp_path / "apart" / "secret.txt"
    secret.parent.mkdir()
    secret.write_text("secret")
    (home / "deep").mkdir(exist_ok=True)
    name = f"{up}apart/secret.txt" if up else str(secret)
    changed(home / "page.json", lambda plain: plain["inputs"][0].update(role="table", name=name))
    lines = {line.of: line for line in verified(home).lines}
    assert "no such file is at hand" in lines[f"table {name}"].why


def test_an_older_file_is_read_and_said_to_be_one(home):
    def older(plain):
        for key in ("schema", "digest", "inputs"):
            del plain[key]
        plain["about"]["hurdles"] = "0.0.9"

    changed(home / "page.json", older)
    Findings.load(home / "page.json")
    left = of(verified(home), "could not be checked")
    assert {"schema", "digest", "inputs", "limits"} <= set(left)
    assert "an earlier version wrote it" in left["schema"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "holds neither findings nor an evaluation"),
        ('{"schema": "urn:hurdles:findings:7", "findings": []}', "'urn:hurdles:findings:7'"),
        ("[]", "is no JSON file of hurdles"),
        ("[" * 100_000, "is no JSON file of hurdles"),
        ('{"a": ' + "9" * 400 + "}", "a whole number has 400 digits"),
        ('{"a": "\\ud800"}', "surrogates not allowed"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path, text, words):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(EvaluationError, match=words):
        hurdles.verify(tmp_path / "x.json")


def test_paths_that_lead_nowhere_are_refused(home, tmp_path):
    with pytest.raises(EvaluationError, match=r"gone\.json is not there"):
        verified(home, "gone.json")
    with pytest.raises(EvaluationError, match=r"gone\.csv is not there"):
        verified(home, against=[home / "gone.csv"])
    with pytest.raises(RunError, match="holds no run"):
        verified(home, "there")
    (home / "page.json").unlink()
    with pytest.raises(EvaluationError, match="name its JSON by --against"):
        verified(home, "page.html")


@pytest.fixture
def evaluation(tmp_path):
    """Return the JSON of an evaluation, beside the predictions that it was computed from."""
    table = Predictions.from_arrays(
        ["sick", "well"], y_true=["sick", "well"] * 10,
        y_prob=[[p, 1 - p] for p in [0.9, 0.2, 0.6, 0.4, 0.3] * 4],
        images=list(map(str, range(20))), groups=[str(i // 2) for i in range(20)],
    )  # fmt: skip
    table.save(tmp_path / "p.csv")
    named = Input.of_file("predictions", tmp_path / "p.csv")
    result = evaluate(table, level=0.9)
    path = tmp_path / "e.json"
    path.write_text(json.dumps({**result.to_dict(), "inputs": [named.to_dict()]}))
    changed(path, lambda plain: None, redigest=True)
    return path


def test_measures_are_computed_again_from_predictions(evaluation):
    found = hurdles.verify(evaluation)
    assert found.exit_code == 0, found.lines
    assert "18 measures" in of(found, "agrees")["measures"] or found.of("agrees")


def test_an_evaluation_from_before_each_patient_counted_once_is_said_to_lack_that(evaluation):
    changed(evaluation, lambda p: p.pop("patient_weighted"), redigest=True)
    found = hurdles.verify(evaluation)
    assert found.exit_code == 4, found.lines
    assert not found.of("differs")
    left = of(found, "could not be checked")["measures with each patient once"]
    assert "an earlier version wrote" in left


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (lambda p: p["estimates"][0].update(value=0.99), "measures", "and would be"),
        (lambda p: p["estimates"].pop(), "measures", "is missing"),
        (lambda p: p["confusion"][0].__setitem__(0, 10), "counts", "confusion is"),
        (lambda p: p.update(notes=[]), "notes", "left out"),
        (lambda p: p.update(scores=[]), "histograms", "others follow from p.csv"),
        (lambda p: p["scores"][0]["low"].__setitem__(0, 0.5), "histograms", "others follow"),
        (
            lambda p: p["patient_weighted"][0].update(value=0.99),
            "measures with each patient once",
            "and would be",
        ),
        (
            lambda p: p["patient_weighted"].pop(),
            "measures with each patient once",
            "is missing",
        ),
        (lambda p: p.update(n_patients=20), "counts", "n_patients is 20, and would be 10"),
    ],
)
def test_a_changed_evaluation_is_noticed(evaluation, change, line, words):
    changed(evaluation, change, redigest=True)
    assert words in of(hurdles.verify(evaluation), "differs")[line]


def test_measures_at_conditions_are_computed_again_where_thresholds_can_be(evaluation):
    table = Predictions.load(evaluation.parent / "p.csv")
    table.save(evaluation.parent / "validation.csv")
    conditions = Conditions(
        prevalence={"sick": 0.1}, specificity=(0.5,), sensitivity=(0.6, 0.7), benefit_at=(0.2,)
    )
    more = evaluate(table, level=0.9, conditions=conditions, validation=table)
    rows = more.to_dict()["conditional"]
    held = Input.of_file("predictions", evaluation.parent / "validation.csv").to_dict()

    def conditional(plain):
        plain["conditional"] = rows
        plain["inputs"].append(held)

    changed(evaluation, conditional, redigest=True)
    found = hurdles.verify(evaluation)
    assert found.exit_code == 0, found.lines
    assert f"all {len(rows)} " in of(found, "agrees")["measures at conditions"]
    value = rows[-1].pop("value")
    changed(evaluation, lambda p: p["conditional"][-1].update(value=value + 0.1), redigest=True)
    assert "another number" in of(hurdles.verify(evaluation), "differs")["measures at conditions"]
    changed(evaluation, lambda p: p["conditional"].pop(), redigest=True)
    assert "is missing" in of(hurdles.verify(evaluation), "differs")["measures at conditions"]
    (evaluation.parent / "validation.csv").unlink()
    left = of(hurdles.verify(evaluation), "could not be checked")
    assert "are not at hand" in left["measures at conditions"]


def test_other_predictions_are_noticed(evaluation):
    table = evaluation.parent / "p.csv"
    text = table.read_text()
    table.write_text(text.replace("0.6,0.4", "0.8,0.2", 1))
    assert text != table.read_text()
    differ = of(hurdles.verify(evaluation), "differs")
    assert "has SHA-256" in differ["predictions p.csv"]
    assert "measures" in differ
    table.write_text("a,b\n1,2\n")
    left = of(hurdles.verify(evaluation), "could not be checked")
    assert "p.csv cannot be read here" in left["measures"]
    assert "no column is the true class" in left["measures"]
    table.write_text(text)
    table.rename(evaluation.parent / "same.csv")
    assert hurdles.verify(evaluation, against=[evaluation.parent / "same.csv"]).exit_code == 0
    table.write_text("a,b\n1,2\n")
    table.rename(evaluation.parent / "q.csv")
    left = of(hurdles.verify(evaluation), "could not be checked")
    assert {"measures", "predictions p.csv"} <= set(left)
    found = hurdles.verify(evaluation, against=[evaluation.parent / "q.csv"])
    assert "none of the inputs" in of(found, "differs")["given q.csv"]


def test_outcomes_decide_the_exit_code():
    def code(*outcomes):
        return Verification("f", tuple(Line(Outcome(o), "x", "y") for o in outcomes)).exit_code

    assert code("agrees") == 0
    assert code("agrees", "could not be checked") == 4
    assert code("could not be checked", "differs") == 3
    assert code() == 4  # nothing was checked
    assert "verified" not in Verification("f", ())._repr_html_()


def test_the_schema_is_the_one_that_is_named(home):
    assert json.loads((home / "page.json").read_text())["schema"] == SCHEMA.content["$id"]
