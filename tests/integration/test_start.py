"""A run that starts from the encoder of another: what is taken along, kept, and refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from hurdles import api
from hurdles.errors import RecipeError, RunError
from hurdles.models.starting import encoder_of, weights_hash
from hurdles.runs.run import Run
from hurdles.training import loop

FROZEN = {"freeze": ("encoder",)}


@pytest.fixture(scope="module")
def second(tiny, finished, phantom, folder, options) -> Run:
    """Return a run whose encoder is that of `finished`, frozen."""
    recipe = tiny.changed(name="second", model=FROZEN, training={"seed": 5})
    return api.run(
        recipe, data=phantom, out=folder / "second", encoder_from=finished, options=options
    )


def test_a_frozen_encoder_ends_as_it_began(second, finished):
    mine, theirs = second.network().state_dict(), finished.network().state_dict()
    assert weights_hash(encoder_of(mine)) == weights_hash(encoder_of(theirs))
    assert weights_hash(mine) != weights_hash(theirs), "the head is its own"


def test_the_origin_is_on_record(second, finished):
    origin = weights_hash(encoder_of(finished.network().state_dict()))
    assert (second.recipe.model.start, second.recipe.model.origin) == ("run", origin)
    assert second.meta["start"]["origin"] == origin
    assert second.meta["start"]["source"] == "run finished"
    assert "run finished" in second.report_path.read_text()
    assert not second.start_path.exists(), "it is kept only while training"


def test_an_encoder_says_what_it_was_started_from(second):
    assert second.starting_weights().description["started from"] == "run finished"


def test_the_file_of_weights_alone_will_do(tiny, finished, phantom, tmp_path, second, options):
    recipe = tiny.changed(name="second", model=FROZEN, training={"seed": 5})
    file = finished.path / "weights" / "best.safetensors"
    run = api.run(recipe, data=phantom, out=tmp_path / "run", encoder_from=file, options=options)
    assert run.recipe.key == second.recipe.key
    assert weights_hash(run.network().state_dict()) == weights_hash(second.network().state_dict())


def test_what_was_begun_goes_on_without_being_told_again(
    tiny, finished, phantom, tmp_path, second, options, monkeypatch
):
    recipe = tiny.changed(name="second", model=FROZEN, training={"seed": 5})
    gone = Run(shutil.copytree(finished.path, tmp_path / "finished"))

    class Cut(Exception):  # noqa: N818 - a kill, not an error
        pass

    def cut(*_, **__):
        raise Cut("now")

    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, "_finish_epoch", cut)
        with pytest.raises(Cut, match="now"):
            api.run(recipe, data=phantom, out=tmp_path / "run", encoder_from=gone, options=options)
    shutil.rmtree(gone.path)
    run = api.run(recipe, out=tmp_path / "run", resume=True, options=options)
    assert weights_hash(run.network().state_dict()) == weights_hash(second.network().state_dict())
    again = api.run(recipe, out=tmp_path / "run", resume=True, options=options)
    assert again.meta == run.meta


class TestRefusals:
    def test_a_start_that_is_not_given(self, tiny, phantom, tmp_path):
        recipe = tiny.changed(model={"start": "run"})
        with pytest.raises(RecipeError, match=r"say of which by --encoder-from RUN"):
            api.run(recipe, data=phantom, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"model": {"architecture": "inception-like"}}, r"has architecture 'baseline'"),
            ({"model": {"channels": 3}}, r"has channels 1, this recipe 3"),
            ({"preparation": {"name": "equalized"}}, r"preparation\.name = 'raw'"),
        ],
    )
    def test_an_encoder_that_does_not_fit(self, tiny, finished, phantom, tmp_path, change, message):
        with pytest.raises(RecipeError, match=message):
            api.run(
                tiny.changed(**change), data=phantom, out=tmp_path / "run", encoder_from=finished
            )

    def test_a_run_that_is_not_finished(self, tiny, finished, phantom, tmp_path):
        half = Run(shutil.copytree(finished.path, tmp_path / "half"))
        (half.path / "meta.json").unlink()
        with pytest.raises(RunError, match="is not finished"):
            api.run(tiny, data=phantom, out=tmp_path / "run", encoder_from=half)

    def test_weights_whose_description_is_gone(self, tiny, phantom, tmp_path):
        from hurdles.training.checkpoint import save_weights

        save_weights(tmp_path / "w.safetensors", {"x": torch.ones(2)}, {"a": json.dumps({})})
        with pytest.raises(RecipeError, match=r"w\.safetensors does not say which network"):
            api.run(
                tiny, data=phantom, out=tmp_path / "run", encoder_from=tmp_path / "w.safetensors"
            )

    def test_two_starts_at_once(self, tiny, finished, phantom, tmp_path):
        recipe = tiny.changed(model={"start": "imagenet"})
        with pytest.raises(RecipeError, match="leave one out"):
            api.run(recipe, data=phantom, out=tmp_path / "run", encoder_from=finished)
