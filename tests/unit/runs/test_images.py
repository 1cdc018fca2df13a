"""Images made ready for a recipe: what lungs find, what is said, what a run refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import OnBad
from hurdles.errors import LungsNotFoundError, ManifestError, RegistryError, RunError
from hurdles.lungs import find as lungs_module
from hurdles.models import ModelSpec, build
from hurdles.phantom.cohort import write_phantom
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import Preparation
from hurdles.progress import Options
from hurdles.recipe.recipe import Recipe
from hurdles.runs.images import preparation_of, prepare_for, prepare_pixels
from hurdles.runs.run import Run
from hurdles.training.history import COLUMNS, History
from hurdles.training.loop import Trained


@dataclass(frozen=True)
class Lungs:
    """Two bars in the middle of every image, but for those that `lost` says."""

    key: str = "lungs-aa"
    size: int = 32
    lost: Callable[[np.ndarray], bool] = lambda pixels: False

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        if self.lost(pixels):
            raise LungsNotFoundError("the lungs were not found: empty.")
        mask = np.zeros((32, 32), np.uint8)
        mask[6:26, 4:14] = mask[6:26, 18:28] = 255
        return mask


class Said:
    """Keeps the lines that are said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done: list[int] = []

    def start(self, stage: str, total: int) -> None:
        self.done.append(-total)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done.append(steps)

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def lungs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Lungs], None]:
    def ship(found: Lungs) -> None:
        monkeypatch.setattr(lungs_module, "shipped_lungs", lambda: found)

    ship(Lungs())
    return ship


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, 6, seed=4, size=64)
    return Manifest.load(folder / "manifest.csv")


def recipe(name: str, size: int = 32) -> Recipe:
    return Recipe(name="x", preparation={"name": name, "size": size})


def options(tmp_path: Path, **more: object) -> Options:
    return Options(cache=tmp_path / "cache", **more)


@pytest.mark.usefixtures("lungs")
class TestPreparation:
    def test_lungs_are_looked_for_only_where_they_are_needed(self, monkeypatch) -> None:
        assert preparation_of(recipe("masked")).beneath == Lungs()
        monkeypatch.setattr(lungs_module, "shipped_lungs", lambda: pytest.fail("loaded"))
        for name in ("raw", "equalized", "clahe"):
            assert preparation_of(recipe(name)) == Preparation(32, name)

    def test_a_name_that_does_not_exist(self) -> None:
        with pytest.raises(RegistryError, match=r"'equalised'.*did you mean 'equalized'"):
            preparation_of(recipe("equalised"))

    def test_pixels_are_those_of_the_preparation(self, manifest, tmp_path) -> None:
        prepared = prepare_pixels(manifest, recipe("equalized+masked"), options(tmp_path))
        ours = Preparation(32, "equalized+masked", Lungs())
        expected = [ours(decode(path)) for path in manifest.frame["path"]]
        np.testing.assert_array_equal(prepared.pixels, expected)


class TestLeftOut:
    def test_lungs_that_are_not_found_are_counted_by_class(self, manifest, tmp_path, lungs) -> None:
        gone = manifest.frame["path"][[0, 3]]
        lost = {decode(path).tobytes() for path in gone}
        lungs(Lungs(lost=lambda pixels: pixels.tobytes() in lost))
        heard = Said()
        prepared = prepare_pixels(manifest, recipe("masked"), options(tmp_path, progress=heard))
        assert prepared.manifest.exclusions["path"].tolist() == gone.tolist()
        (line,) = heard.lines
        labels = manifest.frame["label"]
        counts = ", ".join(
            f"{(labels[[0, 3]] == c).sum()} of {(labels == c).sum()} {c}" for c in manifest.labels
        )
        total = len(manifest)
        start = f"2 of {total} images are left out because their lungs were not found ({counts})"
        assert line == f"{start}; for one, {gone[3]}: the lungs were not found: empty."
        assert heard.done[0] == -total == -sum(heard.done[1:])

    def test_what_cannot_be_read_is_said_apart(self, manifest, tmp_path, lungs) -> None:
        lost = decode(manifest.frame["path"][1]).tobytes()
        lungs(Lungs(lost=lambda pixels: pixels.tobytes() == lost))
        (tmp_path / "text.png").write_text("text")
        frame = manifest.frame[["image", "path", "label"]]
        more = pd.DataFrame({"image": ["t"], "path": [str(tmp_path / "text.png")], "label": ["a"]})
        heard = Said()
        both = Manifest(pd.concat([frame, more], ignore_index=True))
        prepare_pixels(both, recipe("masked"), options(tmp_path, progress=heard))
        unread, without = heard.lines
        assert unread.startswith(f"1 of {len(both)} images cannot be read and are left out; for ")
        assert "text.png: " in unread
        assert f"1 of {len(both)} images are left out because their lungs" in without

    def test_nothing_is_said_where_nothing_is_lost(self, manifest, tmp_path, lungs) -> None:
        heard = Said()
        prepare_pixels(manifest, recipe("masked"), options(tmp_path, progress=heard))
        assert heard.lines == []

    def test_stop_stops(self, manifest, tmp_path, lungs) -> None:
        lungs(Lungs(lost=lambda pixels: True))
        with pytest.raises(LungsNotFoundError, match="the lungs were not found: empty"):
            prepare_pixels(manifest, recipe("masked"), options(tmp_path, on_bad=OnBad.STOP))

    def test_no_lungs_anywhere(self, manifest, tmp_path, lungs) -> None:
        lungs(Lungs(lost=lambda pixels: True))
        with pytest.raises(ManifestError, match=r"none of \d+ images could be used; .*: the lungs"):
            prepare_pixels(manifest, recipe("masked"), options(tmp_path))


class TestRuns:
    def trained(self, path: Path, chosen: Recipe, *, remember: bool = True) -> Run:
        spec = ModelSpec("baseline", ("a", "b"), 32)
        weights = build(spec, seed=1).state_dict()
        row = {**dict.fromkeys(COLUMNS, 0.0), "epoch": 1}
        run = Run(path)
        run.begin(chosen, resume=False)
        prepared_as = preparation_of(chosen).description if remember else None
        trained = Trained(weights, weights, History.from_rows([row]), spec)
        run.write_trained(trained, chosen, prepared_as)
        return Run(path)

    def test_the_weights_remember_how_their_images_were_prepared(self, tmp_path, lungs) -> None:
        run = self.trained(tmp_path / "r", recipe("equalized+masked"))
        assert json.loads(run._described(None)["preparation"]) == {
            "name": "equalized+masked",
            "size": 32,
            "version": "1.1.1",
            "lungs": "lungs-aa",
        }

    def test_images_prepared_alike_are_taken(self, manifest, tmp_path, lungs) -> None:
        for name in ("raw", "masked"):
            run = self.trained(tmp_path / name, recipe(name))
            assert len(prepare_for(run, manifest, options(tmp_path))) == len(manifest)

    def test_other_lungs_are_refused_before_anything_is_read(
        self, manifest, tmp_path, lungs
    ) -> None:
        run = self.trained(tmp_path / "r", recipe("masked"))
        lungs(Lungs(key="lungs-bb"))
        with pytest.raises(RunError, match=r"preparation\.lungs = 'lungs-aa', .* 'lungs-bb'"):
            prepare_for(run, manifest, options(tmp_path))
        assert not (tmp_path / "cache").exists()
        plain = self.trained(tmp_path / "plain", recipe("equalized"))
        assert len(prepare_for(plain, manifest, options(tmp_path))) == len(manifest)

    def test_another_version_of_a_step_is_refused(self, manifest, tmp_path, monkeypatch) -> None:
        run = self.trained(tmp_path / "r", recipe("equalized"))
        monkeypatch.setattr("hurdles.pixels.prepare._VERSION", 2)
        with pytest.raises(RunError, match=r"preparation\.version = '1\.1', .* '2\.1'"):
            prepare_for(run, manifest, options(tmp_path))

    def test_weights_of_before_are_still_used(self, manifest, tmp_path) -> None:
        run = self.trained(tmp_path / "r", recipe("raw"), remember=False)
        assert len(prepare_for(run, manifest, options(tmp_path))) == len(manifest)
