"""A run on lungs alone, from the files to the numbers, with the lungs' network in the package."""

from __future__ import annotations

import json

import pytest

from hurdles import api
from hurdles.errors import RunError
from hurdles.lungs.find import LungPreparation, shipped_lungs
from hurdles.runs.images import preparation_of, prepare_pixels

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def masked(phantom, folder, options, tiny):
    recipe = tiny.changed(preparation={"name": "equalized+masked"}, training={"epochs": 1})
    return api.run(recipe, data=phantom, out=folder / "masked", options=options)


def test_the_run_saw_lungs_and_nothing_else(masked, options):
    prepared = prepare_pixels(masked.manifest, masked.recipe, options)
    assert len(prepared) == len(masked.manifest)
    raw = prepare_pixels(
        masked.manifest, masked.recipe.changed(preparation={"name": "raw"}), options
    )
    black = (prepared.pixels == 0).mean(axis=(1, 2))
    assert ((black > 0.3) & (black < 0.9)).all()
    assert ((raw.pixels == 0).mean(axis=(1, 2)) < black).all()


def test_the_weights_name_the_lungs_that_were_shipped(masked):
    said = json.loads(masked._described(None)["preparation"])
    assert said == preparation_of(masked.recipe).description
    assert said["lungs"] == shipped_lungs().key


def test_it_is_evaluated_and_explained_on_other_images(masked, other_phantom, options):
    result = api.evaluate(masked, on=other_phantom, name="other", options=options)
    assert result.to_dict()
    path = str(masked.manifest.frame["path"][0])
    (heat,) = api.explain(masked, [path], options=options)
    assert heat is not None


def test_other_lungs_are_refused(masked, other_phantom, options, monkeypatch):
    class Other(LungPreparation):
        @property
        def key(self) -> str:
            return "lungs-of-tomorrow"

    monkeypatch.setattr("hurdles.lungs.find.shipped_lungs", Other)
    with pytest.raises(RunError, match=r"preparation\.lungs = 'lungs-.*'lungs-of-tomorrow'"):
        api.evaluate(masked, on=other_phantom, name="again", options=options)
    path = str(masked.manifest.frame["path"][0])
    with pytest.raises(RunError, match=r"preparation\.lungs"):
        api.explain(masked, [path], options=options)
