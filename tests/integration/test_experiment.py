"""From images to a report, and everything that can be wrong with the images."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from hurdles import api
from hurdles.data.manifest import Manifest
from hurdles.data.split import save_split
from hurdles.data.vocabulary import OnBad
from hurdles.errors import EvaluationError, ImageError, ManifestError, RunError, SplitError
from hurdles.evaluation.conditions import Conditions
from hurdles.progress import Options, Silent
from hurdles.runs import assessment, experiment
from hurdles.runs.images import prepare_pixels
from hurdles.runs.run import Run


class Listening(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture
def images(phantom) -> Manifest:
    return Manifest.load(phantom)


@pytest.fixture
def copied(finished, tmp_path) -> Run:
    """Return a copy of the finished run that a test may write into."""
    return Run(shutil.copytree(finished.path, tmp_path / "copy"))


def broken(path, tmp_path) -> str:
    """Return the path of a copy of an image that ends early."""
    from pathlib import Path

    target = tmp_path / f"broken {Path(path).name}"
    target.write_bytes(Path(path).read_bytes()[:200])
    return str(target)


class TestTheWholeWay:
    def test_killed_before_it_cleared_its_state_it_does_so_later(self, copied, tiny, options):
        for path in (copied.state_path, copied.start_path):
            path.write_bytes(b"only for training")
        api.run(tiny, out=copied.path, resume=True, options=options)
        assert not copied.state_path.exists()
        assert not copied.start_path.exists()

    def test_the_folder_holds_what_it_says(self, finished):
        for name in (
            "recipe.toml", "manifest.csv", "split.csv", "history.csv", "fingerprints.csv",
            "weights/best.safetensors", "weights/last.safetensors", "predictions/validation.csv",
            "predictions/test.csv", "evaluation.json", "heatmaps.npz", "report.html", "meta.json",
        ):  # fmt: skip
            assert (finished.path / name).stat().st_size, name
        assert not finished.state_path.exists()
        assert not list(finished.path.rglob("*.part"))

    def test_no_patient_is_in_two_parts(self, finished):
        frame = finished.manifest.frame
        groups = finished.manifest.groups.groupby(frame["split"]).agg(set)
        for a, b in (("train", "test"), ("train", "validation"), ("validation", "test")):
            assert not groups[a] & groups[b]

    def test_the_evaluation_is_of_the_predictions_on_the_test_part(self, finished):
        test = finished.manifest.part("test")
        predictions = finished.predictions()
        assert sorted(predictions.frame["image"]) == sorted(test.frame["image"])
        right = (predictions.y_true == predictions.y_pred).mean()
        assert finished.evaluation().get("accuracy").value == pytest.approx(right)

    def test_the_weights_in_the_folder_make_the_predictions_in_it(self, finished, options):
        from hurdles.training.prediction import probabilities

        prepared = prepare_pixels(finished.manifest.part("test"), finished.recipe, options)
        said = probabilities(finished.network(), prepared.pixels)
        np.testing.assert_allclose(said, finished.predictions().y_prob, atol=1e-6)

    def test_json_is_json_without_nan(self, finished):
        def refuse(word: str) -> None:
            raise AssertionError(word)

        for path in finished.path.glob("*.json"):
            json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)

    def test_a_finished_run_is_returned_as_it_is(self, finished, phantom, tiny, options):
        before = {p: p.stat().st_mtime_ns for p in finished.path.rglob("*") if p.name != ".lock"}
        api.run(tiny, data=phantom, out=finished.path, resume=True, options=options)
        assert before == {
            p: p.stat().st_mtime_ns for p in finished.path.rglob("*") if p.name != ".lock"
        }

    def test_a_run_is_not_overwritten(self, finished, phantom, tiny, options):
        with pytest.raises(RunError, match=r"holds a run already\. Go on with it by --resume"):
            api.run(tiny, data=phantom, out=finished.path, options=options)

    def test_the_report_written_again_is_the_same(self, copied):
        before = copied.report_path.read_bytes()
        api.report(copied)
        assert copied.report_path.read_bytes() == before

    def test_the_same_split_again(self, finished, phantom, tiny, options, tmp_path):
        run = api.run(
            tiny.changed(split={"seed": 9}),
            data=phantom,
            out=tmp_path / "again",
            split=finished.path / "split.csv",
            options=options,
        )
        pd.testing.assert_frame_equal(run.manifest.frame, finished.manifest.frame)
        # the weights too: the seed of the split is no seed of training
        pd.testing.assert_frame_equal(run.predictions().frame, finished.predictions().frame)


class TestASplitThatIsGiven:
    """Train, validation and test folders, or a column: they are used, or it is said that not."""

    @pytest.fixture
    def given(self, images) -> Manifest:
        """Return images with a split by patient of which no scheme would think."""
        order = {group: n for n, group in enumerate(sorted(set(images.groups)))}
        parts = ["test", "train", "train"]
        return images.with_split([parts[order[group] % 3] for group in images.groups])

    @pytest.fixture
    def tiny(self, tiny):
        """Return the recipe without a scheme of its own."""
        return tiny.changed(split={"scheme": "auto"})

    def test_it_is_used(self, given, tiny, options, tmp_path):
        listener = Listening()
        heard = Options(cache=options.cache, progress=listener)
        run = api.run(tiny, data=given, out=tmp_path / "run", options=heard)
        used, brought = (m.frame.set_index("image")["split"] for m in (run.manifest, given))
        assert ((used == "test") == (brought == "test")).all()
        assert run.recipe.split.scheme == "given"
        assert listener.said[0].startswith("split as the images bring it: ")
        (note,) = [n for n in run.evaluation().notes if "has no validation part" in n]
        assert f"note: {note}" in listener.said
        assert note in run.report_path.read_text(encoding="utf-8")

    def test_another_scheme_says_loudly_that_it_is_not(self, given, tiny, options, tmp_path):
        listener = Listening()
        run = api.run(
            tiny,
            data=given,
            out=tmp_path / "run",
            settings={"split.scheme": "patient"},
            options=Options(cache=options.cache, progress=listener),
        )
        (note,) = [n for n in run.evaluation().notes if "is NOT used" in n]
        assert f"note: {note}" in listener.said
        assert listener.said.index(f"note: {note}") < 2  # before anything is decoded
        html = run.report_path.read_text(encoding="utf-8")
        assert html.count("is NOT used") == 1
        assert html.index("is NOT used") < html.index("Who was in the data")
        tested = run.manifest.part("test").frame["image"]
        kept = given.part("test").frame["image"]
        lost = len(kept) - int(kept.isin(tested).sum())
        assert f"Of the {len(kept)} images that it keeps for testing, the model was trained" in note
        assert f"chosen on {lost}." in note

    def test_one_that_parts_a_patient_is_refused(self, given, tiny, options, tmp_path):
        parts = given.frame["split"].tolist()
        first = given.groups.duplicated(keep=False).to_numpy().argmax()
        parts[first] = "train" if parts[first] == "test" else "test"
        with pytest.raises(SplitError, match="have images in more than one split"):
            api.run(tiny, data=given.with_split(parts), out=tmp_path / "run", options=options)
        assert not (tmp_path / "run").exists()

    def test_one_that_leaves_images_out_is_refused(self, given, tiny, options, tmp_path):
        parts = [None, *given.frame["split"][1:]]
        half = given.with_split(parts)
        with pytest.raises(SplitError, match=r"1 of \d+ images have no split although the others"):
            api.run(tiny, data=half, out=tmp_path / "run", options=options)
        assert not (tmp_path / "run").exists()


class TestResume:
    """What is given again has to be what the run was begun with."""

    def again(self, finished, tiny, options, **given):
        recipe = given.pop("recipe", tiny)
        return api.run(recipe, out=finished.path, resume=True, options=options, **given)

    def test_without_the_images(self, finished, tiny, options):
        assert self.again(finished, tiny, options).path == finished.path

    def test_with_its_own_split(self, finished, phantom, tiny, options):
        split = finished.path / "split.csv"
        assert self.again(finished, tiny, options, data=phantom, split=split)

    def test_other_images(self, finished, other_phantom, tiny, options):
        with pytest.raises(RunError, match=r"begun with other images .* gone: .* new: "):
            self.again(finished, tiny, options, data=other_phantom)

    def test_other_files_of_the_same_name(self, finished, images, tiny, options, tmp_path):
        frame = images.frame.copy()
        frame.loc[3, "path"] = str(shutil.copy(frame.loc[4, "path"], tmp_path / "other.png"))
        with pytest.raises(RunError, match=r"the file of 1 image: .*which is not the same"):
            self.again(finished, tiny, options, data=Manifest(frame))

    def test_the_same_files_elsewhere(self, finished, images, tiny, options, tmp_path):
        frame = images.frame.copy()
        frame.loc[3, "path"] = str(shutil.copy(frame.loc[3, "path"], tmp_path / "moved.png"))
        assert self.again(finished, tiny, options, data=Manifest(frame))

    def test_other_labels(self, finished, phantom, tiny, options):
        with pytest.raises(RunError, match=r"the label of \d+ images: .*'Normal' and is 'other'"):
            self.again(finished, tiny, options, data=phantom, labels={"Normal": "other"})

    def test_patients_joined(self, finished, phantom, tiny, options):
        with pytest.raises(RunError, match="the joined_patient of"):
            self.again(finished, tiny, options, data=phantom, join_patients=True)

    def test_another_split_brought(self, finished, images, tiny, options):
        as_brought = tiny.changed(split={"scheme": "auto"})
        with pytest.raises(RunError, match=r"begun with other images .* the split of \d+ images"):
            self.again(finished, as_brought, options, data=finished.manifest)

    def test_another_split_file(self, finished, phantom, tiny, options, tmp_path):
        parts = finished.manifest.frame["split"].replace({"train": "test", "test": "train"})
        other = save_split(finished.manifest.with_split(parts), tmp_path / "split.csv")
        with pytest.raises(RunError, match=r"begun with another split than .*split\.csv"):
            self.again(finished, tiny, options, data=phantom, split=other)

    def test_another_recipe_or_remedy(self, finished, phantom, tiny, options):
        with pytest.raises(RunError, match=r"training\.epochs is 2 there and 3 now"):
            self.again(finished, tiny, options, settings={"training.epochs": 3})
        with pytest.raises(RunError, match=r"remedy\.sampling is 'none' there and 'source' now"):
            self.again(finished, tiny, options, data=phantom, remedies=["source-balanced"])

    def test_a_run_of_before_the_images_were_kept(self, copied, phantom, images, tiny, options):
        (copied.path / "given.csv").unlink()
        assert self.again(copied, tiny, options, data=phantom)
        fewer = images.select(np.arange(len(images)) > 0)
        with pytest.raises(RunError, match="1 image gone"):
            self.again(copied, tiny, options, data=fewer)

    def test_files_changed_in_their_place(self, images, tiny, options, tmp_path):
        frame = images.frame.copy()
        own = [str(tmp_path / f"{n}.png") for n in range(len(frame))]
        for old, new in zip(frame["path"], own, strict=True):
            shutil.copy(old, new)
        given = Manifest(frame.assign(path=own))
        run = api.run(tiny, data=given, out=tmp_path / "run", options=options)
        for late in ("meta.json", "history.csv"):
            (run.path / late).unlink()
        trained = run.manifest.part("train").frame["path"]
        shutil.copy(trained.iloc[1], trained.iloc[0])
        with pytest.raises(RunError, match="the pixels of about 1 images are not those"):
            self.again(run, tiny, options, data=given)


@pytest.mark.full
class TestBadImages:
    def test_they_are_listed_and_counted(self, images, tiny, tmp_path, cache):
        bad = images.frame["path"].iloc[[3, 17]].tolist()
        frame = images.frame.copy()
        for path in bad:
            frame.loc[frame["path"] == path, "path"] = broken(path, tmp_path)
        listener = Listening()
        run = api.run(
            tiny,
            data=Manifest(frame),
            out=tmp_path / "run",
            options=Options(cache=cache, progress=listener),
        )
        assert len(run.manifest) == len(images) - 2
        left_out = run.manifest.exclusions
        assert sorted(left_out["path"]) == sorted(set(frame["path"]) - set(images.frame["path"]))
        assert any(f"2 of {len(images)} images cannot be read" in s for s in listener.said)
        (note,) = [n for n in run.evaluation().notes if "could not be used" in n]
        assert note.startswith(f"2 of {len(images)} images could not be used and are left out (")
        html = run.report_path.read_text(encoding="utf-8")
        assert all(p.rpartition("/")[2] in html for p in left_out["path"])

    def test_the_first_stops_where_that_is_asked_for(self, images, tiny, tmp_path, cache):
        frame = images.frame.copy()
        frame.loc[5, "path"] = broken(frame.loc[5, "path"], tmp_path)
        options = Options(on_bad=OnBad.STOP, cache=cache)
        with pytest.raises(ImageError, match="broken"):
            api.run(tiny, data=Manifest(frame), out=tmp_path / "run", options=options)
        assert not Run(tmp_path / "run").is_finished

    def test_a_class_that_is_gone_with_its_files(self, images, tiny, tmp_path, options):
        frame = images.frame[images.frame["label"] != "Pneumonia"].reset_index(drop=True)
        for row in frame.index[frame["label"] == "Normal"]:
            frame.loc[row, "path"] = broken(frame.loc[row, "path"], tmp_path)
        with pytest.raises(ManifestError, match=r"one class only \(COVID-19\)"):
            api.run(tiny, data=Manifest(frame), out=tmp_path / "run", options=options)

    def test_none_can_be_read(self, images, tiny, tmp_path, options):
        # Enough of them to be parted: the split is looked at before anything is decoded.
        frame = images.frame.assign(path=[broken(p, tmp_path) for p in images.frame["path"]])
        says = rf"none of {len(frame)} images could be used; .*broken"
        with pytest.raises(ManifestError, match=says):
            api.run(tiny, data=Manifest(frame), out=tmp_path / "run", options=options)

    def test_images_that_vanish_before_a_run_goes_on(self, images, tiny, tmp_path, options):
        """Its numbers would be of fewer images than the report says."""
        home = tmp_path / "images"
        shutil.copytree(
            pd.Series(images.frame["path"]).iloc[0].rpartition("/")[0], home / "COVID-19"
        )
        frame = images.frame.copy()
        own = frame["label"] == "COVID-19"
        frame.loc[own, "path"] = [
            str(home / "COVID-19" / p.rpartition("/")[2]) for p in frame.loc[own, "path"]
        ]
        run = api.run(tiny, data=Manifest(frame), out=tmp_path / "r", options=options)
        (run.path / "meta.json").unlink()
        tested = run.manifest.part("test").frame
        from pathlib import Path

        Path(tested.loc[tested["label"] == "COVID-19", "path"].iloc[0]).unlink()
        with pytest.raises(ManifestError, match=r"1 of \d+ images .* can no longer be read"):
            api.run(tiny, out=tmp_path / "r", resume=True, options=options)
        assert not Run(tmp_path / "r").is_finished


@pytest.mark.full
class TestOddSets:
    def test_unknown_patients_are_refused_then_allowed(self, images, tiny, tmp_path, options):
        unknown = Manifest(images.frame.assign(patient=None))
        with pytest.raises(SplitError, match=r"'patient' is empty.*--missing-patients one-each"):
            api.run(tiny, data=unknown, out=tmp_path / "run", options=options)
        allowed = tiny.changed(split={"missing_patients": "one-each"})
        run = api.run(allowed, data=unknown, out=tmp_path / "run", options=options)
        found = run.evaluation()
        assert (found.n_patients, found.n_unknown) == (0, found.n_images)
        assert found.to_dict()["n_patients"] is None
        assert "(patients not known)" in run.report_path.read_text(encoding="utf-8")

    def test_one_class_or_one_image(self, images, tiny, tmp_path, options):
        normal = images.select(images.frame["label"] == "Normal")
        one = images.select(np.arange(len(images)) == 0)
        for few in (normal, one):
            with pytest.raises(ManifestError, match="one class only"):
                api.run(tiny, data=few, out=tmp_path / "run", options=options)
        assert not (tmp_path / "run").exists()

    def test_two_images_cannot_be_parted(self, images, tiny, tmp_path, options):
        two = images.select(~images.frame["label"].duplicated())
        with pytest.raises(SplitError, match=r"."):
            api.run(tiny, data=two, out=tmp_path / "run", options=options)
        assert not Run(tmp_path / "run").is_begun

    def test_two_classes(self, images, tiny, tmp_path, options):
        two = images.select(images.frame["label"] != "Pneumonia")
        run = api.run(tiny, data=two, out=tmp_path / "run", options=options)
        assert run.labels == ("COVID-19", "Normal")
        assert run.predictions().y_prob.shape[1] == 2

    def test_a_class_missing_from_test(self, images, tiny, tmp_path, options):
        frame = api.run(tiny, data=images, out=tmp_path / "a", options=options).manifest.frame
        gone = (frame["split"] == "test") & (frame["label"] == "Normal")
        given = Manifest(frame[~gone].reset_index(drop=True))
        recipe = tiny.changed(split={"scheme": "given"})
        run = api.run(recipe, data=given, out=tmp_path / "b", options=options)
        (warning,) = run.meta["warnings"]
        assert warning.startswith("1 of 3 classes without a test image, so how well the model")
        assert warning in run.evaluation().notes
        assert not run.evaluation().get("sensitivity", "Normal").is_defined
        assert "without a test image" in run.report_path.read_text(encoding="utf-8")

    def test_an_empty_class_folder(self, phantom, tiny, tmp_path, options):
        home = tmp_path / "classes"
        for label in ("COVID-19", "Normal"):
            shutil.copytree(phantom.parent / label, home / label)
        (home / "Nothing").mkdir()
        recipe = tiny.changed(split={"missing_patients": "one-each"})
        run = api.run(recipe, data=home, out=tmp_path / "run", options=options)
        assert run.labels == ("COVID-19", "Normal")

    def test_spaces_and_letters_in_paths(self, phantom, tiny, tmp_path, options):
        home = tmp_path / "Röntgen bilder, (1)"
        for label, name in (("COVID-19", "Krank ä"), ("Normal", "正常")):
            shutil.copytree(phantom.parent / label, home / name)
        recipe = tiny.changed(split={"missing_patients": "one-each"})
        run = api.run(recipe, data=home, out=tmp_path / "Läufe 1" / "a b", options=options)
        assert run.labels == ("Krank ä", "正常")
        assert "正常" in run.report_path.read_text(encoding="utf-8")
        image = next((home / "正常").glob("*.png"))
        maps = api.explain(run, [image], out=tmp_path / "ö 1.png", options=options)
        assert maps[0].image == str(image)
        assert (tmp_path / "ö 1.png").stat().st_size > 1000

    def test_a_row_that_stands_twice_is_refused(self, images, tmp_path):
        twice = pd.concat([images.frame, images.frame.head(1)])
        path = tmp_path / "twice.csv"
        twice.to_csv(path, index=False)
        with pytest.raises(ManifestError, match=r"twice\.csv: .*'image'"):
            api.manifest(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"model": {"architecture": "resnet"}}, "resnet.*known: baseline"),
            ({"model": {"channels": 2}}, "channels must be 1 or 3"),
            ({"split": {"scheme": "random"}}, "random.*patient"),
            (
                {"augmentation": {"policy": "enlarge", "label": "covid", "copies": 2}},
                "enlarges the class 'covid'.*COVID-19",
            ),
        ],
    )
    def test_a_hopeless_recipe_is_refused_before_anything_is_read(
        self, phantom, tiny, tmp_path, options, change, message
    ):
        with pytest.raises(ValueError, match=message):
            api.run(tiny.changed(**change), data=phantom, out=tmp_path / "run", options=options)
        assert not (tmp_path / "run").exists()


@pytest.mark.full
class TestUnfinished:
    @pytest.mark.parametrize(
        ("module", "where"),
        [
            (experiment, "train"),
            (experiment, "assess_own"),
            (assessment, "sheets_of"),
            (assessment, "save_sheets"),
            (experiment, "write_page"),
        ],
    )
    def test_an_error_anywhere_leaves_a_folder_that_goes_on(
        self, finished, phantom, tiny, tmp_path, options, monkeypatch, module, where
    ):
        class DiskFullError(Exception):
            pass

        def fail(*_: object, **__: object) -> None:
            raise DiskFullError

        with monkeypatch.context() as patch:
            patch.setattr(module, where, fail)
            with pytest.raises(DiskFullError):
                api.run(tiny, data=phantom, out=tmp_path / "r", options=options)
        assert not Run(tmp_path / "r").is_finished
        with pytest.raises(RunError, match="not finished"):
            Run(tmp_path / "r").require_finished()
        run = api.run(tiny, out=tmp_path / "r", resume=True, options=options)
        for name in ("predictions/test.csv", "evaluation.json", "split.csv"):
            assert (run.path / name).read_bytes() == (finished.path / name).read_bytes()
        assert run.is_finished


class TestEvaluate:
    def test_on_others(self, copied, other_phantom, options):
        files = {p for p in copied.path.rglob("*") if p.is_file()} - {copied.ledger}
        before = {p: p.read_bytes() for p in files}
        result = api.evaluate(copied, on=other_phantom, options=options)
        assert result.n_images == len(Manifest.load(other_phantom))
        assert (copied.path / "report.other.html").is_file()
        assert copied.evaluation("other") == result
        assert all(p.read_bytes() == content for p, content in before.items())

    def test_what_was_seen_is_left_out_whatever_it_is_called(
        self, copied, phantom, options, tmp_path
    ):
        frame = Manifest.load(phantom).frame.copy()
        names = [f"new{i}.png" for i in range(len(frame))]
        for old, new in zip(frame["path"], names, strict=True):
            shutil.copy(old, tmp_path / new)
        frame = frame.assign(image=names, path=[str(tmp_path / n) for n in names])
        result = api.evaluate(copied, on=Manifest(frame), name="renamed", options=options)
        assert result.n_images == len(copied.manifest.part("test"))
        left_out = Manifest.load(copied.path / "manifest.renamed.csv").exclusions
        assert len(left_out) == len(frame) - result.n_images
        assert left_out["reason"].str.startswith("seen in training").all()
        own = copied.evaluation().get("accuracy").value
        assert result.get("accuracy").value == pytest.approx(own)

    def test_also_where_the_images_of_training_are_gone(self, copied, phantom, options):
        frame = copied.manifest.frame.assign(path="/gone/" + copied.manifest.frame["image"])
        Manifest(frame).save(copied.path / "manifest.csv")
        run = Run(copied.path)
        assert api.evaluate(run, on=phantom, name="x", options=options).n_images == len(
            run.manifest.part("test")
        )
        # Without fingerprints and hashes nothing can be known again: that is not passed over.
        (run.path / "fingerprints.csv").unlink()
        run.hashes_path.unlink()
        result = api.evaluate(run, on=phantom, name="x", options=options)
        assert any("COULD NOT be looked for" in note for note in result.notes)

    def test_kept_by_request_with_a_warning(self, copied, phantom, options):
        result = api.evaluate(copied, on=phantom, name="all", keep_seen=True, options=options)
        assert result.n_images == len(copied.manifest)
        seen = len(copied.manifest) - len(copied.manifest.part("test"))
        assert result.notes[0].startswith(
            f"{seen} of {result.n_images} images show what was used to train"
        )
        assert "results are too good" in (copied.path / "report.all.html").read_text("utf-8")
        # The same name again, now without them: nothing of the first is left.
        again = api.evaluate(copied, on=phantom, name="all", options=options)
        assert again.n_images < result.n_images
        api.evaluate(copied, on=phantom, name="all", keep_seen=True, options=options)
        assert not len(Manifest.load(copied.path / "manifest.all.csv").exclusions)

    def test_all_seen(self, copied, options):
        with pytest.raises(RunError, match=r"all \d+ images show what was used .*--keep-seen"):
            api.evaluate(copied, on=copied.manifest.part("train"), name="x", options=options)

    def test_labels_are_mapped_and_left_out(self, copied, other_phantom, options):
        manifest = Manifest.load(other_phantom)
        theirs = {"COVID-19": "covid", "Normal": "healthy", "Pneumonia": "bacterial"}
        others = Manifest(manifest.frame.replace({"label": theirs}))
        labels = {"covid": "COVID-19", "healthy": "Normal", "bacterial": ""}
        result = api.evaluate(copied, on=others, name="mapped", labels=labels, options=options)
        assert result.images == {
            "COVID-19": manifest.counts["COVID-19"],
            "Normal": manifest.counts["Normal"],
            "Pneumonia": 0,
        }
        strange = labels | {"bacterial": "strange"}
        less = api.evaluate(copied, on=others, name="less", labels=strange, options=options)
        assert less.images == result.images
        assert "are left out, since" in less.notes[0]
        assert "knows no class 'strange'" in less.notes[0]
        with pytest.raises(ManifestError, match=r"knows none of the images' classes.*--label"):
            api.evaluate(copied, on=others, name="x", options=options)
        with pytest.raises(ManifestError, match="no image is of class 'wrong'"):
            api.evaluate(copied, on=others, labels={"wrong": "Normal"}, options=options)

    @pytest.fixture
    def wards(self, other_phantom, tmp_path):
        """Write the other images as two tables; in the second, a class has another name."""
        frame = Manifest.load(other_phantom).frame
        first = np.arange(len(frame)) % 2 == 0
        paths = tmp_path / "ward-a.csv", tmp_path / "ward-b.csv"
        Manifest(frame[first].reset_index(drop=True)).save(paths[0])
        renamed = frame[~first].replace({"label": {"Normal": "healthy"}})
        Manifest(renamed.reset_index(drop=True)).save(paths[1])
        return [str(path) for path in paths]

    def test_several_sets_are_tests_of_their_own(self, copied, wards, options):
        labels = {"healthy": "Normal"}  # which one of them has, and the other not
        found = api.evaluate(copied, on=wards, labels=labels, options=options)
        assert list(found) == ["ward-a", "ward-b"]
        for (name, result), ward in zip(found.items(), wards, strict=True):
            assert copied.evaluation(name) == result
            assert result.n_images == len(Manifest.load(ward))
            assert copied.page_path(name).is_file()
            copied.require_finished()
        again = api.evaluate(copied, on=wards, labels=labels, options=options)
        assert again == found
        alone = api.evaluate(copied, on=wards[0], options=options)
        assert alone.estimates == found["ward-a"].estimates
        assert not list(copied.path.glob("evaluation.images*"))

    def test_they_are_put_together_only_under_a_name(self, copied, wards, options):
        labels = {"healthy": "Normal"}
        both = api.evaluate(copied, on=wards, merge="both", labels=labels, options=options)
        apart = api.evaluate(copied, on=wards, labels=labels, options=options)
        assert both.n_images == sum(one.n_images for one in apart.values())
        total = np.sum([one.confusion for one in apart.values()], axis=0)
        assert (np.array(both.confusion) == total).all()
        assert {one.source for one in both.scores} == {one.source for one in apart["ward-a"].scores}
        for options_ in ({"name": "x"}, {"name": "x", "merge": "both"}):
            with pytest.raises(RunError, match=r"'x' is to name .* --merge alone puts them"):
                api.evaluate(copied, on=wards, options=options, **options_)

    def test_sets_of_one_name_are_numbered(self, copied, wards, tmp_path, options):
        for folder in ("x", "y"):
            (tmp_path / folder).mkdir()
            shutil.copy(wards[0], tmp_path / folder / "ward.csv")
        twice = [tmp_path / folder / "ward.csv" for folder in ("x", "y")]
        found = api.evaluate(copied, on=twice, options=options)
        assert list(found) == ["ward-1", "ward-2"]
        assert found["ward-1"].estimates == found["ward-2"].estimates

    def test_at_conditions_and_again_without_images(self, copied, other_phantom, options):
        wanted = Conditions(prevalence={"COVID-19": 0.02}, benefit_at=(0.1,))
        found = api.evaluate(copied, on=other_phantom, conditions=wanted, options=options)
        kinds = {row.measure for row in found.conditional}
        assert {"ppv_at_prevalence", "net_benefit", "specificity_reached"} <= kinds
        assert "PPV at a prevalence" in copied.page_path("other").read_text("utf-8")
        files = {p: p.read_bytes() for p in copied.path.rglob("*") if p.is_file()}
        assert api.evaluate(copied, name="other", conditions=wanted) == found
        own = api.evaluate(copied)
        assert own == copied.evaluation()
        assert {p: p.read_bytes() for p in copied.path.rglob("*") if p.is_file()} == files
        with pytest.raises(RunError, match="holds no predictions on 'ward'"):
            api.evaluate(copied, name="ward")
        with pytest.raises(EvaluationError, match="'flu', which is not a class"):
            api.evaluate(copied, conditions=Conditions(prevalence={"flu": 0.1}))

    @pytest.mark.parametrize("name", ["test", "validation", "../up", "a b"])
    def test_a_name_that_would_replace_something(self, copied, other_phantom, options, name):
        before = (copied.path / "predictions" / "test.csv").read_bytes()
        with pytest.raises(RunError, match=r"name"):
            api.evaluate(copied, on=other_phantom, name=name, options=options)
        assert (copied.path / "predictions" / "test.csv").read_bytes() == before

    def test_an_unfinished_run_is_not_tested(self, copied, other_phantom, options):
        (copied.path / "meta.json").unlink()
        with pytest.raises(RunError, match="not finished"):
            api.evaluate(copied.path, on=other_phantom, options=options)


class TestExplainAndCompare:
    def test_explain(self, finished, phantom, options, tmp_path):
        files = sorted((phantom.parent / "Normal").glob("*.png"))[:3]
        maps = api.explain(finished, files, out=tmp_path / "e.png", options=options)
        assert [m.image for m in maps] == [str(f) for f in files]
        assert maps[0].values.shape == (32, 32)
        target = api.explain(finished, files[:1], target="COVID-19", options=options)
        assert target[0].target == "COVID-19"

    def test_explain_a_corrupt_file(self, finished, phantom, cache, tmp_path):
        good = next((phantom.parent / "Normal").glob("*.png"))
        bad = broken(good, tmp_path)
        with pytest.raises(ImageError, match="broken"):
            api.explain(finished, [good, bad])
        maps = api.explain(finished, [good, bad], options=Options(cache=cache))
        assert [m.image for m in maps] == [str(good)]

    def test_explain_nothing(self, finished):
        with pytest.raises(ManifestError, match="no image is named"):
            api.explain(finished, [])

    def test_compare(self, finished, phantom, tiny, tmp_path, options):
        other = api.run(
            tiny.changed(training={"seed": 3}), data=phantom, out=tmp_path / "b", options=options
        )
        found = {(c.metric, c.class_): c for c in api.compare(finished, other)}
        accuracy = found["accuracy", ""]
        mine, theirs = (r.evaluation().get("accuracy").value for r in (finished, other))
        assert accuracy.a.value == pytest.approx(mine)
        assert accuracy.difference.value == pytest.approx(mine - theirs)
        assert 0 < accuracy.p_value <= 1
        with pytest.raises(RunError, match="holds no predictions on 'ward'"):
            api.compare(finished, other, on="ward")
