"""Verbs on runs: trained, tested, explained, compared; one, or the many of a study."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from hurdles.data.files import outputs, write_bytes
from hurdles.data.inputs import Input, Role
from hurdles.data.manifest import Manifest
from hurdles.data.table import columns_beside, columns_in
from hurdles.data.vocabulary import OnBad, Split
from hurdles.errors import ManifestError, RecipeError, RunError
from hurdles.evaluation import comparisons
from hurdles.evaluation.conditions import Conditions
from hurdles.evaluation.evaluation import Evaluation
from hurdles.evaluation.evaluation import evaluate as measure
from hurdles.evaluation.fold_comparisons import compare_folds
from hurdles.evaluation.predictions import Predictions
from hurdles.explanation import methods
from hurdles.explanation.heatmap import SIGNLESS, Heatmap
from hurdles.findings.limits import judged_again
from hurdles.foreign.predictions import PredictionTable, read_predictions
from hurdles.progress import Options
from hurdles.recipe.recipe import Recipe, load_recipe
from hurdles.recipe.remedies import remedied
from hurdles.recipe.settings import with_settings
from hurdles.reporting.pictures import heatmap_sheet
from hurdles.runs.assessment import evaluate_run, measured_again
from hurdles.runs.encoders import TrainedOn
from hurdles.runs.folds import carry_out
from hurdles.runs.images import (
    Data,
    classified,
    classified_apart,
    files_of,
    names_of,
    parts_of,
    prepare_for,
    title_of,
)
from hurdles.runs.presentation import audited, write_page
from hurdles.runs.run import Run
from hurdles.runs.seals import seal, sealed, unseal
from hurdles.studies import StudyResult, find_study
from hurdles.training.machine import this_machine
from hurdles.training.prediction import probabilities

if TYPE_CHECKING:
    from hurdles.runs.features import Embedding

logger = logging.getLogger("hurdles.data")


def demo(*, out: str | Path = "runs/demo", options: Options | None = None) -> Run:
    """Run the main job on synthetic radiographs: nothing to download, about a minute.

    Parameters
    ----------
    out : path
        The run's folder; an earlier demo there is gone on with, or returned if it is finished.
    options : Options, optional
        As for `run`.
    """
    # The recipe names its images; given here, they would be compared with those of a moved cache.
    return run("demo", out=out, resume=True, options=options)


def run(
    recipe: Recipe | str | Path,
    *,
    data: Data | None = None,
    out: str | Path,
    resume: bool = False,
    split: str | Path | None = None,
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    encoder_from: Run | str | Path | None = None,
    trained_on: TrainedOn | str | Path = (),
    keep_seen: bool = False,
    remedies: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    join_patients: bool = False,
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
        Go on with an interrupted run; it ends with the numbers that it would have had. Images, a
        split or settings other than those that it was begun with are refused; what is not given
        again is as it was.
    split : path, optional
        A split written by another run (its ``split.csv``), to be used again.
    labels : mapping, optional
        Classes of the images -> what they are to be called; several may become one, as in
        ``{"Normal": "other", "Pneumonia": "other"}``. One that becomes empty is left out;
        ``NAME:THEIRS`` means one of several collections, ``*`` stands for anything.
    columns : mapping, optional
        Columns of a table -> columns of a manifest, where their names do not tell.
    encoder_from : Run or path, optional
        A finished run, its ``weights/best.safetensors``, or a file of `import_encoder`: training
        starts from its encoder.
    trained_on : sequence of path or Manifest
        Images that the encoder was trained on: each as `data`, or a fingerprint (``.npz``) as
        `fingerprint` writes. Test images among them, copies too, and those of a run that the
        encoder is of, are left out of the test; what could not be excluded is in the report.
    keep_seen : bool
        Keep test images that the encoder has seen; the report says so.
    remedies : sequence of str
        Remedies that are added to the recipe, by name; see `hurdles.recipe.remedies`.
    settings : mapping, optional
        Single settings of the recipe, before the remedies are added: ``{"training.epochs": 3,
        "split.missing_patients": "one-each"}``.
    join_patients : bool
        Equal patient ids are one person, whatever their source.
    options : Options, optional
        What to do with unreadable files, where the cache is, who listens.

    Returns
    -------
    Run
        The finished run.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    recipe = _remedied(recipe, settings or {}, remedies)
    begun = resume and Run(out).is_begun
    if isinstance(encoder_from, str | Path) and not Path(encoder_from).is_file():
        Run(encoder_from).require_finished()  # before images are read, or drawn
    images = None
    if not begun or data is not None or labels or columns or join_patients:
        images = classified(
            data,
            labels=labels,
            columns=columns,
            default=recipe.data,
            join_patients=join_patients,
        )
    return carry_out(
        recipe,
        images,
        out,
        resume=resume,
        split_file=None if split is None else Path(split),
        encoder_from=encoder_from,
        trained_on=parts_of(trained_on),
        keep_seen=keep_seen,
        options=options,
    )


def _remedied(recipe: Recipe, settings: Mapping[str, Any], remedies: Sequence[str]) -> Recipe:
    requested = with_settings(recipe, settings)
    changed = remedied(requested, remedies)
    for name in settings:
        section, _, field = name.partition(".")
        one, two = (getattr(getattr(r, section), field) for r in (requested, changed))
        # A preparation is added to, as the remedies' own words say; another setting is replaced.
        if one != two and section != "preparation":
            raise RecipeError(
                f"{name} is to be {one!r}, and the remedies {', '.join(remedies)} make it {two!r}; "
                "leave one of them out."
            )
    return changed


def evaluate(
    run: Run | str | Path | None = None,
    *,
    predictions: str | Path | None = None,
    data: Data | None = None,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    on: Data | None = None,
    name: str | None = None,
    merge: str | None = None,
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    keep_seen: bool = False,
    conditions: Conditions | None = None,
    force: bool = False,
    options: Options | None = None,
) -> Evaluation | dict[str, Evaluation]:
    """Test a finished run on other images, each set of them by itself; or measure predictions.

    Parameters
    ----------
    run : Run or path, optional
        A finished run.
    predictions : path, optional
        Instead of a run: a table of any model's predictions, as for `audit`. Nothing is written.
    data : Data, optional
        The images of these predictions, with their classes and patients; default: the table says
        them itself. With a split, the part ``test`` is measured.
    classes, positive : optional
        Of these predictions, as for `audit`.
    on : Data, optional
        The images. Those that show what the run was trained or chosen on, copies too, are
        recognized and left out, unless `keep_seen`. Several are several tests, each with files of
        its own. Default: a set that was tested before is measured again from the predictions in
        the run's folder, and nothing is written.
    name : str, optional
        What to call the set in the run's folder; default: from `on`. Without `on`, the set to be
        measured again; default: the run's own test images.
    merge : str, optional
        Put several sets together and call them so.
    labels : mapping, optional
        Classes of the images -> classes of the run, where they are called otherwise. Images whose
        class is mapped to an empty name are left out, and so are those of classes that the run
        does not know.
    columns : mapping, optional
        As for `run`.
    keep_seen : bool
        Keep images that the run has seen.
    conditions : Conditions, optional
        Prevalences, specificities, sensitivities and threshold probabilities at which to measure
        besides; each kind that it states takes the place of the recipe's.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        As for `run`.

    Returns
    -------
    Evaluation or dict
        Of one set, its evaluation; of several, each by its name.

    Raises
    ------
    RunError
        If the run is not finished, a set cannot have its name, or all its images were seen.
    EvaluationError
        If a condition is of a class that the run does not know.
    """
    if (run is None) == (predictions is None):
        raise RunError("give a run's folder, or --predictions: one of the two.")
    if predictions is not None:
        if on is not None or name or merge or keep_seen:
            raise RunError(
                "predictions are measured as they are: --on, --name, --merge and --keep-seen are "
                "of a run. Give their images by --data."
            )
        of_tables = TableOptions(data, classes, positive, labels, columns)
        return _measured(of_tables.read(predictions), data, conditions)
    if data is not None or classes or positive:
        raise RunError("--data, --class and --positive are of predictions; a run takes --on.")
    assert run is not None
    run = _finished(run)
    if on is None:
        return measured_again(run, name or "test", conditions)
    names = [merge] if merge else names_of(on)
    if name and (merge or len(names) > 1):
        raise RunError(
            f"{name!r} is to name {'what --merge names' if merge else f'{len(names)} sets'}. Each "
            "set goes by its own folder or table, or, evaluated alone, by --name; --merge alone "
            "puts them together under one name."
        )
    names = [name] if name else names
    for each in names:
        run.require_free(each)
    files = [path for each in names for path in run.files_of(each)]
    read = [*(path for path in sealed(run.path) if path not in files), *files_of(on)]
    results = {}
    with outputs(*files, inputs=read, ledger=run.ledger, force=force):
        for each in names:  # all of them: what is sealed is read, and would be an input
            unseal(run.path, each)
        if len(names) == 1:
            sets = [classified(on, labels=labels, columns=columns)]
        else:
            sets = list(classified_apart(on, labels=labels, columns=columns).values())
        for each, images in zip(names, sets, strict=True):
            results[each] = evaluate_run(
                run,
                images,
                name=each,
                keep_seen=keep_seen,
                conditions=conditions,
                options=options,
            )
            seal(run.path, of=each)
    return results if len(names) > 1 else results[names[0]]


class TableOptions(NamedTuple):
    """Images, classes and columns that tables of predictions are read with."""

    data: Data | None = None
    classes: Sequence[str] | None = None
    positive: str | None = None
    labels: Mapping[str, str] | None = None
    columns: Mapping[str, str] | None = None

    def read(self, path: str | Path) -> PredictionTable:
        """Read predictions of somebody's model, with their images where they are given."""
        data, columns, images = self.data, dict(self.columns or {}), None
        if data is not None:
            of_images = columns_beside(columns, [path], files_of(data))
            images = classified(data, labels=self.labels, columns=of_images)
            columns = columns_in(path, columns)
        elif self.labels:
            raise ManifestError(
                "--label is of images, and there are none; give them by --data. Classes of the "
                "table alone are changed there."
            )
        return read_predictions(
            path, images, classes=self.classes, positive=self.positive, columns=columns
        )


def _measured(
    table: PredictionTable, data: Data | None, conditions: Conditions | None
) -> Evaluation:
    validation = table.part(Split.VALIDATION)
    result = measure(table.test, conditions=conditions, validation=validation)
    of_images = [Input.of_file(Role.TABLE, path) for path in files_of(data)]
    if data is not None:  # classes and patients are theirs; their pixels are not looked at
        of_images.append(Input.of_rows(title_of(data), table.images))
    return replace(
        result,
        notes=(*result.notes, *table.notes),
        inputs=(Input.of_file(Role.PREDICTIONS, table.path), *of_images),
    )


def compare(
    a: Run | str | Path,
    b: Run | str | Path,
    *,
    on: str = "test",
    data: Data | None = None,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    margins: Mapping[str, float] | None = None,
) -> list[comparisons.Comparison]:
    """Compare two runs, or tables of predictions, on the same images, measure by measure.

    Parameters
    ----------
    a, b : Run or path
        Finished runs, or tables of any model's predictions, as for `evaluate`; one of each, too.
    on : str
        Of runs: ``test``, or a set that both were evaluated on, by its name.
    data, classes, positive, labels, columns
        Of tables of predictions: as for `evaluate`.
    metrics, margins
        As for `hurdles.evaluation.comparisons.compare`: measures to be compared, and how much
        worse ``a`` may be in one and still count as no worse.

    Returns
    -------
    list of Comparison
        Paired differences with intervals, at the level and with the resamples of the first run's
        recipe (of a table: 95 % and 2,000), and exact tests.

    Raises
    ------
    EvaluationError
        If the runs were not tested on the same images, or a metric or margin cannot be used.
    RunError
        If options of tables are given with runs.
    """
    of_tables = TableOptions(data, classes, positive, labels, columns)
    return compared(a, b, on, of_tables, metrics=metrics, margins=margins).rows


class Compared(NamedTuple):
    """A comparison, and what it is of."""

    rows: list[comparisons.Comparison]
    of: Predictions  # those of the first, on the same images as the other's
    notes: list[str]  # on tables that were read, each by A or B


def compared(
    a: Run | str | Path,
    b: Run | str | Path,
    on: str,
    of_tables: TableOptions,
    *,
    metrics: Sequence[str] | None = None,
    margins: Mapping[str, float] | None = None,
) -> Compared:
    """Compare as `compare` does, and return what a command says besides; nothing is read twice."""
    if not (_is_table(a) or _is_table(b)) and any(of_tables):
        raise RunError("--data and what goes with it are of tables of predictions, not of runs.")
    section = Recipe(name="table").evaluation if _is_table(a) else _finished(a).recipe.evaluation
    if on == "test" and any(_is_ensemble(each) for each in (a, b)):
        return _compared_folds(a, b, metrics=metrics, margins=margins)
    both, notes = [], []
    for name, each in (("A", a), ("B", b)):
        if isinstance(each, Run) or not _is_table(each):
            both.append(_finished(each).predictions(on))
            continue
        table = of_tables.read(each)
        for note in table.notes:
            logger.info("%s: %s", each, note)
        notes += [f"{name}: {note}" for note in table.notes]
        both.append(table.test)
    predictions, others = both
    rows = comparisons.compare(
        predictions,
        others,
        metrics=metrics,
        margins=margins,
        level=section.level,
        n_resamples=section.resamples,
        seed=section.seed,
    )
    if predictions.unknown.all():
        rows = [row.without_patients() for row in rows]
    return Compared(rows, predictions, notes)


def explain(
    run: Run | str | Path,
    images: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    method: str = "grad-cam",
    target: str = "predicted",
    force: bool = False,
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
        The class to explain, or ``predicted``. ``smoothgrad`` shows what moves the answer, for or
        against it, and takes no target.
    force : bool
        Replace files that hurdles did not write; never an input.
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
    RecipeError
        If a target is given to a method that has none.
    RunError
        If the run is not finished.
    """
    if method in SIGNLESS and target != "predicted":
        raise RecipeError(
            f"{method} shows what moves the answer, for or against: there is no map of {target!r} "
            "alone. Leave the target out, or choose grad-cam, occlusion or integrated-gradients."
        )
    run, options = _finished(run), options or Options(on_bad=OnBad.STOP)
    paths = [str(Path(p).absolute()) for p in images]
    with outputs(out, inputs=[*sealed(run.path), *paths], force=force):
        if not paths:
            raise ManifestError("no image is named; give at least one.")
        rows = {"image": [str(p) for p in images], "path": paths, "label": ["unknown"] * len(paths)}
        prepared = prepare_for(run, Manifest(pd.DataFrame(rows)), options)
        network, names = run.network(), prepared.manifest.frame["image"].tolist()
        maps = methods.explain(
            network, network.spec, prepared.pixels, target=target, method=method, images=names
        )
        if out is not None:
            answers = probabilities(network, prepared.pixels, machine=this_machine("float32"))
            write_bytes(out, heatmap_sheet(prepared.pixels, maps, run.labels, answers))
        return maps


def embed(
    run: Run | str | Path,
    *,
    on: Data,
    out: str | Path,
    method: str = "t-sne",
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    force: bool = False,
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
        Folder for the picture, the features and the numbers; see `hurdles.runs.features.embed_run`.
    method : str
        ``t-sne``, or ``umap`` where umap-learn is installed.
    labels : mapping, optional
        Classes of the images -> what they are to be called, so that classes of several
        collections can be compared; see `run`.
    columns : mapping, optional
        As for `run`.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        As for `run`.

    Returns
    -------
    Embedding
        Where the picture lies, and the probes with their intervals.
    """
    from hurdles.runs.features import embed_run, embedding_files

    run, folder = _finished(run), Path(out)
    inputs = [*sealed(run.path), *files_of(on)]
    with outputs(*embedding_files(folder), inputs=inputs, force=force):
        images = classified(on, labels=labels, columns=columns)
        return embed_run(run, images, out=folder, method=method, options=options or Options())


def report(
    run: Run | str | Path, *, on: str = "test", pictures: bool = True, force: bool = False
) -> Path:
    """Write a run's report anew from what its folder holds, and return its path.

    Its audit, if there is one, is judged again by the limits that ship now.

    Parameters
    ----------
    run : Run or path
        A finished run.
    on : str
        ``test``, or the name of a set that it was evaluated on.
    pictures : bool
        Show radiographs with their heat-maps: patients' pixels, which go where the page goes.
    force : bool
        Replace files that hurdles did not write.
    """
    run = _finished(run)
    findings = audited(run)
    judged = [] if findings is None else [run.path / f"audit.{kind}" for kind in ("json", "csv")]
    with outputs(run.page_path(on), *judged, ledger=run.ledger, force=force):
        if findings is not None:
            judged_again(findings).save(run.path / "audit.json")
        return write_page(run, on=on, pictures=pictures)


def _is_ensemble(each: Run | str | Path) -> bool:
    return not _is_table(each) and _finished(each).is_ensemble


def _compared_folds(
    a: Run | str | Path,
    b: Run | str | Path,
    *,
    metrics: Sequence[str] | None,
    margins: Mapping[str, float] | None,
) -> Compared:
    if not (_is_ensemble(a) and _is_ensemble(b)):
        raise RunError(
            "one of the two was tested in folds and the other was not, so that they were trained "
            "on other patients. Compare two runs of the same folds."
        )
    runs = [_finished(each) for each in (a, b)]
    section = runs[0].recipe.evaluation
    answers = [run.fold_answers() for run in runs]
    rows = compare_folds(
        *answers,
        metrics=metrics,
        margins=margins,
        level=section.level,
        n_resamples=section.resamples,
        seed=section.seed,
    )
    first = answers[0].pooled()
    if first.unknown.all():
        rows = [row.without_patients() for row in rows]
    return Compared(rows, first, [])


def _is_table(each: Run | str | Path) -> bool:
    return not isinstance(each, Run) and Path(each).is_file()


def _finished(run: Run | str | Path) -> Run:
    return (run if isinstance(run, Run) else Run(run)).require_finished()


def plan(
    name: str | Path,
    *,
    data: Data | None = None,
    out: str | Path,
    fast: bool = False,
    profile: str = "",
    cells: Sequence[str] = (),
) -> pd.DataFrame:
    """Return what `study` would do, without doing any of it.

    Parameters
    ----------
    name, data, out, fast, profile, cells
        As for `study`.

    Returns
    -------
    DataFrame
        One row per cell: its name, its status (done, to do, or not here), and how many images it
        is trained, chosen and tested on.
    """
    return find_study(name).plan(data, Path(out), fast=fast, profile=profile, patterns=cells)


def study(
    name: str | Path,
    *,
    data: Data | None = None,
    out: str | Path,
    fast: bool = False,
    profile: str = "",
    cells: Sequence[str] = (),
    results: str | Path | None = None,
    force: bool = False,
    options: Options | None = None,
) -> StudyResult:
    """Carry out a study: many experiments, each resumable, and the table of what is done.

    Parameters
    ----------
    name : str or path
        A study that comes with hurdles, e.g. ``lazaro-barco-2020``, or the TOML file of your own.
    data : Data, optional
        Where its collections lie; those that its file names by path need none.
    out : path
        Folder of the runs; finished cells are never computed again.
    fast : bool
        The fast profile: as the study's file says, e.g. smaller images and fewer epochs.
    profile : str
        Another profile of the study's file, e.g. ``middle``; default: ``full``.
    cells : sequence of str
        Patterns, e.g. ``done right/*``: only these cells are computed.
    results : path, optional
        Folder to write the tables to; default: `out`.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        As for `run`.
    """
    grid_study = find_study(name)
    folder = Path(results or out)
    profile = grid_study.grid.profile_named(profile, fast=fast)
    known = folder.glob(f"{grid_study.name}.{profile}.*")
    with outputs(*known, folders=[folder], inputs=grid_study.grid.files, force=force):
        return grid_study.carry_out(
            data,
            Path(out),
            profile=profile,
            patterns=cells,
            options=options or Options(),
            results=Path(results) if results is not None else None,
        )
