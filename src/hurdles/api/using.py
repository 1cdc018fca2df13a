"""Verbs that put a finished run to use: answers for new X-rays, and its network for others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hurdles.data.files import outputs
from hurdles.errors import RecipeError
from hurdles.progress import Options
from hurdles.runs.images import Data, files_of, manifest_of
from hurdles.runs.run import Run
from hurdles.runs.seals import sealed

if TYPE_CHECKING:
    from hurdles.runs.answers import Answers
    from hurdles.runs.export import Export
    from hurdles.runs.predictor import Predictor


def load(
    run: Run | str | Path, *, engine: str = "auto", options: Options | None = None
) -> Predictor:
    """Return a finished run, ready to answer new images again and again.

    ``hurdles.load("runs/mine").predict(["a.png"])`` is `predict`; the network, the temperature and
    the rule of refusal are read or fixed once.

    Parameters
    ----------
    run : Run or path
        A finished run.
    engine : str
        What computes the answers; the numbers of `evaluate` and `audit` are always those of
        ``torch``, in float32, to which every other engine is held on some of the images first.
        ``auto``: the fastest of those that compute in float32 for the number of images given; no
        probability may differ from torch's by more than 1e-4. ``fastest``: of all, bfloat16 too,
        by 1e-2. Or a name of `hurdles.runs.engines.ENGINES`. The answers' `about` names it.
    options : Options, optional
        Where the cache is, who listens.

    Raises
    ------
    RunError
        If the run is not finished, or its images would be prepared otherwise now.
    RegistryError
        If there is no such engine.
    """
    from hurdles.runs.predictor import Predictor

    return Predictor(run if isinstance(run, Run) else Run(run), options, engine=engine)


def predict(
    run: Run | str | Path,
    images: Data,
    *,
    coverage: float = 0.9,
    columns: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    heatmaps: str | Path | None = None,
    engine: str = "auto",
    force: bool = False,
    options: Options | None = None,
) -> Answers:
    """Answer new images by a finished run; no class of them needs to be known.

    Each is prepared as in training, refused if it is unlike the images of training, and answered
    with calibrated probabilities and a prediction set. Research use only; not a medical device.

    Parameters
    ----------
    run : Run or path
        A finished run.
    images : Data
        Files, folders (all images below), patterns such as ``new/*.dcm``, tables with a column of
        paths, or collections.
    coverage : float
        Share of new patients of each class that is to have it in their prediction sets, within
        (0, 1).
    columns : mapping, optional
        Columns of a table -> columns of a manifest; see `run`.
    out : path, optional
        Where to write the table (CSV), as it grows; what it rests on goes beside it, as
        ``<stem>.about.json``. An interrupted call leaves neither.
    heatmaps : path, optional
        Folder for a picture of each answered image beside its Grad-CAM: patients' pixels.
    engine : str
        What computes the answers: ``auto``, ``fastest``, ``torch`` or another; see `load`.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        What to do with unreadable files, where the cache is, who listens.

    Returns
    -------
    Answers
        A row for each image, with columns as in `hurdles.runs.answers.COLUMNS`: also for one that
        cannot be read, with the reason.

    Raises
    ------
    RunError
        If the run is not finished.
    RegistryError
        If there is no such engine.
    ModelError
        If an engine was asked for by name and fails, or answers otherwise than torch.
    ManifestError
        If there is no image to be read.
    OutputError
        If an output would replace an input, or a file that hurdles did not write.
    """
    return load(run, engine=engine, options=options).predict(
        images, coverage=coverage, columns=columns, out=out, heatmaps=heatmaps, force=force
    )


def export(
    run: Run | str | Path,
    *,
    out: str | Path | None = None,
    format: str = "onnx",
    on: Data | None = None,
    columns: Mapping[str, str] | None = None,
    force: bool = False,
    options: Options | None = None,
) -> Export:
    """Write a run's network for other programs, with how it takes a radiograph.

    The file is asked about radiographs, and kept only if its probabilities are torch's within
    1e-4. It answers with logits, and with the features before the last layer; probabilities are
    their softmax, not calibrated. Research use only; not a medical device.

    Parameters
    ----------
    run : Run or path
        A finished run.
    out : path, optional
        The file; default: ``model.onnx`` in the run's folder. Its spec stands in it, and beside it
        as TOML of the same name.
    format : str
        ``onnx``.
    on : Data, optional
        Radiographs on which the file is held against torch, no class needed; default: the run's
        own test images.
    columns : mapping, optional
        Columns of a table -> columns of a manifest; see `run`.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        Where the cache is, who listens.

    Returns
    -------
    Export
        Where the files lie, and the largest difference from torch.

    Raises
    ------
    ModelError
        If a package is absent, or the file's answers are not torch's: then it is not kept.
    RunError
        If the run is not finished, or no radiograph is at hand.
    RecipeError
        If there is no such format.
    """
    from hurdles.runs.export import ExportFormat, export_files, export_onnx

    if format not in list(ExportFormat):
        raise RecipeError(f"a network is exported as {', '.join(ExportFormat)}, not {format!r}.")
    run = (run if isinstance(run, Run) else Run(run)).require_finished()
    path = run.path / "model.onnx" if out is None else Path(out)
    inputs = [*sealed(run.path), *files_of(on)]
    with outputs(*export_files(path), inputs=inputs, ledger=run.ledger, force=force):
        images = None if on is None else manifest_of(on, columns=columns, unlabeled=True)
        return export_onnx(run, path, on=images, options=options)
