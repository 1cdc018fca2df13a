"""One run: trained, tested, explained, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hurdles.assessment import evaluate_run
from hurdles.data.cache import Prepared
from hurdles.data.files import write_bytes
from hurdles.data.manifest import Manifest
from hurdles.data.sets import relabelled
from hurdles.data.vocabulary import OnBad
from hurdles.errors import ManifestError
from hurdles.evaluation.comparisons import Comparison
from hurdles.evaluation.comparisons import compare as compare_predictions
from hurdles.evaluation.evaluation import Evaluation
from hurdles.experiment import run_experiment
from hurdles.explanation.heatmap import Heatmap
from hurdles.explanation.methods import explain as make_heatmaps
from hurdles.findings.limits import judged_again
from hurdles.findings.table import Findings
from hurdles.images import Options, prepare_for
from hurdles.locations import PHANTOM, Data, manifest_of, name_of
from hurdles.presentation import write_page
from hurdles.recipe import Recipe, load_recipe
from hurdles.remedies import remedied
from hurdles.reporting.contact_sheet import contact_sheet
from hurdles.reporting.overlay import overlay
from hurdles.runs import Run
from hurdles.training.machine import this_machine
from hurdles.training.prediction import probabilities

if TYPE_CHECKING:
    from hurdles.features import Embedding

__all__ = ["compare", "demo", "embed", "evaluate", "explain", "report", "run"]


def run(
    recipe: Recipe | str | Path,
    *,
    data: Data | None = None,
    out: str | Path,
    resume: bool = False,
    split: str | Path | None = None,
    labels: Mapping[str, str] | None = None,
    encoder_from: Run | str | Path | None = None,
    remedies: Sequence[str] = (),
    options: Options | None = None,
) -> Run:
    """Train as a recipe says, test, and write the report.

    Parameters
    ----------
    recipe : Recipe, str or Path
        A recipe, the name of a shipped one, or a TOML file.
    data : Data, optional
        The images; default: the collection that the recipe names.
    out : path
        The run's folder; made, or gone on with if `resume`.
    resume : bool
        Go on with an interrupted run; it ends with the numbers that it would have had.
    split : path, optional
        A split written by another run (its ``split.csv``), to be used again.
    labels : mapping, optional
        Classes of the images -> what they are to be called; several may become one, as in
        ``{"Normal": "other", "Pneumonia": "other"}``. One that becomes empty is left out.
    encoder_from : Run or path, optional
        A finished run, or its ``weights/best.safetensors``: training starts from its encoder.
    remedies : sequence of str
        Remedies that are added to the recipe, by name; see `hurdles.remedies`.
    options : Options, optional
        What to do with unreadable files, where the cache is, who listens.

    Returns
    -------
    Run
        The finished run.
    """
    recipe = remedied(recipe if isinstance(recipe, Recipe) else load_recipe(recipe), remedies)
    begun = resume and Run(out).is_begun
    images = None
    if not begun:
        images = relabelled(manifest_of(data, default=recipe.data), labels or {})
    split_file = None if split is None else Path(split)
    return run_experiment(
        recipe,
        images,
        out,
        resume=resume,
        split_file=split_file,
        encoder_from=encoder_from,
        options=options,
    )


def evaluate(
    run: Run | str | Path,
    *,
    on: Data,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    keep_seen: bool = False,
    options: Options | None = None,
) -> Evaluation:
    """Test a finished run on other images.

    Parameters
    ----------
    run : Run or path
        A finished run.
    on : Data
        The images. Those that show what the run was trained or chosen on, copies too, are
        recognised and left out, unless `keep_seen`.
    name : str, optional
        What to call the set in the run's folder; default: from `on`.
    labels : mapping, optional
        Classes of the images -> classes of the run, where they are called otherwise. Images whose
        class is mapped to an empty name are left out.
    keep_seen : bool
        Keep images that the run has seen.
    options : Options, optional
        As for `run`.
    """
    run = _run(run)
    images = relabelled(manifest_of(on), labels or {})
    return evaluate_run(run, images, name=name or name_of(on), keep_seen=keep_seen, options=options)


def explain(
    run: Run | str | Path,
    images: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    method: str = "grad-cam",
    target: str = "predicted",
    options: Options | None = None,
) -> list[Heatmap]:
    """Show where a run looks on single images.

    Parameters
    ----------
    run : Run or path
        A finished run.
    images : sequence of paths
        Radiographs, in any format that hurdles reads.
    out : path, optional
        Where to write a contact sheet (PNG): each radiograph beside its heat-map.
    method : str
        ``grad-cam``, ``occlusion``, which needs no gradient, ``smoothgrad`` or
        ``integrated-gradients``, which show single pixels.
    target : str
        The class to explain, or ``predicted``.
    options : Options, optional
        As for `run`; by default an unreadable image raises.

    Returns
    -------
    list of Heatmap
        One for each image that can be read; an empty or undefined map says so by its status.

    Raises
    ------
    ManifestError
        If no image is named, or none can be read.
    ImageError
        If an image cannot be read, unless `options` skip it.
    RegistryError
        If there is no such class or method.
    RunError
        If the run is not finished.
    """
    run, options = _run(run), options or Options(on_bad=OnBad.STOP)
    paths = [str(Path(p).absolute()) for p in images]
    if not paths:
        raise ManifestError("no image is named; give at least one.")
    rows = {"image": [str(p) for p in images], "path": paths, "label": ["unknown"] * len(paths)}
    prepared = prepare_for(run, Manifest(pd.DataFrame(rows)), options)
    network = run.network()
    maps = make_heatmaps(
        network,
        network.spec,
        prepared.pixels,
        target=target,
        method=method,
        images=prepared.manifest.frame["image"].tolist(),
    )
    if out is not None:
        _write_sheet(run, prepared, maps, Path(out))
    return maps


def embed(
    run: Run | str | Path,
    *,
    on: Data,
    out: str | Path,
    method: str = "t-sne",
    labels: Mapping[str, str] | None = None,
    options: Options | None = None,
) -> Embedding:
    """Draw a run's features by class and by collection, and say how well these can be told.

    Parameters
    ----------
    run : Run or path
        A finished run.
    on : Data
        The images, best of several collections; their classes may be others than the run's.
    out : path
        Folder for the picture, the features and the numbers; see `hurdles.features.embed_run`.
    method : str
        ``t-sne``, or ``umap`` where umap-learn is installed.
    labels : mapping, optional
        Classes of the images -> what they are to be called, so that classes of several
        collections can be compared; see `run`.
    options : Options, optional
        As for `run`.

    Returns
    -------
    Embedding
        Where the picture lies, and the probes with their intervals.
    """
    from hurdles.features import embed_run

    run, options = _run(run), options or Options()
    images = relabelled(manifest_of(on), labels or {})
    return embed_run(run, images, out=Path(out), method=method, options=options)


def compare(a: Run | str | Path, b: Run | str | Path, *, on: str = "test") -> list[Comparison]:
    """Compare two runs on the same images, measure by measure.

    Parameters
    ----------
    a, b : Run or path
        Finished runs.
    on : str
        ``test``, or a set that both were evaluated on, by its name.

    Returns
    -------
    list of Comparison
        Paired differences with intervals, at the level and with the resamples of the first run's
        recipe, and exact tests.

    Raises
    ------
    EvaluationError
        If the runs were not tested on the same images.
    """
    one, two = _run(a), _run(b)
    section = one.recipe.evaluation
    return compare_predictions(
        one.predictions(on),
        two.predictions(on),
        level=section.level,
        n_resamples=section.resamples,
        seed=section.seed,
    )


def report(run: Run | str | Path, *, on: str = "test") -> Path:
    """Write a run's report anew from what its folder holds, and return its path.

    Its audit, if there is one, is judged again by the limits that ship now.

    Parameters
    ----------
    run : Run or path
        A finished run.
    on : str
        ``test``, or the name of a set that it was evaluated on.
    """
    run = _run(run)
    audit = run.path / "audit.json"
    if audit.is_file():
        judged_again(Findings.load(audit)).save(audit)
    return write_page(run, on=on)


def demo(*, out: str | Path = "runs/demo", options: Options | None = None) -> Run:
    """Run the main job on synthetic radiographs: nothing to download, about a minute.

    Parameters
    ----------
    out : path
        The run's folder; an earlier demo there is gone on with, or returned if it is finished.
    options : Options, optional
        As for `run`.
    """
    return run("demo", data=PHANTOM, out=out, resume=True, options=options)


def _run(run: Run | str | Path) -> Run:
    return (run if isinstance(run, Run) else Run(run)).require_finished()


def _write_sheet(run: Run, prepared: Prepared, maps: Sequence[Heatmap], out: Path) -> None:
    probability = probabilities(run.network(), prepared.pixels, machine=this_machine("float32"))
    pictures: list[np.ndarray] = []
    captions: list[str] = []
    for pixels, heat, row in zip(prepared.pixels, maps, probability, strict=True):
        said = ", ".join(
            f"{label} {100 * p:.0f} %" for label, p in zip(run.labels, row, strict=True)
        )
        pictures += [pixels, overlay(pixels, heat.values) if heat.is_drawable else pixels]
        what = f"{heat.method} for {heat.target}" if heat.is_drawable else heat.message
        captions += [f"{Path(heat.image).name}: {said}", what]
    write_bytes(out, contact_sheet(pictures, captions, columns=2))
