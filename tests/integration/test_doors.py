"""Every door of the audit, as somebody with a model of their own goes through it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import hurdles
from hurdles.auditing.doors import Given, door_of
from hurdles.errors import HurdleError, HurdlesError, ModelError, RunError, SpecError
from hurdles.findings.finding import Verdict
from hurdles.foreign.spec import Spec
from hurdles.phantom.cohort import write_phantom
from hurdles.progress import Options
from hurdles.reporting.findings import finding_lines
from hurdles.runs.run import Run

LABELS = ("COVID-19", "Normal")
PROGRAM = """
import csv, pathlib, sys
import cv2
images, out = map(pathlib.Path, sys.argv[1:3])
with open(out, "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["image", "Normal", "COVID-19"])
    for path in images.glob("*.png"):
        x = cv2.resize(cv2.imread(str(path), 0), (64, 64)).astype("float32") / 255
        p = 1 / (1 + 2.718281828 ** (-40 * (float(x[:, 8:].mean()) - 0.4)))
        table.writerow([path.name, 1 - p, p])
"""


def bright(x):
    """Answer as PROGRAM does."""
    p = 1 / (1 + np.exp(-40 * (x[:, :, 8:].mean(axis=(1, 2)) - 0.4)))
    return np.column_stack([p, 1 - p])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doors")
    write_phantom(folder / "ward", 30, seed=1, size=64, classes=LABELS)
    write_phantom(folder / "clinic", 30, seed=2, size=64, classes=LABELS)
    (folder / "predict.py").write_text(PROGRAM, encoding="utf-8")
    return folder


@pytest.fixture
def options(place):
    return Options(cache=place / "cache")


@pytest.fixture(scope="module")
def of_function(place):
    return hurdles.audit(
        bright,
        data=place / "ward",
        classes=LABELS,
        size=64,
        on=place / "clinic",
        out=place / "function.html",
        options=Options(cache=place / "cache"),
    )


def numbers(findings):
    return {
        (row.hurdle, row.subject, row.statistic): (row.estimate.value, row.estimate.low)
        for row in findings.rows
        if row.estimate.is_defined
    }


def test_a_function_meets_every_hurdle_but_those_that_need_more(of_function, place):
    could_not = {row.hurdle for row in of_function.rows if row.verdict is Verdict.COULD_NOT_RUN} - {
        "subgroups",
        "views",
        "elsewhere",
    }
    assert could_not == {"stability"}
    assert (
        "other networks" in of_function.about["limits"]
        or "from elsewhere" in of_function.about["limits"]
    )
    page = (place / "function.html").read_text(encoding="utf-8")
    answer = page[page.index('id="answer"') : page.index('id="hurdles"')]
    assert "was not measured" in answer
    assert "was trained on is not known" in answer
    assert "was not measured" in " ".join(finding_lines(of_function)[-8:])
    assert (place / "function.json").is_file()


def test_a_program_gives_the_findings_of_the_function(of_function, place, options):
    command = f"{sys.executable} {place / 'predict.py'} {{images}} {{out}}"
    findings = hurdles.audit(
        command=command,
        data=place / "ward",
        classes=LABELS,
        size=64,
        on=place / "clinic",
        options=options,
    )
    ours, theirs = numbers(of_function), numbers(findings)
    assert ours.keys() == theirs.keys()
    for key, pair in ours.items():
        np.testing.assert_allclose(theirs[key], pair, atol=1e-5, err_msg=str(key))


def test_an_onnx_file_gives_the_findings_of_the_function(of_function, place, options):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((64 * 64, 2), np.float32)
    inside = np.zeros((64, 64), bool)
    inside[:, 8:] = True
    weights[inside.ravel(), 0] = 40 / inside.sum()
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 64, 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([-16, 0], np.float32), "b"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), place / "bright.onnx")
    spec = Spec(classes=LABELS, size=64)
    (place / "spec.toml").write_text(spec.to_toml(), encoding="utf-8")
    findings = hurdles.audit(
        place / "bright.onnx",
        spec=place / "spec.toml",
        data=place / "ward",
        on=place / "clinic",
        options=options,
    )
    ours, theirs = numbers(of_function), numbers(findings)
    assert ours.keys() == theirs.keys()
    for key, pair in ours.items():
        np.testing.assert_allclose(theirs[key], pair, atol=1e-4, err_msg=str(key))
    roles = {each.role: each.name for each in findings.inputs}
    assert roles["model"] == "bright.onnx"
    assert roles["spec"] == "spec.toml"


def test_expected_predictions_are_held_against_the_model(place, options):
    frame = pd.read_csv(place / "ward" / "manifest.csv")

    def expected(name, function):
        import cv2

        images = [cv2.imread(str(place / "ward" / image), 0) for image in frame["image"]]
        x = np.stack(images).astype(np.float32) / 255
        table = pd.DataFrame(function(x), columns=[*LABELS]).assign(image=frame["image"])
        table.to_csv(place / name, index=False)
        return place / name

    given = {
        "data": place / "ward",
        "classes": LABELS,
        "size": 64,
        "hurdles": ["calibration"],
        "options": options,
    }
    command = f"{sys.executable} {place / 'predict.py'} {{images}} {{out}}"
    of_program = hurdles.audit(command=command, expect=expected("good.csv", bright), **given)
    assert {"model", "expectation"} <= {each.role for each in of_program.inputs}
    good = hurdles.audit(bright, expect=expected("good.csv", bright), **given)
    assert good.about["expected"].startswith("the spec is believed")
    with pytest.raises(SpecError, match="when gray is inverted"):
        hurdles.audit(bright, expect=expected("dark.csv", lambda x: bright(1 - x)), **given)
    with pytest.raises(SpecError, match="the outputs are Normal, COVID-19"):
        hurdles.audit(bright, expect=expected("swap.csv", lambda x: bright(x)[:, ::-1]), **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing was given to audit"),
        ({"predictions": "p.csv", "command": "x {images} {out}"}, "predictions and a command"),
        (
            {"predictions": "p.csv", "spec": "m.toml"},
            "--spec is of no use with predictions.*--class, --column, --data",
        ),
        ({"predictions": "p.csv", "labels": {"a": "b"}}, "--label is about images.*--data"),
        ({"model": bright, "data": "ward"}, "does not say what its columns mean"),
        ({"model": bright, "classes": LABELS}, "asked about images; give them"),
        ({"command": "x {images} {out}", "data": "ward", "spec": "m.toml"}, "--spec is of no use"),
        ({"model": "m.onnx", "data": "ward", "classes": LABELS}, "--class is of no use"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_read(given, message, place):
    with pytest.raises(HurdleError, match=message):
        hurdles.audit(**given)


class SimpleRun(Run):
    """A run that need not be there."""

    recipe = SimpleNamespace(name="tiny")


@pytest.mark.parametrize("option", [{"labels": {"a": "b"}}, {"columns": {"a": "label"}}])
def test_what_a_run_would_not_use_is_refused(tmp_path, option):
    with pytest.raises(HurdleError, match="of no use with a run"):
        door_of(Given(model=SimpleRun(tmp_path), **option))


def test_one_probability_of_a_program_may_be_expected(place, options):
    frame = pd.read_csv(place / "ward" / "manifest.csv")
    p = np.linspace(0.1, 0.9, len(frame))
    frame[["image"]].assign(probability=p).to_csv(place / "one.csv", index=False)
    command = f"{sys.executable} {place / 'predict.py'} {{images}} {{out}}"
    with pytest.raises(SpecError, match=r"does not answer|is wrong"):
        hurdles.audit(
            command=command,
            positive="COVID-19",
            data=place / "ward",
            size=64,
            expect=place / "one.csv",
            options=options,
        )


def test_a_page_replaces_no_input(place, options):
    table = place / "mine.csv"
    pd.DataFrame(
        {"image": ["a", "b"], "label": [*LABELS], "COVID-19": [0.9, 0.1], "Normal": [0.1, 0.9]}
    ).to_csv(table, index=False)
    before = table.read_bytes()
    with pytest.raises(HurdlesError, match=r"mine\.csv"):
        hurdles.audit(predictions=table, out=place / "mine.html", options=options)
    assert table.read_bytes() == before


def test_a_program_that_fails_says_how(place, options):
    (place / "bad.py").write_text("raise SystemExit('no weights here')", encoding="utf-8")
    with pytest.raises(ModelError, match="no weights here"):
        hurdles.audit(
            command=f"{sys.executable} {place / 'bad.py'} {{images}} {{out}}",
            data=place / "ward",
            options=options,
        )


def test_a_place_without_labels_is_forecast_and_not_judged(place, options):
    flat = place / "flat"
    flat.mkdir(exist_ok=True)
    for path in (place / "clinic").glob("*/*.png"):
        (flat / f"{path.parent.name[0]}-{path.name}").write_bytes(path.read_bytes())
    findings = hurdles.audit(
        bright,
        data=place / "ward",
        classes=LABELS,
        size=64,
        on=flat,
        hurdles=["elsewhere"],
        options=options,
    )
    names = [row.subject for row in findings.of("elsewhere")]
    assert not [row.estimate.note for row in findings.rows if row.is_fault]
    assert "accuracy at flat, ATC" in names
    assert not [name for name in names if name.startswith("flat, ")]
    text = "\n".join(finding_lines(findings))
    assert "at flat" in text


def test_what_is_no_run_is_refused_with_what_to_give(tmp_path, options):
    with pytest.raises(RunError, match=r"holds no run.*--out folder"):
        hurdles.audit(tmp_path, options=options)
    with pytest.raises(RunError, match=r"is not a folder.*--out folder"):
        hurdles.audit(tmp_path / "missing", options=options)
