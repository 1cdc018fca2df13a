"""What a network knows, what is strange to it, and that no test image moves the rule."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tiny import tiny_data, tiny_recipe

from hurdles.data.manifest import Manifest
from hurdles.errors import RunError
from hurdles.evaluation.predictions import Predictions
from hurdles.models import build
from hurdles.pixels.cache import Prepared
from hurdles.training import prediction
from hurdles.training.loop import train
from hurdles.training.prediction import Rejector, probabilities

BY = ["distance", "confidence"]


@pytest.fixture(scope="module")
def trained():
    data = tiny_data(contrast=60)
    found = train(tiny_recipe(epochs=6), data)
    network = build(found.spec, seed=0)
    network.load_state_dict(found.best)
    return network.eval(), data


def rejector_of(trained, by="distance", acceptance=0.8) -> Rejector:
    network, data = trained
    seen = data.pixels[data.train], data.pixels[data.validation]
    return Rejector.of(network, *seen, acceptance=acceptance, by=by)


@pytest.mark.parametrize("by", BY)
def test_the_rule_rests_on_validation_images(trained, by) -> None:
    network, data = trained
    found = rejector_of(trained, by)
    own = found.scores(network, data.pixels[data.validation])
    assert found.rule.n_validation == len(data.validation)
    assert found.rule.limit == np.sort(own)[8]  # the 9th of 10: rank (10 + 1) * 0.8, rounded up
    if by == "confidence":
        said = probabilities(network, data.pixels[data.validation])
        np.testing.assert_array_equal(own, 1 - said.max(axis=1))


def test_what_is_like_nothing_seen_is_strange(trained) -> None:
    network, data = trained
    found = rejector_of(trained)
    other = np.random.default_rng(1).integers(150, 255, (20, 16, 16), dtype=np.uint8)
    other[:, ::2] = 0
    usual = found.scores(network, data.pixels[data.validation])
    strange = found.scores(network, other)
    assert strange.min() > usual.max()
    assert found.rule.rejects(strange).all()


@pytest.mark.parametrize("by", BY)
def test_it_comes_back_from_its_folder(trained, by, tmp_path) -> None:
    network, data = trained
    found = rejector_of(trained, by)
    found.save(tmp_path)
    again = Rejector.load(tmp_path)
    assert again.rule == found.rule
    pixels = data.pixels[:7]
    np.testing.assert_array_equal(again.scores(network, pixels), found.scores(network, pixels))


def test_wide_features_are_projected_and_distances_kept(trained, monkeypatch) -> None:
    network, data = trained
    whole = rejector_of(trained)
    width, exact = whole.known.shape[1], whole.scores(network, data.pixels)
    monkeypatch.setattr(prediction, "WIDEST", width // 2)
    narrow = rejector_of(trained)
    assert narrow.known.shape[1] == width // 2
    found = narrow.scores(network, data.pixels)
    np.testing.assert_allclose(found, exact, rtol=0.35)
    assert np.corrcoef(found, exact)[0, 1] > 0.7


def test_no_image_has_no_score(trained) -> None:
    network, data = trained
    assert rejector_of(trained).scores(network, data.pixels[:0]).shape == (0,)


@pytest.mark.parametrize("fault", ["rejection.json", "rejection.features.npz"])
def test_a_folder_without_a_rule_or_with_a_damaged_one_says_so(trained, tmp_path, fault) -> None:
    rejector_of(trained).save(tmp_path)
    (tmp_path / fault).write_bytes(b"{")
    with pytest.raises(RunError, match="is damaged"):
        Rejector.load(tmp_path)
    (tmp_path / fault).unlink()
    with pytest.raises(RunError, match=rf"{fault} is missing: the run rejects nothing"):
        Rejector.load(tmp_path)


class TestInARun:
    """`assess_own` fixes the rule on validation images and applies it to both parts."""

    @staticmethod
    def assessed(trained, folder, monkeypatch, *, change_test=False, reject=0.2):
        from types import SimpleNamespace

        from hurdles.runs import assessment
        from hurdles.runs.assessment import assess_own
        from hurdles.runs.run import Run

        network, data = trained
        monkeypatch.setattr(assessment, "sheets_of", lambda *_: [])
        monkeypatch.setattr(assessment, "image_inputs", lambda *_, **__: ())
        monkeypatch.setattr(assessment, "run_inputs", lambda *_: ())
        monkeypatch.setattr(Run, "network", lambda *_: network)
        monkeypatch.setattr(Run, "labels", data.labels)
        split = np.array(["train"] * 12 + ["test"] * 8 + ["validation"] * 10)
        pixels = data.pixels.copy()
        if change_test:
            pixels[split == "test"] = np.random.default_rng(3).integers(0, 255, (8, 16, 16))
        names = [f"i{k}.png" for k in range(30)]
        labels = [data.labels[c] for c in data.classes]
        columns = {"image": names, "path": names, "label": labels, "patient": names}
        table = Manifest(pd.DataFrame({**columns, "split": split}))
        run = Run(folder)
        run.begin(tiny_recipe().changed(remedy={"reject": reject}), resume=False)
        listener = SimpleNamespace(start=lambda *_: None, advance=lambda *_: None)
        assess_own(run, Prepared(table, pixels), SimpleNamespace(listener=listener, cache=None))
        return run

    def test_every_image_is_listed_and_the_report_is_told(self, trained, tmp_path, monkeypatch):
        run = self.assessed(trained, tmp_path / "a", monkeypatch)
        rule = Rejector.load(run.path).rule
        assert (rule.n_validation, rule.acceptance) == (10, 0.8)
        for part in ("validation", "test"):
            table = pd.read_csv(run.path / "predictions" / f"{part}.rejection.csv")
            assert table["image"].tolist() == run.predictions(part).frame["image"].tolist()
            assert (table["rejected"] == (table["score"] > rule.limit)).all()
            rejected = table["image"][table["rejected"]].tolist()
            assert run.read_json(f"rejection.{part}.json")["images"] == rejected
        assert "images are rejected (answered: " in run.evaluation().notes[0]
        assert len(run.predictions("test")) == 8, "none is dropped from the predictions"

    def test_no_test_image_moves_the_rule(self, trained, tmp_path, monkeypatch):
        one = self.assessed(trained, tmp_path / "a", monkeypatch)
        two = self.assessed(trained, tmp_path / "b", monkeypatch, change_test=True)
        assert one.read_json("rejection.json") == two.read_json("rejection.json")
        scores = [pd.read_csv(r.path / "predictions" / "test.rejection.csv") for r in (one, two)]
        assert not scores[0]["score"].equals(scores[1]["score"])

    def test_without_the_remedy_nothing_is_written(self, trained, tmp_path, monkeypatch):
        run = self.assessed(trained, tmp_path / "a", monkeypatch, reject=0.0)
        assert not list(run.path.rglob("*reject*"))
        assert run.evaluation().notes == ()


def test_answers_of_classes_that_the_network_does_not_know_are_judged_all_the_same(trained) -> None:
    """As `predict_on` asks them: labels may be of any kind."""
    network, data = trained
    pixels = data.pixels[:12]
    table = Predictions.from_arrays(
        data.labels,
        y_true=["other"] * 6 + ["dark"] * 6,
        y_prob=probabilities(network, pixels),
        images=[str(n) for n in range(12)],
        groups=[str(n) for n in range(12)],
    )
    judged, _ = rejector_of(trained).judge(network, pixels, table)
    assert len(judged) == 12
    alone = Predictions(table.frame.assign(label="other"))
    _, found = rejector_of(trained).judge(network, pixels, alone)
    assert not found.everything.is_defined
    assert found.coverage.is_defined
