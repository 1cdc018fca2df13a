"""Verbs on images of which no class is known: what needs none runs, what needs one says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import hurdles
from hurdles.cli import app
from hurdles.errors import HurdleError, ManifestError
from hurdles.findings.finding import Verdict

NEEDING = {"confounders", "pixels", "size"}
NO_CLASSES = "no classes are known"


@pytest.fixture
def flat(phantom, tmp_path) -> Path:
    folder = tmp_path / "flat"
    folder.mkdir()
    for path in pd.read_csv(phantom)["path"][:20]:
        shutil.copy(phantom.parent / path, folder / path.replace("/", "-"))
    first = sorted(folder.iterdir())[0]
    shutil.copy(first, folder / "z-copy.png")
    return folder


@pytest.fixture
def table(phantom, tmp_path) -> Path:
    frame = pd.read_csv(phantom)[["path", "patient", "source"]]
    frame["path"] = [str(phantom.parent / path) for path in frame["path"]]
    frame.to_csv(tmp_path / "unlabeled.csv", index=False)
    return tmp_path / "unlabeled.csv"


def test_hurdles_that_need_classes_say_so_by_name_and_the_others_run(flat, options, tmp_path):
    findings = hurdles.check(flat, out=tmp_path / "page.html", options=options)
    for name in NEEDING:
        assert findings.verdict(name) is Verdict.COULD_NOT_RUN
        (row,) = (row for row in findings.rows if row.hurdle == name)
        assert row.estimate.note == NO_CLASSES
    assert findings.verdict("duplicates") is Verdict.HIT
    assert not any(row.is_fault for row in findings.rows)
    unasked = {row.subject for row in findings.rows if row.estimate.note == NO_CLASSES}
    assert {"conflicting labels", "text burnt in", "frame", "JPEG blocks"} <= unasked
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert NO_CLASSES in page
    assert "(no class)" not in page


def test_a_table_brings_patients_though_no_classes(table, options):
    findings = hurdles.check(table, hurdles=["patients"], options=options)
    missing = next(row for row in findings.rows if row.subject == "missing")
    assert missing.estimate.value == 0
    several = next(row for row in findings.rows if row.subject == "several classes")
    assert several.estimate.note == NO_CLASSES


def test_a_hurdle_of_ones_own_that_asks_for_classes_could_not_run(flat, options):
    from hurdles.auditing.loading import material_of
    from hurdles.data.reading import read_manifest

    images = read_manifest(flat, unlabeled=True)
    material = material_of(images, name="flat", options=options, lungs=False)
    with pytest.raises(HurdleError, match=NO_CLASSES):
        material.labels  # noqa: B018 - reading it raises


def test_lineage_and_fingerprints_need_no_classes(flat, options, tmp_path):
    file = hurdles.fingerprint(flat, out=tmp_path / "own.npz", name="own", options=options)
    files = sorted(flat.iterdir())[:3]
    result = hurdles.lineage(files, fingerprints=[file], options=options)
    assert set(result.table["collection"]) == {"own"}
    assert result.table["image"].nunique() == 3


def test_single_files_and_patterns_are_images_of_check(flat):
    words = ["check", str(flat / "*-1.png"), "--hurdle", "duplicates", "--hurdle", "size", "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert NO_CLASSES in done.stdout


@pytest.mark.parametrize("verb", ["run", "evaluate", "embed"])
def test_verbs_that_need_classes_refuse_as_before(verb, flat, finished, tiny, options, tmp_path):
    calls = {
        "run": lambda: hurdles.run(tiny, data=flat, out=tmp_path / "run", options=options),
        "evaluate": lambda: hurdles.evaluate(finished, on=flat, options=options),
        "embed": lambda: hurdles.embed(finished, on=flat, out=tmp_path / "e", options=options),
    }
    with pytest.raises(ManifestError, match="has no class folders"):
        calls[verb]()
